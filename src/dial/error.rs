//! Errors of lookups and connections. The main type is [`DialError`]. It knows no protocol.

use std::io;

use rustix::io::Errno;

/// Error returned when a connection cannot be opened. Each variant contains the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Policy allows none of the host's addresses.
    #[error("the address of {0} is private or reserved (policy.allow_networks)")]
    Forbidden(String),
    #[error("host name {0} has no address")]
    Unresolved(String),
    #[error("the lookup of host name {0} timed out")]
    LookupTimeout(String),
    /// The name servers sent no usable response.
    #[error("host name {0} could not be looked up, because {1}")]
    LookupFailed(String, LookupError),
    /// Nothing listens on the port of the host.
    #[error("{0} refused the connection")]
    Refused(String),
    #[error("cannot connect to {0}")]
    Unreachable(String),
    #[error("connection to {0} timed out")]
    Timeout(String),
    /// Millpond itself lacks a resource. It says nothing about the host.
    #[error("cannot connect to {0} now, because {1}")]
    Shortage(String, OwnShortage),
}

/// Resource that this process lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OwnShortage {
    /// Newer lookups needed the place of this one. Its client had more than any other.
    #[error("too many lookups wait for a response")]
    Lookups,
    #[error("no thread for a lookup can be started")]
    Threads,
    #[error("too many files or sockets are open")]
    Descriptors,
}

/// Reason why a lookup has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name does not exist, or has no address of the family.
    #[error("it has no address")]
    NoAddress,
    #[error("no name server answered in time")]
    Timeout,
    /// The name server's own text, such as a response code.
    #[error("the name server failed: {0}")]
    Failed(String),
    #[error(transparent)]
    Shortage(#[from] OwnShortage),
}

impl OwnShortage {
    /// Returns the shortage that a system call has reported, if it is one.
    pub(super) fn of_io(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Some(Self::Descriptors),
            _ => None,
        }
    }
}

impl DialError {
    /// Returns the error of a lookup of `host`.
    pub(super) fn from_lookup(host: &str, error: LookupError) -> Self {
        match error {
            LookupError::NoAddress => Self::Unresolved(host.to_owned()),
            LookupError::Timeout => Self::LookupTimeout(host.to_owned()),
            LookupError::Shortage(shortage) => Self::Shortage(host.to_owned(), shortage),
            error @ LookupError::Failed(_) => Self::LookupFailed(host.to_owned(), error),
        }
    }
}
