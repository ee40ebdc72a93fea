use std::fmt;
use std::path::Path;

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

/// Checks that the path of a folder is not empty and not only spaces.
///
/// # Errors
/// [`ConfigError`] for `key`.
pub fn check_folder(key: &str, folder: &Path) -> Result<(), ConfigError> {
    if folder.to_string_lossy().trim().is_empty() {
        let reason = "must be a folder, such as \"/var/lib/millpond\"";
        return Err(ConfigError::new(key, reason));
    }
    Ok(())
}
