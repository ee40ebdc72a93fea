//! Error types of `Proxy-Status` for failures of origins (RFC 9209, section 2.3).
//!
//! This file must not know clients or statuses. It extends [`OriginError`].

use super::error::OriginError;
use super::fault::{ConnectionFault, ProtocolFault, TimeoutPhase, TlsFault};
use crate::dial::DialError;

impl OriginError {
    /// Returns the error type of `Proxy-Status`. `None` if the origin answered with an error
    /// status, or if policy denies the target.
    #[must_use]
    pub fn proxy_error(&self) -> Option<&'static str> {
        match self {
            Self::Denied(_) | Self::Status { .. } => None,
            Self::Unreachable(fault) => Some(of_connection(fault)),
            Self::InvalidResponse(fault) => Some(of_response(fault)),
            Self::InvalidRequest(_) => Some("http_request_error"),
            Self::TlsFailure(fault) => Some(of_tls(fault)),
            Self::CircuitOpen { last, .. } => last.proxy_error(),
        }
    }
}

fn of_connection(fault: &ConnectionFault) -> &'static str {
    match fault {
        ConnectionFault::Dial(DialError::Unresolved(_)) => "dns_error",
        ConnectionFault::Dial(DialError::Timeout(_))
        | ConnectionFault::Timeout(TimeoutPhase::Connect) => "connection_timeout",
        ConnectionFault::Dial(DialError::Forbidden(_)) => "destination_ip_prohibited",
        ConnectionFault::Dial(DialError::Refused(_)) | ConnectionFault::Refused => {
            "connection_refused"
        }
        ConnectionFault::Dial(DialError::Unreachable(_)) | ConnectionFault::Connect(_) => {
            "destination_unavailable"
        }
        ConnectionFault::Timeout(TimeoutPhase::Response) | ConnectionFault::TooSlow => {
            "http_response_timeout"
        }
        ConnectionFault::Timeout(TimeoutPhase::Body) => "connection_read_timeout",
        ConnectionFault::Closed(_) => "connection_terminated",
        ConnectionFault::NoFreeConnection => "connection_limit_reached",
        ConnectionFault::Truncated
        | ConnectionFault::ResumeFailed
        | ConnectionFault::FileChanged
        | ConnectionFault::NotReady
        | ConnectionFault::TransientReply(_) => "http_response_incomplete",
    }
}

fn of_response(fault: &ProtocolFault) -> &'static str {
    match fault {
        ProtocolFault::TransferEncoding(_) => "http_response_transfer_coding",
        ProtocolFault::ContentEncoding(_) => "http_response_content_coding",
        ProtocolFault::ProtocolSwitch => "http_upgrade_failed",
        _ => "http_protocol_error",
    }
}

fn of_tls(fault: &TlsFault) -> &'static str {
    match fault {
        TlsFault::Http(rustls::Error::InvalidCertificate(_)) => "tls_certificate_error",
        TlsFault::Http(rustls::Error::AlertReceived(_)) => "tls_alert_received",
        TlsFault::Http(_) | TlsFault::Ftp(_) => "tls_protocol_error",
    }
}
