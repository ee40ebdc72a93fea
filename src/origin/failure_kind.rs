//! Kinds of failures of origins, for messages that have words from a closed list.
//!
//! The main type is [`FailureKind`]. It knows no status and no text.

use super::error::OriginError;
use super::fault::{ConnectionFault, ProtocolFault, TimeoutPhase, TlsFault};
use super::head_reader::HeadFault;
use crate::dial::DialError;

/// Kind of a failure, as fine as RFC 9209, section 2.3 distinguishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    NameUnresolved,
    NameTimeout,
    ConnectionRefused,
    ConnectionFailed,
    ConnectTimeout,
    /// The connection ended before the head of the response.
    ConnectionClosed,
    /// No permit for a connection became free, or the origin asked Millpond to wait.
    OriginBusy,
    ResponseTimeout,
    /// The body stopped, or came too slowly.
    BodyTimeout,
    BodyIncomplete,
    HeadTooLong,
    TransferCoding,
    ContentCoding,
    ProtocolSwitch,
    RequestLoop,
    /// The response is invalid, or is not the requested one.
    InvalidResponse,
    TlsCertificate,
    TlsAlert,
    TlsProtocol,
    /// Millpond could not send the request.
    InvalidRequest,
}

impl FailureKind {
    pub(super) fn of_connection(fault: &ConnectionFault) -> Self {
        match fault {
            ConnectionFault::Dial(DialError::Unresolved(_) | DialError::LookupFailed(..)) => {
                Self::NameUnresolved
            }
            ConnectionFault::Dial(DialError::LookupTimeout(_)) => Self::NameTimeout,
            ConnectionFault::Dial(DialError::Refused(_)) => Self::ConnectionRefused,
            ConnectionFault::Dial(DialError::Timeout(_))
            | ConnectionFault::Timeout(TimeoutPhase::Connect) => Self::ConnectTimeout,
            ConnectionFault::Dial(
                DialError::Unreachable(_) | DialError::Forbidden(_) | DialError::Shortage(..),
            )
            | ConnectionFault::Connect(_) => Self::ConnectionFailed,
            ConnectionFault::Timeout(TimeoutPhase::Response) => Self::ResponseTimeout,
            ConnectionFault::Timeout(TimeoutPhase::Body) | ConnectionFault::TooSlow => {
                Self::BodyTimeout
            }
            ConnectionFault::Closed(_) => Self::ConnectionClosed,
            ConnectionFault::Truncated
            | ConnectionFault::ResumeFailed
            | ConnectionFault::FileChanged => Self::BodyIncomplete,
            ConnectionFault::NotReady
            | ConnectionFault::TransientReply(_)
            | ConnectionFault::NoFreeConnection
            | ConnectionFault::PeerDrains => Self::OriginBusy,
        }
    }

    pub(super) fn of_response(fault: &ProtocolFault) -> Self {
        match fault {
            ProtocolFault::Head(HeadFault::TooLong) => Self::HeadTooLong,
            ProtocolFault::TransferEncoding(_) => Self::TransferCoding,
            ProtocolFault::ContentEncoding(_) => Self::ContentCoding,
            ProtocolFault::ProtocolSwitch => Self::ProtocolSwitch,
            ProtocolFault::RequestLoop => Self::RequestLoop,
            ProtocolFault::NoTls => Self::TlsProtocol,
            _ => Self::InvalidResponse,
        }
    }

    pub(super) fn of_tls(fault: &TlsFault) -> Self {
        match fault {
            TlsFault::Http(rustls::Error::InvalidCertificate(_)) => Self::TlsCertificate,
            TlsFault::Http(rustls::Error::AlertReceived(_)) => Self::TlsAlert,
            TlsFault::Http(_) | TlsFault::Cut | TlsFault::Ftp(_) => Self::TlsProtocol,
        }
    }
}

impl OriginError {
    /// Returns the kind of the failure. `None` if policy denied the request, or if the origin
    /// answered with a status.
    #[must_use]
    pub fn failure_kind(&self) -> Option<FailureKind> {
        match self {
            Self::Denied(_) | Self::Status { .. } => None,
            Self::Unreachable(fault) => Some(FailureKind::of_connection(fault)),
            Self::InvalidResponse(fault) => Some(FailureKind::of_response(fault)),
            Self::InvalidRequest(_) => Some(FailureKind::InvalidRequest),
            Self::TlsFailure(fault) => Some(FailureKind::of_tls(fault)),
            Self::CircuitOpen { last, .. } => last.failure_kind(),
        }
    }
}
