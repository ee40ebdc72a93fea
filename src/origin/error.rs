//! Errors of requests to origins, by what the caller can do about them.

use std::sync::Arc;
use std::time::Duration;

use super::fault::{ConnectionFault, ProtocolFault, RequestFault, TimeoutPhase, TlsFault};
use crate::dial::DialError;
use crate::policy::PolicyDenied;

/// Error returned when an origin gave no body.
///
/// The variants differ in what the caller can do. No text contains a URL, which may be a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OriginError {
    /// Policy denies the target or the target of a redirect. A retry gives the same result.
    #[error(transparent)]
    Denied(#[from] PolicyDenied),
    /// The origin's final status, without a body that can be used.
    #[error("the origin answered {status}")]
    Status {
        status: u16,
        retry_after: Option<Duration>,
        /// Challenges of a 401 of the target's own host, one a line (RFC 9110, section 11.6.1).
        challenge: Option<Arc<str>>,
    },
    /// The origin did not answer, or not completely. Retry the same source.
    #[error(transparent)]
    Unreachable(#[from] ConnectionFault),
    /// The origin answered, but the response is unusable. Try the next source.
    #[error(transparent)]
    InvalidResponse(#[from] ProtocolFault),
    /// Millpond cannot send the request, whichever the source. Give up.
    #[error(transparent)]
    InvalidRequest(#[from] RequestFault),
    /// The TLS handshake failed. Millpond never falls back to plaintext. Try the next source.
    #[error("TLS with the origin failed: {0}")]
    TlsFailure(TlsFault),
    /// The origin failed so often that Millpond sends it no request for `wait`. Try the next
    /// source.
    #[error("{last}; requests to the origin are paused")]
    CircuitOpen {
        last: Box<OriginError>,
        wait: Duration,
    },
}

/// Error returned when a chain of redirects has no final response.
#[derive(Debug)]
pub struct RequestFailed {
    pub error: OriginError,
    /// Whether the failure is behind a redirect: the target's own host answered.
    pub is_redirected: bool,
}

impl From<RequestFailed> for OriginError {
    fn from(failed: RequestFailed) -> Self {
        failed.error
    }
}

impl From<DialError> for OriginError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Forbidden(host) => PolicyDenied::Address(host).into(),
            error => ConnectionFault::Dial(error).into(),
        }
    }
}

impl OriginError {
    /// Returns whether another attempt at the same source may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Denied(_)
            | Self::InvalidResponse(_)
            | Self::InvalidRequest(_)
            | Self::TlsFailure(_)
            | Self::CircuitOpen { .. } => false,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Unreachable(_) => true,
        }
    }

    /// Returns the time to wait before the next request to this origin, if it is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::CircuitOpen { wait, .. } => Some(*wait),
            _ => None,
        }
    }

    /// Returns whether the origin is away. It is silent, fails, or asks to come back later. A 404
    /// is its answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TlsFailure(_)
            | Self::InvalidResponse(_)
            | Self::CircuitOpen { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Denied(_) | Self::InvalidRequest(_) => false,
        }
    }

    /// Returns whether the host name has no address.
    #[must_use]
    pub fn is_unknown_host(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(ConnectionFault::Dial(DialError::Unresolved(_)))
        )
    }

    /// Returns whether this process lacked a resource, so that the error says nothing about the
    /// host.
    #[must_use]
    pub fn is_own_shortage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(ConnectionFault::Dial(DialError::Shortage(..)))
        )
    }

    /// Returns the fault of the host, or `None` if only the request for this target failed.
    #[must_use]
    pub fn host_fault(&self) -> Option<HostFault> {
        match self {
            _ if self.is_own_shortage() => None,
            Self::TlsFailure(_)
            | Self::Unreachable(
                ConnectionFault::Dial(_)
                | ConnectionFault::Connect(_)
                | ConnectionFault::Timeout(TimeoutPhase::Connect),
            ) => Some(HostFault::Connect),
            Self::Unreachable(
                ConnectionFault::Timeout(TimeoutPhase::Response) | ConnectionFault::Closed(_),
            ) => Some(HostFault::Silence),
            Self::Unreachable(_)
            | Self::Status { .. }
            | Self::Denied(_)
            | Self::InvalidResponse(_)
            | Self::InvalidRequest(_)
            | Self::CircuitOpen { .. } => None,
        }
    }
}

/// Fault of a host, before it has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFault {
    /// No connection was opened: lookup, TCP or TLS failed.
    Connect,
    /// The host did not answer the request.
    Silence,
}
