//! The API below `/api/v1/`: routes a request to its resource and sends the result.
//!
//! Responses are JSON. Errors have the same form as at every endpoint. Each resource has a file of
//! its own.

mod events;
mod incidents;
mod jobs;
mod list_filter;
mod objects;
mod pins;
mod query;
mod refresh;
mod response;
mod stats;
mod targets;

use std::net::IpAddr;

use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::client_info::{RequestOrigin, TargetForm};
use super::host_check::is_known_host;
use super::parse_request::single;
use super::request_body::read_body;
use super::responder::Responder;
use super::state::HttpService;
use crate::admin::{AdminError, Permission};
use crate::gateway::{ClientDownload, RequestError};
use crate::jobs::JobId;
use crate::limits::PendingTransfer;
use crate::model::Sha256;
use crate::policy::Class;
pub use query::Query;
use response::{ApiResponse, json_response, with_location};

/// Prefix of the paths that belong to the API.
const ROOT: &str = "/api/";

/// A resource of the API.
enum Resource {
    Objects,
    Object(Sha256),
    Targets,
    Pins,
    Refresh,
    Incidents,
    Stats,
    Jobs,
    Job(JobId),
    Events,
}

/// A request to the API.
pub struct ApiRequest<'a> {
    pub service: &'a HttpService,
    pub request: &'a HttpRequest,
    pub origin: &'a RequestOrigin,
    pub payload: Payload,
    pub path: &'a str,
    pub query: &'a str,
}

/// Returns path and query of a request to the API, if it is one.
pub fn path_and_query(form: &TargetForm) -> Option<(&str, &str)> {
    match form {
        TargetForm::Origin(text) if text.starts_with(ROOT) => {
            Some(text.split_once('?').unwrap_or((text, "")))
        }
        TargetForm::Origin(_) | TargetForm::Absolute(_) => None,
    }
}

/// Serves a request to the API.
pub async fn serve(
    api_request: ApiRequest<'_>,
    transfer: PendingTransfer,
    responder: Responder<'_>,
) -> HttpResponse {
    match route(api_request).await {
        Ok(ApiResponse::Json(status, value)) => responder.send_page(json_response(status, &value)),
        // The bytes of an object count as a download.
        Ok(ApiResponse::Object(response)) => match transfer.begin() {
            Ok(permit) => responder.send_download(ClientDownload {
                response: *response,
                class: Class::Immutable,
                permit,
            }),
            Err(error) => responder.send_error(&error.into()),
        },
        Ok(ApiResponse::Stream(response)) => responder.send_page(response),
        Ok(ApiResponse::Created { location, value }) => {
            let response = json_response(StatusCode::ACCEPTED, &value);
            responder.send_page(with_location(response, &location))
        }
        Err(error) => responder.send_admin_error(&error),
    }
}

/// Calls the function of the resource and method.
async fn route(api_request: ApiRequest<'_>) -> Result<ApiResponse, AdminError> {
    let ApiRequest {
        service,
        request,
        origin,
        payload,
        path,
        query,
    } = api_request;
    let resource = Resource::parse(path)?;
    let query = Query::parse(query)?;
    let admin = &service.admin;
    let permission = permission_of(service, origin.client, request.headers())?;
    match (resource, request.method()) {
        (Resource::Object(sha256), &(Method::GET | Method::HEAD)) => {
            objects::download(&service.gateway, sha256, (origin.client, request), query).await
        }
        (Resource::Object(sha256), &Method::DELETE) => {
            objects::remove(admin, &permission.into_operator()?, sha256, query).await
        }
        (Resource::Objects, &(Method::GET | Method::HEAD)) => {
            objects::list(admin, &permission.into_reader()?, query).await
        }
        (Resource::Objects, &Method::PUT) => {
            let operator = permission.into_operator()?;
            let stall_timeout = service.settings.load().stall_timeout;
            let upload = objects::read_upload(request, payload, stall_timeout, query)?;
            objects::import(admin, &operator, upload).await
        }
        (Resource::Objects, &Method::DELETE) => {
            targets::remove(admin, &permission.into_operator()?, query).await
        }
        (Resource::Targets, &(Method::GET | Method::HEAD)) => targets::history(admin, query).await,
        (Resource::Pins, &Method::PUT) => {
            pins::pin(admin, &permission.into_operator()?, query).await
        }
        (Resource::Pins, &Method::DELETE) => {
            pins::unpin(admin, &permission.into_operator()?, query).await
        }
        (Resource::Refresh, &Method::POST) => {
            refresh::refresh(
                admin,
                &permission.into_operator()?,
                request.headers(),
                query,
            )
            .await
        }
        (Resource::Incidents, &(Method::GET | Method::HEAD)) => incidents::list(
            &service.reports.incidents,
            &permission.into_reader()?,
            query,
        ),
        (Resource::Stats, &(Method::GET | Method::HEAD)) => {
            stats::show(service, origin, query).await
        }
        (Resource::Jobs, &(Method::GET | Method::HEAD)) => {
            jobs::list(&service.jobs, &permission.into_reader()?, query)
        }
        (Resource::Jobs, &Method::POST) => {
            let operator = permission.into_operator()?;
            let stall_timeout = service.settings.load().stall_timeout;
            let body = read_body(request, payload, stall_timeout);
            jobs::create(&service.jobs, &operator, body, query).await
        }
        (Resource::Job(id), &(Method::GET | Method::HEAD)) => {
            jobs::show(&service.jobs, &permission.into_reader()?, &id, query)
        }
        (Resource::Job(id), &Method::DELETE) => {
            jobs::cancel(&service.jobs, &permission.into_operator()?, &id, query).await
        }
        (Resource::Events, &(Method::GET | Method::HEAD)) => {
            let reader = permission.into_reader()?;
            let headers = request.headers();
            let response = events::stream(&service.reports.events, &reader, headers, query)?;
            Ok(ApiResponse::Stream(response))
        }
        (resource, _) => Err(AdminError::MethodNotAllowed(resource.methods())),
    }
}

impl Resource {
    fn parse(path: &str) -> Result<Self, AdminError> {
        const UNKNOWN: AdminError = AdminError::NotFound("there is no such API resource");
        let name = path
            .strip_prefix(ROOT)
            .and_then(|path| path.strip_prefix("v1/"))
            .ok_or(UNKNOWN)?;
        match name.trim_end_matches('/') {
            "objects" => Ok(Self::Objects),
            "targets" => Ok(Self::Targets),
            "pins" => Ok(Self::Pins),
            "refresh" => Ok(Self::Refresh),
            "incidents" => Ok(Self::Incidents),
            "stats" => Ok(Self::Stats),
            "jobs" => Ok(Self::Jobs),
            "events" => Ok(Self::Events),
            name if let Some(id) = name.strip_prefix("jobs/") => {
                id.parse().map(Self::Job).map_err(|_| jobs::NO_SUCH_JOB)
            }
            name => {
                let hex = name.strip_prefix("objects/sha256/").ok_or(UNKNOWN)?;
                let sha256 = hex.parse().map_err(|error| {
                    RequestError::BadRequest(format!("objects/sha256/: {error}"))
                })?;
                Ok(Self::Object(sha256))
            }
        }
    }

    /// Returns the allowed methods, as in `Allow`.
    fn methods(&self) -> &'static str {
        match self {
            Self::Objects => "GET, HEAD, PUT, DELETE",
            Self::Object(_) | Self::Job(_) => "GET, HEAD, DELETE",
            Self::Targets | Self::Incidents | Self::Stats | Self::Events => "GET, HEAD",
            Self::Pins => "PUT, DELETE",
            Self::Refresh => "POST",
            Self::Jobs => "GET, HEAD, POST",
        }
    }
}

/// Returns what a request may do. Without a token, it must name the gateway as the operator does.
pub fn permission_of(
    service: &HttpService,
    client: IpAddr,
    headers: &HeaderMap,
) -> Result<Permission, AdminError> {
    let permission = service.admin.authorize(client, bearer(headers))?;
    match (&permission, single(headers, HOST.as_str())) {
        (Permission::Public, Some(host)) if !is_known_host(host, &service.settings.load()) => {
            Err(AdminError::UnknownHost)
        }
        _ => Ok(permission),
    }
}

/// Returns the token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = single(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
