//! Errors of jobs.

use std::io;

/// Error returned when a job cannot be created or found.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The client must correct the order.
    #[error("{0}")]
    Invalid(String),
    #[error("there is no such job")]
    NotFound,
    /// The client may retry once other jobs have ended.
    #[error("too many jobs have not ended")]
    TooManyJobs,
    /// The operator must make the folder writable.
    #[error("the folder of jobs in gateway.state_dir cannot be used: {0}")]
    Folder(#[from] io::Error),
    #[error("the gateway is stopping")]
    Stopping,
}
