//! From a problem to a status: the one place where statuses of failures are made.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

use super::render::Dress;
use crate::gateway::{CacheStatus, Door, OriginError, Problem, RewriteError};
use crate::model::{TargetError, one_line};
use crate::policy::{OverLimit, Refusal};

/// What a client that is turned away for the moment is told to wait, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How a problem is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub status: StatusCode,
    /// The error type of `Proxy-Status` (RFC 9209, section 2.3), where one fits.
    pub proxy_error: Option<&'static str>,
    /// The detail in `Cache-Status`.
    pub detail: &'static str,
}

impl Verdict {
    fn new(status: StatusCode, proxy_error: Option<&'static str>, detail: &'static str) -> Self {
        Self { status, proxy_error, detail }
    }
}

/// Every problem's status. A proxy is transparent: at its door the origin's own final status goes through.
pub fn judge(problem: &Problem, door: Option<Door>) -> Verdict {
    match problem {
        Problem::BadRequest(_) => Verdict::new(StatusCode::BAD_REQUEST, Some("http_request_error"), "bad-request"),
        Problem::HeadTooLarge(_) => {
            Verdict::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Some("http_request_error"), "bad-request")
        }
        Problem::Rewrite(RewriteError::Target(TargetError::TooLong)) => {
            Verdict::new(StatusCode::URI_TOO_LONG, Some("http_request_error"), "bad-request")
        }
        // A client with a list of mirrors tries the next one after a 404 only.
        Problem::Rewrite(RewriteError::NoUrl | RewriteError::Digest(_) | RewriteError::Target(_)) => {
            Verdict::new(StatusCode::NOT_FOUND, Some("http_request_error"), "bad-target")
        }
        Problem::Method(_) => Verdict::new(StatusCode::METHOD_NOT_ALLOWED, Some("http_request_denied"), "bad-method"),
        Problem::Methods(_) => Verdict::new(StatusCode::METHOD_NOT_ALLOWED, None, "bad-method"),
        Problem::Unauthorized => Verdict::new(StatusCode::UNAUTHORIZED, None, "unauthorized"),
        Problem::Unknown(_) => Verdict::new(StatusCode::NOT_FOUND, None, "unknown"),
        Problem::Pinned => Verdict::new(StatusCode::LOCKED, None, "pinned"),
        Problem::NoSpace => Verdict::new(StatusCode::INSUFFICIENT_STORAGE, None, "no-space"),
        Problem::Loop(_) => Verdict::new(StatusCode::BAD_REQUEST, Some("proxy_loop_detected"), "loop"),
        Problem::Misdirected(_) => {
            Verdict::new(StatusCode::MISDIRECTED_REQUEST, Some("http_request_denied"), "misdirected")
        }
        Problem::Refused(refusal) | Problem::Origin(OriginError::Refused(refusal)) => judge_refusal(refusal),
        Problem::OverLimit(_) => Verdict::new(StatusCode::TOO_MANY_REQUESTS, Some("http_request_denied"), "over-limit"),
        Problem::Origin(OriginError::Status { status, .. }) => judge_status(*status, door),
        Problem::Origin(OriginError::Silent(_)) => {
            Verdict::new(StatusCode::GATEWAY_TIMEOUT, Some("http_response_incomplete"), "origin-silent")
        }
        Problem::Origin(OriginError::Resting { last, .. }) => judge(&Problem::Origin((**last).clone()), door),
        Problem::Origin(OriginError::Wrong(_) | OriginError::Untrusted(_)) => {
            Verdict::new(StatusCode::BAD_GATEWAY, Some("http_protocol_error"), "origin-wrong")
        }
        Problem::Mismatch { .. } => Verdict::new(StatusCode::CONFLICT, None, "digest-mismatch"),
        Problem::Impostor => Verdict::new(StatusCode::BAD_GATEWAY, Some("http_protocol_error"), "impostor"),
        Problem::OverBudget => Verdict::new(StatusCode::GATEWAY_TIMEOUT, Some("http_response_timeout"), "origin-slow"),
        Problem::NotStored => Verdict::new(StatusCode::GATEWAY_TIMEOUT, None, "not-stored"),
        Problem::Busy => Verdict::new(StatusCode::SERVICE_UNAVAILABLE, Some("connection_limit_reached"), "busy"),
        Problem::Stopping => Verdict::new(StatusCode::SERVICE_UNAVAILABLE, Some("proxy_internal_error"), "stopping"),
        Problem::Unavailable => {
            Verdict::new(StatusCode::SERVICE_UNAVAILABLE, Some("proxy_internal_error"), "unavailable")
        }
    }
}

fn judge_refusal(refusal: &Refusal) -> Verdict {
    let proxy_error = match refusal {
        Refusal::Address(_) => "destination_ip_prohibited",
        Refusal::TooLarge(_) => "http_response_body_size",
        Refusal::Client(_)
        | Refusal::DeniedHost(_)
        | Refusal::UnlistedHost(_)
        | Refusal::DeniedSuffix(_)
        | Refusal::UnlistedSuffix
        | Refusal::Port(..)
        | Refusal::ConnectPort(_)
        | Refusal::ContentType(_)
        | Refusal::Downgrade
        | Refusal::FtpFile(_) => "http_request_denied",
    };
    Verdict::new(StatusCode::FORBIDDEN, Some(proxy_error), "refused")
}

fn judge_status(status: u16, door: Option<Door>) -> Verdict {
    let status = match (status, door) {
        (404, _) => StatusCode::NOT_FOUND,
        (410, _) => StatusCode::GONE,
        (status @ 400..=599, Some(Door::Proxy)) => StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
        _ => StatusCode::BAD_GATEWAY,
    };
    Verdict::new(status, None, "origin-status")
}

/// Who refused, and why, for machines (RFC 9209).
pub fn proxy_status(problem: &Problem, verdict: Verdict, name: &str) -> String {
    match (problem, verdict.proxy_error) {
        (Problem::Origin(OriginError::Status { status, .. }), _) => format!("{name}; received-status={status}"),
        (_, Some(error)) => format!("{name}; error={error}"),
        (_, None) => format!("{name}; details=\"{}\"", verdict.detail),
    }
}

/// One line for people, or a problem document (RFC 9457) for those who ask for one.
pub fn render(problem: &Problem, door: Option<Door>, dress: &Dress<'_>) -> HttpResponse {
    let verdict = judge(problem, door);
    let mut builder = HttpResponse::build(verdict.status);
    dress.put_on(&mut builder, CacheStatus::Problem(verdict.detail));
    builder.insert_header((CACHE_CONTROL, "no-store"));
    builder.insert_header(("Proxy-Status", proxy_status(problem, verdict, dress.name)));
    match problem {
        Problem::Methods(allowed) => drop(builder.insert_header((ALLOW, *allowed))),
        Problem::Method(_) => drop(builder.insert_header((ALLOW, "GET, HEAD"))),
        Problem::Unauthorized => drop(builder.insert_header((WWW_AUTHENTICATE, "Bearer"))),
        _ => {}
    }
    if let Some(seconds) = retry_after_seconds(problem, verdict.status) {
        builder.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    let text = one_line(&problem.to_string());
    if dress.wants_problem_json {
        let title = verdict.status.canonical_reason().unwrap_or_default();
        let document = serde_json::json!({
            "type": "about:blank", "title": title, "status": verdict.status.as_u16(), "detail": text,
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
pub fn retry_after_seconds(problem: &Problem, status: StatusCode) -> Option<u64> {
    match problem {
        Problem::Origin(error) => error.retry_after().map(whole_seconds),
        Problem::OverLimit(OverLimit::Requests { wait }) => Some(wait.as_secs() + 1),
        Problem::OverLimit(OverLimit::Downloads | OverLimit::Tunnels) => Some(RETRY_AFTER_SECONDS),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_SECONDS),
        _ => None,
    }
}
