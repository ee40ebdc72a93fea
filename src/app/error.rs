//! The error of a service that cannot start.

/// Error returned when the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is invalid. The line names the key.
    #[error("{0}")]
    Configuration(String),
    /// The system refused a resource, such as a port or a thread.
    #[error("{0}")]
    System(String),
}
