//! The API below `/api/v1/`, and its description at `/openapi.json`: routes a request to its
//! resource and sends the result.
//!
//! Responses are JSON. Errors have the same form as at every endpoint. Each resource has a file of
//! its own.

mod catalog;
mod events;
mod fetches;
mod host_totals;
mod images;
mod incidents;
mod job_input;
mod job_views;
mod jobs;
mod list_builder;
mod list_filter;
mod list_order;
mod list_part;
mod metalink;
mod node;
mod nodes;
mod objects;
mod openapi;
mod pins;
mod query;
mod refresh;
mod response;
mod stats;
mod target_list;
mod targets;
mod values;

use std::net::IpAddr;

use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::client_info::{RequestOrigin, TargetForm};
use super::host_check::is_known_host;
use super::login;
use super::parse_request::single;
use super::request_body::read_body;
use super::responder::Responder;
use super::state::HttpService;
use crate::admin::{AdminError, Permission};
use crate::gateway::ClientDownload;
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
    Metalink(Sha256),
    Targets,
    Pins,
    Refresh,
    Incidents,
    Stats,
    /// Facts that peers read.
    Node,
    Nodes,
    Images,
    Fetches,
    Jobs,
    Job(JobId),
    Events,
    Catalog,
    /// The description of the API.
    Description,
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
        TargetForm::Origin(text) => {
            let (path, query) = text.split_once('?').unwrap_or((text, ""));
            (path.starts_with(ROOT) || path == openapi::PATH).then_some((path, query))
        }
        TargetForm::Absolute(_) => None,
    }
}

/// Serves a request to the API.
pub async fn serve(
    api_request: ApiRequest<'_>,
    transfer: PendingTransfer,
    responder: Responder<'_>,
) -> HttpResponse {
    match route(api_request).await {
        Ok(ApiResponse::Json(status, document)) => {
            responder.send_page(json_response(status, &document))
        }
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
        Ok(ApiResponse::Created { location, document }) => {
            let response = json_response(StatusCode::ACCEPTED, &document);
            responder.send_page(with_location(response, &location))
        }
        Err(error) => responder.send_admin_error(&error),
    }
}

/// Calls the function of the resource and method.
async fn route(api_request: ApiRequest<'_>) -> Result<ApiResponse, AdminError> {
    let resource = Resource::parse(api_request.path)?;
    let query = Query::parse(api_request.query)?;
    let (service, origin) = (api_request.service, api_request.origin);
    if let Resource::Node = resource
        && let Some(peer) = node::peer_of(service, api_request.request)?
    {
        return node::show_to_peer(service, peer, query);
    }
    let permission = permission_of(service, origin.client, api_request.request.headers())?;
    match *api_request.request.method() {
        Method::GET | Method::HEAD => read(resource, &api_request, permission, query).await,
        _ => change(resource, api_request, permission, query).await,
    }
}

/// Shows a resource.
async fn read(
    resource: Resource,
    api_request: &ApiRequest<'_>,
    permission: Permission,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let ApiRequest {
        service,
        request,
        origin,
        ..
    } = *api_request;
    let admin = &service.operators.admin;
    match resource {
        Resource::Object(sha256) => {
            if let Permission::Public = permission {
                login::check(service, origin.client, request.headers(), &[AUTHORIZATION]).await?;
            }
            let settings = service.settings.load();
            let stores = (&*service.gateway, &settings.registries);
            objects::download(stores, sha256, (origin.client, request), query).await
        }
        Resource::Metalink(sha256) => metalink::show(api_request, permission, sha256, query).await,
        Resource::Objects => objects::list(admin, &permission.into_reader()?, query).await,
        Resource::Targets => targets::find(admin, permission, query).await,
        Resource::Pins => pins::list(admin, &permission.into_reader()?, query).await,
        Resource::Incidents => incidents::list(
            &service.operators.incidents,
            &permission.into_reader()?,
            query,
        ),
        Resource::Stats => stats::show(service, origin, permission, query).await,
        Resource::Node => node::show(service, &permission.into_reader()?, query),
        Resource::Nodes => nodes::list(service, &permission.into_reader()?, query),
        Resource::Images => {
            let reader = permission.into_reader()?;
            images::list((admin, &service.images), &reader, query).await
        }
        Resource::Fetches => fetches::list(admin, &permission.into_reader()?, query),
        Resource::Jobs => jobs::list(&service.operators.jobs, &permission.into_reader()?, query),
        Resource::Job(id) => jobs::show(
            &service.operators.jobs,
            &permission.into_reader()?,
            &id,
            query,
        ),
        Resource::Events => {
            let (reader, headers) = (permission.into_reader()?, request.headers());
            let response = events::stream(&service.operators.events, &reader, headers, query)?;
            Ok(ApiResponse::Stream(response))
        }
        Resource::Catalog => catalog::search(admin, &permission.into_reader()?, query).await,
        Resource::Description => {
            query.finish()?;
            let document = openapi::document().to_owned();
            Ok(ApiResponse::Json(StatusCode::OK, document))
        }
        Resource::Refresh => Err(AdminError::MethodNotAllowed(resource.methods())),
    }
}

/// Changes a resource.
async fn change(
    resource: Resource,
    api_request: ApiRequest<'_>,
    permission: Permission,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let ApiRequest {
        service,
        request,
        payload,
        ..
    } = api_request;
    let (admin, jobs) = (&service.operators.admin, &service.operators.jobs);
    match (resource, request.method()) {
        (Resource::Object(sha256), &Method::DELETE) => {
            objects::remove(admin, &permission.into_operator()?, sha256, query).await
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
        (Resource::Pins, &Method::PUT) => {
            pins::pin(admin, &permission.into_operator()?, query).await
        }
        (Resource::Pins, &Method::DELETE) => {
            pins::unpin(admin, &permission.into_operator()?, query).await
        }
        (Resource::Catalog, &Method::PUT) => {
            let operator = permission.into_operator()?;
            let stall_timeout = service.settings.load().stall_timeout;
            let body = read_body(request, payload, stall_timeout);
            catalog::import(admin, &operator, body, query).await
        }
        (Resource::Catalog, &Method::DELETE) => {
            catalog::remove(admin, &permission.into_operator()?, query).await
        }
        (Resource::Refresh, &Method::POST) => {
            let operator = permission.into_operator()?;
            refresh::refresh(admin, &operator, request.headers(), query).await
        }
        (Resource::Jobs, &Method::POST) => {
            let operator = permission.into_operator()?;
            let stall_timeout = service.settings.load().stall_timeout;
            let body = read_body(request, payload, stall_timeout);
            jobs::create(jobs, &operator, body, query).await
        }
        (Resource::Job(id), &(Method::GET | Method::HEAD)) => jobs::show(
            &service.operators.jobs,
            &permission.into_reader()?,
            &id,
            query,
        ),
        (Resource::Job(id), &Method::DELETE) => {
            jobs::cancel(jobs, &permission.into_operator()?, &id, query).await
        }
        (resource, _) => Err(AdminError::MethodNotAllowed(resource.methods())),
    }
}

impl Resource {
    fn parse(path: &str) -> Result<Self, AdminError> {
        const UNKNOWN: AdminError = AdminError::NotFound("there is no such API resource");
        if path == openapi::PATH {
            return Ok(Self::Description);
        }
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
            "node" => Ok(Self::Node),
            "nodes" => Ok(Self::Nodes),
            "images" => Ok(Self::Images),
            "fetches" => Ok(Self::Fetches),
            "jobs" => Ok(Self::Jobs),
            "events" => Ok(Self::Events),
            "catalog" => Ok(Self::Catalog),
            name if let Some(id) = name.strip_prefix("jobs/") => {
                id.parse().map(Self::Job).map_err(|_| jobs::NO_SUCH_JOB)
            }
            name => {
                let object = name.strip_prefix("objects/sha256/").ok_or(UNKNOWN)?;
                match object.strip_suffix("/metalink") {
                    Some(hex) => Ok(Self::Metalink(objects::parse_digest(hex)?)),
                    None => Ok(Self::Object(objects::parse_digest(object)?)),
                }
            }
        }
    }

    /// Returns the allowed methods, as in `Allow`.
    fn methods(&self) -> &'static str {
        match self {
            Self::Objects | Self::Pins | Self::Catalog => "GET, HEAD, PUT, DELETE",
            Self::Object(_) | Self::Job(_) => "GET, HEAD, DELETE",
            Self::Metalink(_)
            | Self::Targets
            | Self::Incidents
            | Self::Stats
            | Self::Node
            | Self::Nodes
            | Self::Images
            | Self::Fetches
            | Self::Events
            | Self::Description => "GET, HEAD",
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
    let permission = service
        .operators
        .admin
        .authorize(client, token_of(headers))?;
    match (&permission, single(headers, HOST.as_str())) {
        (Permission::Public, Some(host)) if !is_known_host(host, &service.settings.load()) => {
            Err(AdminError::UnknownHost)
        }
        _ => Ok(permission),
    }
}

/// Returns the token of `Authorization: Bearer`.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    single(headers, AUTHORIZATION.as_str()).and_then(login::bearer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the path of a resource in the description, and the resource behind it. A new
    /// resource must get a place here.
    fn described(resource: &Resource) -> (&'static str, Option<Resource>) {
        let sha256 = Sha256::from_bytes([0; 32]);
        let job = || "0123456789abcdef".parse().unwrap();
        match resource {
            Resource::Objects => ("/api/v1/objects", Some(Resource::Object(sha256))),
            Resource::Object(_) => (
                "/api/v1/objects/sha256/{sha256}",
                Some(Resource::Metalink(sha256)),
            ),
            Resource::Metalink(_) => {
                let path = "/api/v1/objects/sha256/{sha256}/metalink";
                (path, Some(Resource::Targets))
            }
            Resource::Targets => ("/api/v1/targets", Some(Resource::Pins)),
            Resource::Pins => ("/api/v1/pins", Some(Resource::Refresh)),
            Resource::Refresh => ("/api/v1/refresh", Some(Resource::Incidents)),
            Resource::Incidents => ("/api/v1/incidents", Some(Resource::Stats)),
            Resource::Stats => ("/api/v1/stats", Some(Resource::Node)),
            Resource::Node => ("/api/v1/node", Some(Resource::Nodes)),
            Resource::Nodes => ("/api/v1/nodes", Some(Resource::Images)),
            Resource::Images => ("/api/v1/images", Some(Resource::Fetches)),
            Resource::Fetches => ("/api/v1/fetches", Some(Resource::Jobs)),
            Resource::Jobs => ("/api/v1/jobs", Some(Resource::Job(job()))),
            Resource::Job(_) => ("/api/v1/jobs/{id}", Some(Resource::Events)),
            Resource::Events => ("/api/v1/events", Some(Resource::Catalog)),
            Resource::Catalog => ("/api/v1/catalog", Some(Resource::Description)),
            Resource::Description => (openapi::PATH, None),
        }
    }

    #[test]
    fn each_resource_and_method_is_described() {
        let document: serde_json::Value = serde_json::from_str(openapi::document()).unwrap();
        let mut next = Some(Resource::Objects);
        while let Some(resource) = next {
            let (path, behind) = described(&resource);
            let item = document["paths"][path].as_object().expect(path);
            let found: BTreeSet<String> = item.keys().map(|name| name.to_uppercase()).collect();
            let known: BTreeSet<String> =
                resource.methods().split(", ").map(str::to_owned).collect();
            assert_eq!(found, known, "{path}");
            next = behind;
        }
    }
}
