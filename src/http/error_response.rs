//! Error responses. This is the only place that maps a failure to its HTTP status.
//!
//! The main functions are [`status_of`] and [`render_error`].

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::rendered_response::RenderedResponse;
use super::response_context::ResponseContext;
use crate::admin::AdminError;
use crate::gateway::{CacheStatus, Endpoint, OriginError, PrefixedUrlError, RequestError};
use crate::limits::OverLimit;
use crate::model::{TargetError, sanitize_line};
use crate::policy::PolicyDenied;

/// `Retry-After` of a temporary rejection, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Error types of `Proxy-Status` (RFC 9209, section 2.3).
const REQUEST_ERROR: Option<&str> = Some("http_request_error");
const REQUEST_DENIED: Option<&str> = Some("http_request_denied");
const PROTOCOL_ERROR: Option<&str> = Some("http_protocol_error");
const INTERNAL_ERROR: Option<&str> = Some("proxy_internal_error");

/// How a response reports an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorStatus {
    pub status: StatusCode,
    /// The error type of `Proxy-Status` (RFC 9209, section 2.3), where one fits.
    pub proxy_error: Option<&'static str>,
    /// The detail in `Cache-Status`.
    pub detail: &'static str,
}

/// Returns the status of an error. The proxy endpoint is transparent and passes an error status of
/// the origin through; the gateway endpoint replaces most of them by 502.
pub fn status_of(error: &RequestError, endpoint: Endpoint) -> ErrorStatus {
    use StatusCode as Code;
    let (status, proxy_error, detail) = match error {
        RequestError::BadRequest(_) => (Code::BAD_REQUEST, REQUEST_ERROR, "bad-request"),
        RequestError::HeadTooLarge(_) => {
            let status = Code::REQUEST_HEADER_FIELDS_TOO_LARGE;
            (status, REQUEST_ERROR, "bad-request")
        }
        RequestError::PrefixedUrl(error) => return status_of_prefixed_url(*error),
        RequestError::MethodNotSupported(_) => {
            (Code::METHOD_NOT_ALLOWED, REQUEST_DENIED, "bad-method")
        }
        RequestError::NotFound(_) => (Code::NOT_FOUND, None, "unknown"),
        RequestError::LoopDetected(_) => (Code::LOOP_DETECTED, Some("proxy_loop_detected"), "loop"),
        RequestError::Misdirected(_) => (Code::MISDIRECTED_REQUEST, REQUEST_DENIED, "misdirected"),
        RequestError::Denied(denied) => return status_of_denied(denied),
        RequestError::OverLimit(_) => (Code::TOO_MANY_REQUESTS, REQUEST_DENIED, "over-limit"),
        RequestError::Origin(error) => return status_of_origin_error(error, endpoint),
        RequestError::Mismatch { .. } => (Code::CONFLICT, None, "digest-mismatch"),
        RequestError::WrongFileType => (Code::BAD_GATEWAY, PROTOCOL_ERROR, "wrong-file-type"),
        RequestError::DeadlineExceeded => {
            let proxy_error = Some("http_response_timeout");
            (Code::GATEWAY_TIMEOUT, proxy_error, "origin-slow")
        }
        RequestError::OnlyIfCachedMiss => (Code::GATEWAY_TIMEOUT, None, "not-stored"),
        RequestError::Busy => {
            let proxy_error = Some("connection_limit_reached");
            (Code::SERVICE_UNAVAILABLE, proxy_error, "busy")
        }
        RequestError::Stopping => (Code::SERVICE_UNAVAILABLE, INTERNAL_ERROR, "stopping"),
        RequestError::Unavailable => (Code::SERVICE_UNAVAILABLE, INTERNAL_ERROR, "unavailable"),
    };
    ErrorStatus {
        status,
        proxy_error,
        detail,
    }
}

fn status_of_prefixed_url(error: PrefixedUrlError) -> ErrorStatus {
    let (status, detail) = match error {
        PrefixedUrlError::Target(TargetError::TooLong) => (StatusCode::URI_TOO_LONG, "bad-request"),
        // A client with a list of mirrors tries the next one after a 404 only.
        PrefixedUrlError::NoUrl | PrefixedUrlError::Digest(_) | PrefixedUrlError::Target(_) => {
            (StatusCode::NOT_FOUND, "bad-target")
        }
    };
    ErrorStatus {
        status,
        proxy_error: REQUEST_ERROR,
        detail,
    }
}

fn status_of_denied(denied: &PolicyDenied) -> ErrorStatus {
    let proxy_error = match denied {
        PolicyDenied::Address(_) => Some("destination_ip_prohibited"),
        PolicyDenied::TooLarge(_) => Some("http_response_body_size"),
        PolicyDenied::Client(_)
        | PolicyDenied::DeniedHost(_)
        | PolicyDenied::UnlistedHost(_)
        | PolicyDenied::DeniedSuffix(_)
        | PolicyDenied::UnlistedSuffix
        | PolicyDenied::Port(..)
        | PolicyDenied::ConnectPort(_)
        | PolicyDenied::ContentType(_)
        | PolicyDenied::TooYoung(_)
        | PolicyDenied::Downgrade
        | PolicyDenied::FtpFile(_) => REQUEST_DENIED,
    };
    ErrorStatus {
        status: StatusCode::FORBIDDEN,
        proxy_error,
        detail: "refused",
    }
}

fn status_of_origin_error(error: &OriginError, endpoint: Endpoint) -> ErrorStatus {
    let (status, detail) = match error {
        OriginError::Denied(denied) => return status_of_denied(denied),
        OriginError::CircuitOpen { last, .. } => return status_of_origin_error(last, endpoint),
        OriginError::Status { status, .. } => {
            (translate_status(*status, endpoint), "origin-status")
        }
        OriginError::Unreachable(_) => (StatusCode::GATEWAY_TIMEOUT, "origin-silent"),
        OriginError::InvalidRequest(_)
        | OriginError::InvalidResponse(_)
        | OriginError::TlsFailure(_) => (StatusCode::BAD_GATEWAY, "origin-wrong"),
    };
    ErrorStatus {
        status,
        proxy_error: error.proxy_error(),
        detail,
    }
}

/// Returns the status that a client gets for an error status of the origin.
fn translate_status(status: u16, endpoint: Endpoint) -> StatusCode {
    match (status, endpoint) {
        (404, _) => StatusCode::NOT_FOUND,
        (410, _) => StatusCode::GONE,
        (status @ 400..=599, Endpoint::Proxy) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        _ => StatusCode::BAD_GATEWAY,
    }
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
    if let RequestError::MethodNotSupported(_) = error {
        builder.insert_header((ALLOW, "GET, HEAD"));
    }
    if let Some(seconds) = retry_after_seconds(error, error_status.status) {
        builder.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    finish(builder, error_status, &error.to_string(), context)
}

/// Renders an error of the operator service in the same form.
pub fn render_admin_error(
    error: &AdminError,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    let error_status = match error {
        AdminError::Request(error) => return render_error(error, endpoint, context),
        AdminError::Unauthorized => own_error(StatusCode::UNAUTHORIZED, "unauthorized"),
        AdminError::MethodNotAllowed(_) => own_error(StatusCode::METHOD_NOT_ALLOWED, "bad-method"),
        AdminError::NotFound(_) => own_error(StatusCode::NOT_FOUND, "unknown"),
        AdminError::Pinned => own_error(StatusCode::LOCKED, "pinned"),
        AdminError::NoSpace => own_error(StatusCode::INSUFFICIENT_STORAGE, "no-space"),
        AdminError::InvalidUpload(_) | AdminError::NotCacheable => ErrorStatus {
            status: StatusCode::BAD_REQUEST,
            proxy_error: REQUEST_ERROR,
            detail: "bad-request",
        },
    };
    let mut builder = begin(error_status, context);
    let proxy_status = own_proxy_status(error_status, context.name.as_str());
    builder.insert_header(("Proxy-Status", proxy_status));
    match error {
        AdminError::MethodNotAllowed(allowed) => drop(builder.insert_header((ALLOW, *allowed))),
        AdminError::Unauthorized => drop(builder.insert_header((WWW_AUTHENTICATE, "Bearer"))),
        AdminError::NotFound(_)
        | AdminError::Pinned
        | AdminError::NoSpace
        | AdminError::InvalidUpload(_)
        | AdminError::NotCacheable
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
    }
}

fn begin(error_status: ErrorStatus, context: &ResponseContext<'_>) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(error_status.status);
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
    let (content_type, body) = if context.wants_problem_json {
        let document = serde_json::json!({
            "type": "about:blank",
            "title": error_status.status.canonical_reason().unwrap_or_default(),
            "status": error_status.status.as_u16(),
            "detail": text,
        });
        ("application/problem+json", document.to_string())
    } else {
        ("text/plain; charset=utf-8", format!("{text}\n"))
    };
    builder.insert_header((CONTENT_TYPE, content_type));
    RenderedResponse::new(builder.body(body), CacheStatus::Error(error_status.detail))
}

/// Rounds up, since a client that retries too early would be rejected again.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Returns the value of `Retry-After` in seconds (RFC 9110, section 10.2.3), if the error has one.
pub fn retry_after_seconds(error: &RequestError, status: StatusCode) -> Option<u64> {
    match error {
        RequestError::Origin(error) => error.retry_after().map(whole_seconds),
        RequestError::OverLimit(OverLimit::Requests { wait }) => Some(wait.as_secs() + 1),
        RequestError::OverLimit(OverLimit::Downloads | OverLimit::Tunnels) => {
            Some(RETRY_AFTER_SECONDS)
        }
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_SECONDS),
        _ => None,
    }
}
