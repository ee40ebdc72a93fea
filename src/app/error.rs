//! The error of a service that cannot start.

use crate::model::ConfigError;
use crate::services::ServicesError;

/// Error returned when the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is invalid.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// The configuration is invalid, or the cache folder cannot be used.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The system refused a resource, such as a port or a thread.
    #[error("{0}")]
    System(String),
}
