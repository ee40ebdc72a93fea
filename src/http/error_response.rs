//! From a problem to a status: the one place where statuses of failures are made.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

use super::render::ResponseContext;
use crate::gateway::{CacheStatus, Endpoint, OriginError, PrefixedUrlError, RequestError};
use crate::limits::OverLimit;
use crate::model::{TargetError, sanitize_line};
use crate::policy::PolicyDenied;

/// What a client that is turned away for the moment is told to wait, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How a problem is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorStatus {
    pub status: StatusCode,
    /// The error type of `Proxy-Status` (RFC 9209, section 2.3), where one fits.
    pub proxy_error: Option<&'static str>,
    /// The detail in `Cache-Status`.
    pub detail: &'static str,
}

impl ErrorStatus {
    fn new(status: StatusCode, proxy_error: Option<&'static str>, detail: &'static str) -> Self {
        Self {
            status,
            proxy_error,
            detail,
        }
    }
}

/// Every problem's status. A proxy is transparent: at its door the origin's own final status goes
/// through.
#[expect(clippy::too_many_lines, reason = "one exhaustive match")]
pub fn status_of(error: &RequestError, endpoint: Option<Endpoint>) -> ErrorStatus {
    match error {
        RequestError::BadRequest(_) => ErrorStatus::new(
            StatusCode::BAD_REQUEST,
            Some("http_request_error"),
            "bad-request",
        ),
        RequestError::HeadTooLarge(_) => ErrorStatus::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Some("http_request_error"),
            "bad-request",
        ),
        RequestError::PrefixedUrl(PrefixedUrlError::Target(TargetError::TooLong)) => {
            ErrorStatus::new(
                StatusCode::URI_TOO_LONG,
                Some("http_request_error"),
                "bad-request",
            )
        }
        // A client with a list of mirrors tries the next one after a 404 only.
        RequestError::PrefixedUrl(
            PrefixedUrlError::NoUrl | PrefixedUrlError::Digest(_) | PrefixedUrlError::Target(_),
        ) => ErrorStatus::new(
            StatusCode::NOT_FOUND,
            Some("http_request_error"),
            "bad-target",
        ),
        RequestError::MethodNotSupported(_) => ErrorStatus::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Some("http_request_denied"),
            "bad-method",
        ),
        RequestError::MethodNotAllowed(_) => {
            ErrorStatus::new(StatusCode::METHOD_NOT_ALLOWED, None, "bad-method")
        }
        RequestError::Unauthorized => {
            ErrorStatus::new(StatusCode::UNAUTHORIZED, None, "unauthorized")
        }
        RequestError::NotFound(_) => ErrorStatus::new(StatusCode::NOT_FOUND, None, "unknown"),
        RequestError::Pinned => ErrorStatus::new(StatusCode::LOCKED, None, "pinned"),
        RequestError::NoSpace => {
            ErrorStatus::new(StatusCode::INSUFFICIENT_STORAGE, None, "no-space")
        }
        RequestError::LoopDetected(_) => {
            ErrorStatus::new(StatusCode::BAD_REQUEST, Some("proxy_loop_detected"), "loop")
        }
        RequestError::Misdirected(_) => ErrorStatus::new(
            StatusCode::MISDIRECTED_REQUEST,
            Some("http_request_denied"),
            "misdirected",
        ),
        RequestError::Denied(denied) | RequestError::Origin(OriginError::Denied(denied)) => {
            status_of_denied(denied)
        }
        RequestError::OverLimit(_) => ErrorStatus::new(
            StatusCode::TOO_MANY_REQUESTS,
            Some("http_request_denied"),
            "over-limit",
        ),
        RequestError::Origin(OriginError::Status { status, .. }) => {
            status_of_upstream(*status, endpoint)
        }
        RequestError::Origin(OriginError::Unreachable(_)) => ErrorStatus::new(
            StatusCode::GATEWAY_TIMEOUT,
            Some("http_response_incomplete"),
            "origin-silent",
        ),
        RequestError::Origin(OriginError::CircuitOpen { last, .. }) => {
            status_of(&RequestError::Origin((**last).clone()), endpoint)
        }
        RequestError::Origin(
            OriginError::InvalidResponse(_)
            | OriginError::InvalidRequest(_)
            | OriginError::TlsFailure(_),
        ) => ErrorStatus::new(
            StatusCode::BAD_GATEWAY,
            Some("http_protocol_error"),
            "origin-wrong",
        ),
        RequestError::Mismatch { .. } => {
            ErrorStatus::new(StatusCode::CONFLICT, None, "digest-mismatch")
        }
        RequestError::WrongFileType => ErrorStatus::new(
            StatusCode::BAD_GATEWAY,
            Some("http_protocol_error"),
            "impostor",
        ),
        RequestError::DeadlineExceeded => ErrorStatus::new(
            StatusCode::GATEWAY_TIMEOUT,
            Some("http_response_timeout"),
            "origin-slow",
        ),
        RequestError::OnlyIfCachedMiss => {
            ErrorStatus::new(StatusCode::GATEWAY_TIMEOUT, None, "not-stored")
        }
        RequestError::Busy => ErrorStatus::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Some("connection_limit_reached"),
            "busy",
        ),
        RequestError::Stopping => ErrorStatus::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Some("proxy_internal_error"),
            "stopping",
        ),
        RequestError::Unavailable => ErrorStatus::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Some("proxy_internal_error"),
            "unavailable",
        ),
    }
}

fn status_of_denied(denied: &PolicyDenied) -> ErrorStatus {
    let proxy_error = match denied {
        PolicyDenied::Address(_) => "destination_ip_prohibited",
        PolicyDenied::TooLarge(_) => "http_response_body_size",
        PolicyDenied::Client(_)
        | PolicyDenied::DeniedHost(_)
        | PolicyDenied::UnlistedHost(_)
        | PolicyDenied::DeniedSuffix(_)
        | PolicyDenied::UnlistedSuffix
        | PolicyDenied::Port(..)
        | PolicyDenied::ConnectPort(_)
        | PolicyDenied::ContentType(_)
        | PolicyDenied::Downgrade
        | PolicyDenied::FtpFile(_) => "http_request_denied",
    };
    ErrorStatus::new(StatusCode::FORBIDDEN, Some(proxy_error), "refused")
}

fn status_of_upstream(status: u16, endpoint: Option<Endpoint>) -> ErrorStatus {
    let status = match (status, endpoint) {
        (404, _) => StatusCode::NOT_FOUND,
        (410, _) => StatusCode::GONE,
        (status @ 400..=599, Some(Endpoint::Proxy)) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        _ => StatusCode::BAD_GATEWAY,
    };
    ErrorStatus::new(status, None, "origin-status")
}

/// Who refused, and why, for machines (RFC 9209).
pub fn proxy_status(error: &RequestError, error_status: ErrorStatus, name: &str) -> String {
    match (error, error_status.proxy_error) {
        (RequestError::Origin(OriginError::Status { status, .. }), _) => {
            format!("{name}; received-status={status}")
        }
        (_, Some(error)) => format!("{name}; error={error}"),
        (_, None) => format!("{name}; details=\"{}\"", error_status.detail),
    }
}

/// One line for people, or a problem document (RFC 9457) for those who ask for one.
pub fn render(
    error: &RequestError,
    endpoint: Option<Endpoint>,
    context: &ResponseContext<'_>,
) -> HttpResponse {
    let error_status = status_of(error, endpoint);
    let mut builder = HttpResponse::build(error_status.status);
    context.apply_common_headers(&mut builder, CacheStatus::Error(error_status.detail));
    builder.insert_header((CACHE_CONTROL, "no-store"));
    builder.insert_header((
        "Proxy-Status",
        proxy_status(error, error_status, context.name),
    ));
    match error {
        RequestError::MethodNotAllowed(allowed) => drop(builder.insert_header((ALLOW, *allowed))),
        RequestError::MethodNotSupported(_) => drop(builder.insert_header((ALLOW, "GET, HEAD"))),
        RequestError::Unauthorized => drop(builder.insert_header((WWW_AUTHENTICATE, "Bearer"))),
        _ => {}
    }
    if let Some(seconds) = retry_after_seconds(error, error_status.status) {
        builder.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    let text = sanitize_line(&error.to_string());
    if context.wants_problem_json {
        let title = error_status.status.canonical_reason().unwrap_or_default();
        let document = serde_json::json!({
            "type": "about:blank", "title": title, "status": error_status.status.as_u16(), "detail": text,
        });
        builder.insert_header((CONTENT_TYPE, "application/problem+json"));
        return builder.body(document.to_string());
    }
    builder.insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"));
    builder.body(format!("{text}\n"))
}

/// Rounded up: whoever comes too early is told to wait once more.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What goes into `Retry-After` (RFC 9110, section 10.2.3).
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
