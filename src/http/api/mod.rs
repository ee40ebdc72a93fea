//! `/api/v1/...`: what is kept, for those who may ask for it, and what operators do with it.
//!
//! Answers are JSON; problems are rendered as at every other door.

mod query;

use std::time::SystemTime;

use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use super::access_log::RequestLog;
use super::client_info::TargetForm;
use super::connection::with_idle_timeout;
use super::parse_request::{read_conditions, read_expected, read_range, single};
use super::render::{ResponseContext, render};
use super::{HttpService, error_response};
use crate::admin::{Operator, Upload};
use crate::cache::{ListedTarget, RecordStatus};
use crate::gateway::{CacheResponse, DigestRequest, Endpoint, RequestError};
use crate::limits::TransferKind;
use crate::model::{ExpectedDigests, Record, Sha256, Target};
use crate::policy::Client;
use query::Query;

/// Everything below is the API's.
const ROOT: &str = "/api/";

/// The most targets on one page.
const MAX_PAGE: usize = 1000;

/// What is asked for.
enum Resource {
    Objects,
    Object(Sha256),
    Targets,
    Pins,
    Refresh,
}

/// A request to the API, and how it is answered.
pub struct ApiRequest<'a> {
    pub path: &'a str,
    pub query: &'a str,
    pub context: &'a ResponseContext<'a>,
    pub log: RequestLog,
}

/// What a call comes to.
enum ApiResponse {
    Json(StatusCode, Value),
    Object(Box<CacheResponse>),
}

/// Path and query of a request to the API, if it is one.
pub fn path_and_query(form: &TargetForm) -> Option<(&str, &str)> {
    match form {
        TargetForm::Origin(text) if text.starts_with(ROOT) => {
            Some(text.split_once('?').unwrap_or((text, "")))
        }
        TargetForm::Origin(_) | TargetForm::Absolute(_) => None,
    }
}

pub async fn serve(
    request: &HttpRequest,
    payload: Payload,
    service: &HttpService,
    client: Client,
    api_request: ApiRequest<'_>,
) -> HttpResponse {
    let ApiRequest {
        path,
        query,
        context,
        log,
    } = api_request;
    let api_response = match Resource::parse(path) {
        Ok(resource) => service.dispatch(request, payload, resource, query).await,
        Err(error) => Err(error),
    };
    let outcome = match api_response {
        Ok(ApiResponse::Json(status, value)) => return log.attach(json_page(status, &value), None),
        // The bytes of an object are a download like any other.
        Ok(ApiResponse::Object(cache_response)) => {
            let transfer_permit = service
                .gateway
                .acquire_transfer_permit(client, TransferKind::Download);
            transfer_permit.map(|transfer_permit| {
                (
                    render(*cache_response, Endpoint::Gateway, context),
                    transfer_permit,
                )
            })
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok((response, transfer_permit)) => log.attach(response, Some(transfer_permit)),
        Err(error) => log.attach(
            error_response::render(&error, Some(Endpoint::Gateway), context),
            None,
        ),
    }
}

impl Resource {
    fn parse(path: &str) -> Result<Self, RequestError> {
        let unknown = RequestError::NotFound("there is no such thing in the API");
        let name = path
            .strip_prefix(ROOT)
            .and_then(|path| path.strip_prefix("v1/"));
        match name.map(|name| name.trim_end_matches('/')) {
            Some("objects") => Ok(Self::Objects),
            Some("targets") => Ok(Self::Targets),
            Some("pins") => Ok(Self::Pins),
            Some("refresh") => Ok(Self::Refresh),
            Some(name) => {
                let hex = name.strip_prefix("objects/sha256/").ok_or(unknown)?;
                let sha256 = hex.parse().map_err(|error| {
                    RequestError::BadRequest(format!("objects/sha256/: {error}"))
                })?;
                Ok(Self::Object(sha256))
            }
            None => Err(unknown),
        }
    }

    /// The methods that this takes.
    fn methods(&self) -> &'static str {
        match self {
            Self::Objects => "GET, HEAD, PUT, DELETE",
            Self::Object(_) => "GET, HEAD, DELETE",
            Self::Targets => "GET, HEAD",
            Self::Pins => "PUT, DELETE",
            Self::Refresh => "POST",
        }
    }
}

impl HttpService {
    async fn dispatch(
        &self,
        request: &HttpRequest,
        payload: Payload,
        resource: Resource,
        query: &str,
    ) -> Result<ApiResponse, RequestError> {
        let mut query = Query::parse(query)?;
        let operator = || self.admin.authorize(bearer(request.headers()));
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match (resource, request.method()) {
            (Resource::Object(sha256), _) if is_get => {
                query.finish()?;
                let (range, conditions) = (read_range(request), read_conditions(request.headers()));
                let cache_response = self
                    .gateway
                    .serve_object(DigestRequest {
                        sha256,
                        range,
                        conditions,
                    })
                    .await;
                Ok(ApiResponse::Object(Box::new(cache_response)))
            }
            (Resource::Object(sha256), &Method::DELETE) => {
                let operator = operator()?;
                query.finish()?;
                let freed_bytes = self.admin.remove_object(&operator, sha256).await?;
                Ok(ok(json!({ "sha256": sha256, "freed_bytes": freed_bytes })))
            }
            (Resource::Targets, _) if is_get => {
                let target = query.target()?;
                query.finish()?;
                let history = self.admin.history(&target).await?;
                let records: Vec<_> = history.iter().map(record_json).collect();
                let required_sha256 = self.admin.required_sha256(&target);
                Ok(ok(
                    json!({ "url": shown(&target), "required_sha256": required_sha256, "records": records }),
                ))
            }
            (Resource::Objects, _) if is_get => self.list(&operator()?, query).await,
            (Resource::Objects, &Method::PUT) => {
                self.import(&operator()?, request, payload, query).await
            }
            (Resource::Objects, &Method::DELETE) => {
                let operator = operator()?;
                let target = query.target()?;
                query.finish()?;
                let removed_target = self.admin.forget(&operator, &target).await?;
                let (records, freed_bytes) = (removed_target.records, removed_target.freed_bytes);
                Ok(ok(
                    json!({ "url": shown(&target), "records": records, "freed_bytes": freed_bytes }),
                ))
            }
            (Resource::Pins, &(Method::PUT | Method::DELETE)) => {
                let operator = operator()?;
                let (target, sha256) = (query.target()?, query.sha256()?);
                query.finish()?;
                if *request.method() == Method::PUT {
                    let sha256 = self.admin.pin(&operator, &target, sha256).await?;
                    return Ok(ok(json!({ "url": shown(&target), "pinned": sha256 })));
                }
                let unpinned = self.admin.unpin(&operator, &target, sha256).await?;
                Ok(ok(json!({ "url": shown(&target), "unpinned": unpinned })))
            }
            (Resource::Refresh, &Method::POST) => self.refresh(&operator()?, request, query).await,
            (resource, _) => Err(RequestError::MethodNotAllowed(resource.methods())),
        }
    }

    async fn list(
        &self,
        operator: &Operator,
        mut query: Query<'_>,
    ) -> Result<ApiResponse, RequestError> {
        let (after, limit) = (query.after()?, query.limit(MAX_PAGE)?);
        query.finish()?;
        let page = self.admin.list(operator, after, limit).await?;
        let next = page
            .last()
            .filter(|_| page.len() == limit)
            .map(|last| last.key.to_string());
        Ok(ok(
            json!({ "objects": page.iter().map(target_json).collect::<Vec<_>>(), "next": next }),
        ))
    }

    async fn refresh(
        &self,
        operator: &Operator,
        request: &HttpRequest,
        mut query: Query<'_>,
    ) -> Result<ApiResponse, RequestError> {
        let (target, accept) = (query.target()?, query.accept()?);
        query.finish()?;
        let mut expected = ExpectedDigests::nothing();
        read_expected(request.headers(), &mut expected)?;
        let refreshed = self
            .admin
            .refresh(operator, target, expected, accept)
            .await?;
        let record = &refreshed.record;
        let is_other = refreshed
            .previous
            .is_some_and(|before| before != record.sha256);
        Ok(ok(json!({
            "url": shown(&record.target),
            "sha256": record.sha256,
            "size_bytes": record.size_bytes,
            "previous_sha256": refreshed.previous,
            "changed": is_other,
            "accepted": is_other && accept,
        })))
    }

    async fn import(
        &self,
        operator: &Operator,
        request: &HttpRequest,
        body: Payload,
        mut query: Query<'_>,
    ) -> Result<ApiResponse, RequestError> {
        let target = query.target()?;
        query.finish()?;
        let mut expected = ExpectedDigests::nothing();
        read_expected(request.headers(), &mut expected)?;
        let length =
            single(request.headers(), "content-length").and_then(|length| length.parse().ok());
        let body = with_idle_timeout(body, self.settings.load().stall_timeout);
        let record = self
            .admin
            .import(
                operator,
                Upload {
                    target,
                    expected,
                    length,
                    body,
                },
            )
            .await?;
        let imported = json!({
            "url": shown(&record.target),
            "size_bytes": record.size_bytes,
            "digests": digests(&record),
            "pinned": record.sha256,
        });
        Ok(ApiResponse::Json(StatusCode::CREATED, imported))
    }
}

/// The token of an `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = single(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A target as it is told to clients: without a password, or a query that is a secret.
fn shown(target: &Target) -> String {
    target.to_string()
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn digests(record: &Record) -> Value {
    let others = record
        .digests
        .iter()
        .map(|(algorithm, hex)| (algorithm.as_str().to_owned(), json!(hex)));
    let all: Map<String, Value> = others
        .chain([("sha256".to_owned(), json!(record.sha256))])
        .collect();
    Value::Object(all)
}

fn record_json(status: &RecordStatus) -> Value {
    let record = &status.record;
    json!({
        "sha256": record.sha256,
        "digests": digests(record),
        "size_bytes": record.size_bytes,
        "first_seen": date(record.first_seen),
        "source": record.source,
        "cached": status.is_cached,
        "pinned": status.pinned_at.map(date),
        "active": status.is_active,
    })
}

fn target_json(listed: &ListedTarget) -> Value {
    json!({
        "url": shown(&listed.record.target),
        "sha256": listed.record.sha256,
        "size_bytes": listed.record.size_bytes,
        "first_seen": date(listed.record.first_seen),
        "cached": listed.is_cached,
        "pinned": listed.is_pinned,
    })
}

fn ok(value: Value) -> ApiResponse {
    ApiResponse::Json(StatusCode::OK, value)
}

fn json_page(status: StatusCode, value: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(format!("{value}\n"))
}
