//! Errors of loading a configuration. The main type is [`ConfigLoadError`].

use std::path::PathBuf;

use crate::model::ConfigError;

/// Error returned when the configuration cannot be loaded: one line with the key, and the file and
/// the line number if known.
#[derive(Debug, thiserror::Error)]
pub enum ConfigLoadError {
    #[error("cannot read the configuration {}: {error}", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    /// Invalid line of a file.
    #[error("{}:{line}: {error}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        error: ConfigError,
    },
    /// Invalid value, or values that contradict each other. For a value from a variable or a flag,
    /// the key is the name of the variable or `--set` with the key.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

impl ConfigLoadError {
    /// Returns the key, the variable or the flag. `None` if the file cannot be read.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Line { error, .. } | Self::Invalid(error) => Some(&error.key),
        }
    }

    /// Returns the line number in the file, if it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Line { line, .. } => Some(*line),
            Self::Unreadable { .. } | Self::Invalid(_) => None,
        }
    }
}
