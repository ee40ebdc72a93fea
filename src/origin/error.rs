use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use crate::dial::DialError;
use crate::policy::PolicyDenied;

/// Why an origin gave no body, named by what can be done about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OriginError {
    /// Policy forbids it, there or behind a redirect. Asking again does not help.
    #[error(transparent)]
    Denied(#[from] PolicyDenied),
    /// The origin's own final status.
    #[error("the origin answered {status}")]
    Status {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// It did not answer, or broke off. It may do better next time.
    #[error("{0}")]
    Unreachable(String),
    /// It answered, but with something that is no answer. It will not do better next time.
    #[error("{0}")]
    InvalidResponse(String),
    /// It cannot be spoken to in a way that can be trusted. It is not spoken to in any other.
    #[error("TLS with the origin failed: {0}")]
    TlsFailure(String),
    /// It has failed lately so often that it is left alone for a while.
    #[error("{last}; it is asked again in a while")]
    CircuitOpen {
        last: Box<OriginError>,
        wait: Duration,
    },
}

/// A chain of hops without a final answer.
#[derive(Debug)]
pub struct RequestFailed {
    pub error: OriginError,
    /// The target's own host has answered, and the one that it redirects to has not.
    pub is_redirected: bool,
}

impl From<RequestFailed> for OriginError {
    fn from(failed: RequestFailed) -> Self {
        failed.error
    }
}

impl OriginError {
    /// Whether another attempt can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Denied(_)
            | Self::InvalidResponse(_)
            | Self::TlsFailure(_)
            | Self::CircuitOpen { .. } => false,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Unreachable(_) => true,
        }
    }

    /// How long the origin wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::CircuitOpen { wait, .. } => Some(*wait),
            _ => None,
        }
    }

    /// Whether it says that something is wrong with the host, and not only with what was asked for.
    #[must_use]
    pub fn counts_against_host(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TlsFailure(_) => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Denied(_) | Self::InvalidResponse(_) | Self::CircuitOpen { .. } => false,
        }
    }

    /// Reads an error of the HTTP client. No URL is in the text: it may be a signed one.
    pub(super) fn of_client(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
        let mut innermost = String::new();
        while let Some(found) = cause {
            if let Some(dial) = found.downcast_ref::<DialError>() {
                return dial.clone().into();
            }
            if let Some(tls) = tls_error(found) {
                return Self::TlsFailure(tls.to_string());
            }
            if found
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_parse)
            {
                return Self::InvalidResponse(format!("the origin's answer is no HTTP: {found}"));
            }
            innermost = found.to_string();
            cause = found.source();
        }
        if error.is_timeout() {
            Self::Unreachable("the origin did not answer in time".to_owned())
        } else if error.is_connect() {
            Self::Unreachable(format!("the origin cannot be reached: {innermost}"))
        } else {
            Self::Unreachable(format!("the origin broke off: {innermost}"))
        }
    }
}

/// The TLS library's errors, a certificate that is not trusted among them, come inside I/O errors,
/// which hide what they hold from a walk along the sources.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    loop {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        inner = inner.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

impl From<DialError> for OriginError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Forbidden(host) => Self::Denied(PolicyDenied::Address(host)),
            DialError::Unresolved(_) | DialError::Unreachable(_) | DialError::Timeout(_) => {
                Self::Unreachable(error.to_string())
            }
        }
    }
}
