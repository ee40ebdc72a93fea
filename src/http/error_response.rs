//! Error responses: text, problem document and header fields.
//!
//! `error_status` maps a failure to its status. The main function is [`render_error`].

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, PROXY_AUTHENTICATE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use super::error_status::{ErrorStatus, REQUEST_ERROR, status_of};
use super::login::CHALLENGE;
use super::rendered_response::RenderedResponse;
use super::response_context::{ErrorForm, ResponseContext};
use crate::admin::AdminError;
use crate::cluster::REFUSAL_FIELD;
use crate::gateway::{CacheStatus, Endpoint, OriginError, RequestError};
use crate::limits::OverLimit;
use crate::model::sanitize_line;
use crate::registry::RegistryErrorCode;

/// `Retry-After` of a temporary rejection, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Reason phrase of the status.
    title: &'static str,
    status: u16,
    /// One line of text.
    detail: String,
    /// The same text for npm, which shows this member only. Other clients do not get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Returns the value of `Proxy-Status` (RFC 9209). `name` is the name of this node.
pub fn proxy_status(error: &RequestError, error_status: ErrorStatus, name: &str) -> String {
    match error {
        RequestError::Origin(OriginError::Status { status, .. }) => {
            format!("{name}; received-status={status}")
        }
        _ => own_proxy_status(error_status, name),
    }
}

/// Returns `Proxy-Status` of an error that does not come from the origin.
fn own_proxy_status(error_status: ErrorStatus, name: &str) -> String {
    match error_status.proxy_error {
        Some(error) => format!("{name}; error={error}"),
        None => format!("{name}; details=\"{}\"", error_status.detail),
    }
}

/// Renders an error as one line of text, or as a problem document (RFC 9457) if the client accepts
/// one.
pub fn render_error(
    error: &RequestError,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    let error_status = status_of(error, endpoint);
    let mut builder = begin(error_status, context);
    let proxy_status = proxy_status(error, error_status, context.name.as_str());
    builder.insert_header(("Proxy-Status", proxy_status));
    let allowed = match error {
        // No target supports TRACE here. Other methods fail for ftp targets only.
        RequestError::MethodNotSupported(method) if method == "TRACE" => {
            Some(allowed_methods(endpoint))
        }
        RequestError::MethodNotSupported(_) | RequestError::ReadOnlyRegistry => {
            Some(allowed_methods(Endpoint::Gateway))
        }
        _ => None,
    };
    if let Some(allowed) = allowed {
        builder.insert_header((ALLOW, allowed));
    }
    if let Some((name, challenge)) = challenge(error_status.status) {
        builder.insert_header((name, challenge));
    }
    if let RequestError::PeerRefused(refusal) = error {
        builder.insert_header((REFUSAL_FIELD, refusal.as_str()));
    }
    if let Some(seconds) = retry_after_seconds(error, error_status.status) {
        builder.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    finish(builder, error_status, &error.to_string(), context)
}

/// Returns the field that asks for the login of a download user, if the status needs one (RFC 9110,
/// section 11.6.1 and 11.7.1).
pub fn challenge(status: StatusCode) -> Option<(HeaderName, &'static str)> {
    match status {
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, CHALLENGE)),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some((PROXY_AUTHENTICATE, CHALLENGE)),
        _ => None,
    }
}

/// Returns the methods of an endpoint, as in `Allow` (RFC 9110, section 10.2.1).
pub fn allowed_methods(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Gateway => "GET, HEAD",
        Endpoint::Proxy => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT",
    }
}

/// Renders an error of the operator service in the same form.
pub fn render_admin_error(
    error: &AdminError,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    let error_status = match error {
        AdminError::Request(error) => return render_error(error, endpoint, context),
        AdminError::Unauthorized(_) | AdminError::WrongToken => {
            own_error(StatusCode::UNAUTHORIZED, "unauthorized")
        }
        AdminError::TooManyWrongTokens => own_error(StatusCode::TOO_MANY_REQUESTS, "wrong-tokens"),
        AdminError::UnknownHost => own_error(StatusCode::MISDIRECTED_REQUEST, "unknown-host"),
        AdminError::MethodNotAllowed(_) => own_error(StatusCode::METHOD_NOT_ALLOWED, "bad-method"),
        AdminError::NotFound(_) => own_error(StatusCode::NOT_FOUND, "unknown"),
        AdminError::Pinned => own_error(StatusCode::LOCKED, "pinned"),
        AdminError::WrongFileType => own_error(StatusCode::CONFLICT, "wrong-file-type"),
        AdminError::NotStored => own_error(StatusCode::BAD_GATEWAY, "not-stored"),
        AdminError::TooManyEntries => {
            own_error(StatusCode::INSUFFICIENT_STORAGE, "too-many-entries")
        }
        AdminError::NoSpace => own_error(StatusCode::INSUFFICIENT_STORAGE, "no-space"),
        AdminError::InvalidUpload(_) | AdminError::NotCacheable => ErrorStatus {
            proxy_error: REQUEST_ERROR,
            ..own_error(StatusCode::BAD_REQUEST, "bad-request")
        },
    };
    let mut builder = begin(error_status, context);
    let proxy_status = own_proxy_status(error_status, context.name.as_str());
    builder.insert_header(("Proxy-Status", proxy_status));
    match error {
        AdminError::MethodNotAllowed(allowed) => drop(builder.insert_header((ALLOW, *allowed))),
        AdminError::Unauthorized(_) | AdminError::WrongToken => {
            builder.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        AdminError::TooManyWrongTokens => drop(builder.insert_header((RETRY_AFTER, "1"))),
        AdminError::NotFound(_)
        | AdminError::UnknownHost
        | AdminError::Pinned
        | AdminError::NoSpace
        | AdminError::TooManyEntries
        | AdminError::WrongFileType
        | AdminError::InvalidUpload(_)
        | AdminError::NotCacheable
        | AdminError::NotStored
        | AdminError::Request(_) => {}
    }
    finish(builder, error_status, &error.to_string(), context)
}

/// Returns an error status for which `Proxy-Status` has no error type.
fn own_error(status: StatusCode, detail: &'static str) -> ErrorStatus {
    ErrorStatus {
        status,
        proxy_error: None,
        detail,
        reason: status.canonical_reason().unwrap_or_default(),
    }
}

fn begin(error_status: ErrorStatus, context: &ResponseContext<'_>) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(error_status.status);
    // wget, apt and dnf show nothing else of an error.
    builder.reason(error_status.reason);
    context.apply_common_headers(&mut builder, CacheStatus::Error(error_status.detail));
    builder.insert_header((CACHE_CONTROL, "no-store"));
    builder
}

fn finish(
    mut builder: HttpResponseBuilder,
    error_status: ErrorStatus,
    text: &str,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    let text = sanitize_line(text);
    let (content_type, body) = if context.error_form == ErrorForm::Text {
        ("text/plain; charset=utf-8", format!("{text}\n"))
    } else if let ErrorForm::Registry(unknown) = context.error_form {
        let document = registry_document(error_status.status, unknown, &text);
        ("application/json", document)
    } else {
        let problem = Problem {
            kind: "about:blank",
            title: error_status.status.canonical_reason().unwrap_or_default(),
            status: error_status.status.as_u16(),
            error: (context.error_form == ErrorForm::Npm).then(|| text.clone()),
            detail: text,
        };
        // A struct of text and numbers has a JSON form.
        let document = serde_json::to_string(&problem).unwrap_or_default();
        (PROBLEM_JSON, document)
    };
    builder.insert_header((CONTENT_TYPE, content_type));
    RenderedResponse::new(builder.body(body), CacheStatus::Error(error_status.detail))
}

/// Returns the body of an error of a container registry (OCI distribution specification 1.1, "Error
/// Codes").
fn registry_document(status: StatusCode, unknown: RegistryErrorCode, text: &str) -> String {
    let code = match status.as_u16() {
        404 | 410 => unknown.as_str(),
        401 | 403 => "DENIED",
        405 => RegistryErrorCode::Unsupported.as_str(),
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    serde_json::json!({"errors": [{"code": code, "message": text}]}).to_string()
}

/// Rounds up, since a client that retries too early would be rejected again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Returns the value of `Retry-After` in seconds (RFC 9110, section 10.2.3), if the error has one.
pub fn retry_after_seconds(error: &RequestError, status: StatusCode) -> Option<u64> {
    match error {
        RequestError::Origin(error) => error.retry_after().map(whole_seconds),
        RequestError::OverLimit(OverLimit::Requests { wait } | OverLimit::Bytes { wait }) => {
            Some(wait.as_secs() + 1)
        }
        RequestError::TooManyWrongLogins => Some(1),
        RequestError::RegistryLimit(wait) => wait.map(whole_seconds),
        RequestError::OverLimit(OverLimit::Downloads | OverLimit::Tunnels) => {
            Some(RETRY_AFTER_SECONDS)
        }
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_SECONDS),
        _ => None,
    }
}
