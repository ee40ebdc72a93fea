//! Statuses of errors. This is the only place that maps a failure to its HTTP status.
//!
//! The words in the responses come from closed lists, so none contains client input. The main
//! function is [`status_of`].

use actix_web::http::StatusCode;

use crate::gateway::{Endpoint, FailureKind, OriginError, PrefixedUrlError, RequestError};
use crate::model::{TargetError, WrongFile};
use crate::policy::PolicyDenied;

/// Error types of `Proxy-Status` (RFC 9209, section 2.3).
pub const REQUEST_ERROR: Option<&str> = Some("http_request_error");
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
    /// The reason phrase of HTTP/1.1.
    pub reason: &'static str,
}

type Words = (StatusCode, Option<&'static str>, &'static str, &'static str);

fn error_status((status, proxy_error, detail, reason): Words) -> ErrorStatus {
    ErrorStatus {
        status,
        proxy_error,
        detail,
        reason,
    }
}

/// Returns the status of an error. The proxy endpoint is transparent and passes an error status of
/// the origin through; the gateway endpoint replaces most of them by 502.
pub fn status_of(error: &RequestError, endpoint: Endpoint) -> ErrorStatus {
    use StatusCode as Code;
    error_status(match error {
        RequestError::PrefixedUrl(error) => return status_of_prefixed_url(*error),
        RequestError::Denied(denied) => return status_of_denied(denied),
        RequestError::Origin(error) => return status_of_origin_error(error, endpoint),
        RequestError::BadRequest(_) => bad_request(Code::BAD_REQUEST),
        RequestError::HeadTooLarge(_) => bad_request(Code::REQUEST_HEADER_FIELDS_TOO_LARGE),
        RequestError::TargetTooLong(_) => bad_request(Code::URI_TOO_LONG),
        RequestError::ExpectationFailed => bad_request(Code::EXPECTATION_FAILED),
        RequestError::UnknownMethod(_) => {
            refused(Code::NOT_IMPLEMENTED, "bad-method", "Unknown Method")
        }
        RequestError::OtherProtocol => refused(
            Code::NOT_IMPLEMENTED,
            "bad-protocol",
            "Protocol Not Supported",
        ),
        RequestError::MethodNotSupported(_) => {
            refused(Code::METHOD_NOT_ALLOWED, "bad-method", "Method Not Allowed")
        }
        RequestError::ReadOnlyRegistry => refused(
            Code::METHOD_NOT_ALLOWED,
            "bad-method",
            "Registry Is Read Only",
        ),
        RequestError::Misdirected(_) => refused(
            Code::MISDIRECTED_REQUEST,
            "misdirected",
            "Misdirected Request",
        ),
        RequestError::UnlistedClient(_) => {
            refused(Code::FORBIDDEN, "refused", "Client Not Allowed")
        }
        RequestError::LoginRequired => unauthorized(endpoint, "Login Required"),
        RequestError::WrongLogin => unauthorized(endpoint, "Wrong User Or Password"),
        RequestError::UnaskedLoginRequired => {
            refused(Code::FORBIDDEN, "unauthorized", "Login Required")
        }
        RequestError::RegistryLimit(_) => {
            let (status, reason) = (Code::TOO_MANY_REQUESTS, "Registry Limits Requests");
            (status, None, "origin-status", reason)
        }
        RequestError::PeerRefused(_) => refused(Code::FORBIDDEN, "peer-refused", "Peer Refused"),
        RequestError::TooManyWrongLogins => refused(
            Code::TOO_MANY_REQUESTS,
            "wrong-logins",
            "Too Many Wrong Logins",
        ),
        RequestError::OverLimit(_) => {
            refused(Code::TOO_MANY_REQUESTS, "over-limit", "Client Over Limit")
        }
        RequestError::PrivateImage => refused(Code::NOT_FOUND, "private", "Private Image"),
        RequestError::NotFound(_) => (Code::NOT_FOUND, None, "unknown", "Not Found"),
        RequestError::LoopDetected(_) => {
            let loop_detected = Some("proxy_loop_detected");
            (Code::LOOP_DETECTED, loop_detected, "loop", "Loop Detected")
        }
        RequestError::Mismatch { .. } => {
            let reason = "Expected Digest Differs";
            (Code::CONFLICT, None, "digest-mismatch", reason)
        }
        RequestError::WrongFileType(fault) => wrong_file(*fault),
        RequestError::UnreadableIndex(_) => {
            let reason = "Unreadable Index From Origin";
            (
                Code::BAD_GATEWAY,
                PROTOCOL_ERROR,
                "unreadable-index",
                reason,
            )
        }
        RequestError::RegistryFault(_) => {
            let reason = "Invalid Answer From Registry";
            (Code::BAD_GATEWAY, PROTOCOL_ERROR, "origin-wrong", reason)
        }
        RequestError::SilentRegistry => {
            let (timeout, reason) = (Some("http_response_timeout"), "Registry Does Not Answer");
            (Code::GATEWAY_TIMEOUT, timeout, "origin-slow", reason)
        }
        RequestError::DeadlineExceeded => {
            let (timeout, reason) = (Some("http_response_timeout"), "Fetch Took Too Long");
            (Code::GATEWAY_TIMEOUT, timeout, "origin-slow", reason)
        }
        RequestError::OnlyIfCachedMiss => {
            let reason = "Target Not Stored";
            (Code::GATEWAY_TIMEOUT, None, "not-stored", reason)
        }
        RequestError::PiecesPending => {
            let reason = "Pieces Not Computed Yet";
            (Code::SERVICE_UNAVAILABLE, None, "pieces-pending", reason)
        }
        RequestError::Busy => {
            let busy = Some("connection_limit_reached");
            let reason = "Too Many Requests In Progress";
            (Code::SERVICE_UNAVAILABLE, busy, "busy", reason)
        }
        RequestError::Stopping => unavailable("stopping", "Gateway Is Stopping"),
        RequestError::Unavailable => unavailable("unavailable", "Cache Unavailable"),
    })
}

/// Words of a request that the client must correct. The status has a reason phrase of its own.
fn bad_request(status: StatusCode) -> Words {
    let reason = status.canonical_reason().unwrap_or("Bad Request");
    (status, REQUEST_ERROR, "bad-request", reason)
}

/// Words of a request that lacks a valid login.
fn unauthorized(endpoint: Endpoint, reason: &'static str) -> Words {
    let status = match endpoint {
        Endpoint::Gateway => StatusCode::UNAUTHORIZED,
        Endpoint::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    };
    refused(status, "unauthorized", reason)
}

fn wrong_file(fault: WrongFile) -> Words {
    let reason = match fault {
        WrongFile::Empty => "Empty File From Origin",
        WrongFile::OtherType => "Wrong File Type From Origin",
    };
    let status = StatusCode::BAD_GATEWAY;
    (status, PROTOCOL_ERROR, "wrong-file-type", reason)
}

/// Words of a request that Millpond refuses.
fn refused(status: StatusCode, detail: &'static str, reason: &'static str) -> Words {
    (status, REQUEST_DENIED, detail, reason)
}

fn unavailable(detail: &'static str, reason: &'static str) -> Words {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    (status, INTERNAL_ERROR, detail, reason)
}

fn status_of_prefixed_url(error: PrefixedUrlError) -> ErrorStatus {
    // A client with a list of mirrors tries the next one after a 404 only.
    let not_found = |reason| (StatusCode::NOT_FOUND, REQUEST_ERROR, "bad-target", reason);
    error_status(match error {
        PrefixedUrlError::Target(TargetError::TooLong) => {
            let (status, reason) = (StatusCode::URI_TOO_LONG, "URI Too Long");
            (status, REQUEST_ERROR, "bad-request", reason)
        }
        PrefixedUrlError::NoUrl => not_found("No URL In Path"),
        PrefixedUrlError::Parameter | PrefixedUrlError::Target(_) => not_found("Invalid URL"),
        PrefixedUrlError::Digest(_) | PrefixedUrlError::TooManyDigests => {
            not_found("Invalid Digest In Path")
        }
    })
}

fn status_of_denied(denied: &PolicyDenied) -> ErrorStatus {
    let address_denied = Some("destination_ip_prohibited");
    let (proxy_error, reason) = match denied {
        PolicyDenied::Address(_) => (address_denied, "Private Address Not Allowed"),
        PolicyDenied::TooLarge(_) => (Some("http_response_body_size"), "Body Too Large"),
        PolicyDenied::Client(_) => (REQUEST_DENIED, "Client Not Allowed"),
        PolicyDenied::DeniedHost(_) | PolicyDenied::UnlistedHost(_) => {
            (REQUEST_DENIED, "Host Not Allowed")
        }
        PolicyDenied::DeniedSuffix(_) | PolicyDenied::UnlistedSuffix => {
            (REQUEST_DENIED, "File Suffix Not Allowed")
        }
        PolicyDenied::Port(..) | PolicyDenied::ConnectPort(_) => {
            (REQUEST_DENIED, "Port Not Allowed")
        }
        PolicyDenied::ContentType(_) => (REQUEST_DENIED, "Content Type Not Allowed"),
        PolicyDenied::YoungTag(_) => (REQUEST_DENIED, "Tag Too Young"),
        PolicyDenied::TooYoung(_) => (REQUEST_DENIED, "File Too Young"),
        PolicyDenied::Downgrade => (REQUEST_DENIED, "Redirect Away From HTTPS"),
        PolicyDenied::Repository => (REQUEST_DENIED, "Repository Not Allowed"),
        PolicyDenied::Digest(_) => (REQUEST_DENIED, "Digest Not Allowed"),
        PolicyDenied::PrivateTarget => (REQUEST_DENIED, "Private Content"),
        PolicyDenied::FtpFile(_) => (REQUEST_DENIED, "Unsupported FTP URL"),
    };
    error_status((StatusCode::FORBIDDEN, proxy_error, "refused", reason))
}

fn status_of_origin_error(error: &OriginError, endpoint: Endpoint) -> ErrorStatus {
    let (status, detail) = match error {
        OriginError::Denied(denied) => return status_of_denied(denied),
        OriginError::CircuitOpen { last, .. } => {
            return ErrorStatus {
                reason: "Origin Paused After Failures",
                ..status_of_origin_error(last, endpoint)
            };
        }
        OriginError::Status { status, .. } => return translate_status(*status, endpoint),
        error if error.failure_kind() == Some(FailureKind::RequestLoop) => {
            (StatusCode::LOOP_DETECTED, "loop")
        }
        OriginError::Unreachable(_) => (StatusCode::GATEWAY_TIMEOUT, "origin-silent"),
        OriginError::InvalidRequest(_)
        | OriginError::InvalidResponse(_)
        | OriginError::TlsFailure(_) => (StatusCode::BAD_GATEWAY, "origin-wrong"),
    };
    let (proxy_error, reason) = error.failure_kind().map_or(
        (PROTOCOL_ERROR, "Invalid Response From Origin"),
        words_of_failure,
    );
    error_status((status, proxy_error, detail, reason))
}

/// Returns the error type of `Proxy-Status` and the reason phrase of a failure.
fn words_of_failure(kind: FailureKind) -> (Option<&'static str>, &'static str) {
    let (error, reason) = match kind {
        FailureKind::NameUnresolved => ("dns_error", "Origin Name Not Found"),
        FailureKind::NameTimeout => ("dns_timeout", "Origin Name Look-Up Timed Out"),
        FailureKind::ConnectionRefused => ("connection_refused", "Origin Refused Connection"),
        FailureKind::ConnectionFailed => ("destination_ip_unroutable", "Origin Unreachable"),
        FailureKind::ConnectTimeout => ("connection_timeout", "Origin Connection Timed Out"),
        FailureKind::ConnectionClosed => ("connection_terminated", "Origin Closed Connection"),
        FailureKind::OriginBusy => ("destination_unavailable", "Origin Busy"),
        FailureKind::ResponseTimeout => ("http_response_timeout", "Origin Response Timed Out"),
        FailureKind::BodyTimeout => ("connection_read_timeout", "Origin Stopped Sending"),
        FailureKind::BodyIncomplete => ("http_response_incomplete", "Origin Body Incomplete"),
        FailureKind::HeadTooLong => ("http_response_header_section_size", "Origin Head Too Long"),
        FailureKind::TransferCoding => (
            "http_response_transfer_coding",
            "Unsupported Transfer Coding From Origin",
        ),
        FailureKind::ContentCoding => (
            "http_response_content_coding",
            "Unsupported Content Coding From Origin",
        ),
        FailureKind::ProtocolSwitch => ("http_upgrade_failed", "Origin Switched Protocol"),
        FailureKind::RequestLoop => ("proxy_loop_detected", "Loop Detected"),
        FailureKind::InvalidResponse => ("http_protocol_error", "Invalid Response From Origin"),
        FailureKind::TlsCertificate => ("tls_certificate_error", "Origin Certificate Invalid"),
        FailureKind::TlsAlert => ("tls_alert_received", "Origin Refused TLS Handshake"),
        FailureKind::TlsProtocol => ("tls_protocol_error", "Origin TLS Handshake Failed"),
        FailureKind::InvalidRequest => ("http_request_error", "Request Cannot Be Sent"),
    };
    (Some(error), reason)
}

/// Returns the status that a client gets for an error status of the origin.
fn translate_status(status: u16, endpoint: Endpoint) -> ErrorStatus {
    let (status, reason) = match (status, endpoint) {
        (404, _) => (StatusCode::NOT_FOUND, "Not Found At Origin"),
        (410, _) => (StatusCode::GONE, "Gone At Origin"),
        (status @ 400..=599, Endpoint::Proxy) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, status.canonical_reason().unwrap_or("Origin Error"))
        }
        (429, _) => (StatusCode::BAD_GATEWAY, "Origin Limits Requests"),
        (401 | 403, _) => (StatusCode::BAD_GATEWAY, "Origin Denied Request"),
        (500..=599, _) => (StatusCode::BAD_GATEWAY, "Origin Server Error"),
        _ => (StatusCode::BAD_GATEWAY, "Origin Error"),
    };
    error_status((status, None, "origin-status", reason))
}
