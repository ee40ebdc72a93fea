//! Reasons why the index cannot be used. The main type is [`SharedIndexError`].

use std::time::Duration;

use redis::{ErrorKind, RedisError};

use crate::dial::DialError;

/// Bound on the code of an error of Redis, in characters.
const MAX_CODE_LENGTH: usize = 24;

/// Error returned when Redis does not answer a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedIndexError {
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    #[error("Redis has not answered within {0:?}")]
    Timeout(Duration),
    /// Another password or user is needed.
    #[error("Redis refuses the login of cluster.redis_url")]
    Login,
    /// Redis has refused a command with this code.
    #[error("Redis refuses a command: {0}")]
    Refused(String),
    #[error("Redis has closed the connection")]
    Closed,
    /// The response is longer than any that Millpond asks for, or is none of Redis.
    #[error("the server of cluster.redis_url does not answer as Redis does")]
    Malformed,
}

impl SharedIndexError {
    /// Returns the reason without an address.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Redis cannot be reached",
            Self::Timeout(_) => "Redis does not answer in time",
            Self::Login => "Redis refuses the login",
            Self::Refused(_) => "Redis refuses a command",
            Self::Closed => "Redis has closed the connection",
            Self::Malformed => "its server does not answer as Redis does",
        }
    }
}

impl From<DialError> for SharedIndexError {
    fn from(error: DialError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<RedisError> for SharedIndexError {
    fn from(error: RedisError) -> Self {
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => Self::Login,
            (_, Some(code)) => Self::Refused(shown_code(code)),
            (ErrorKind::Io, _) => Self::Closed,
            _ => Self::Malformed,
        }
    }
}

/// Returns the code of an error without characters that have an effect in a log.
fn shown_code(code: &str) -> String {
    let letters = code.chars().filter(char::is_ascii_alphanumeric);
    letters.take(MAX_CODE_LENGTH).collect()
}
