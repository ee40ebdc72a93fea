use std::fmt;

use super::sanitize::sanitize_line;

/// Error returned for an invalid configuration value. Its text is one line, `key: reason`, without
/// control characters of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", sanitize_line(.key), sanitize_line(.reason))]
pub struct ConfigError {
    /// Configuration key, such as `cache.max_size`, or the name of a section or a file.
    pub key: String,
    /// Why the value is invalid, and what to write instead. Contains no secret.
    pub reason: String,
}

impl ConfigError {
    #[must_use]
    pub fn new(key: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            key: key.into(),
            reason: reason.to_string(),
        }
    }
}
