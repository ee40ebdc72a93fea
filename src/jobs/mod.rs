//! Jobs of operators: lists of targets that are fetched, refreshed or evicted in the background.
//!
//! A job is kept in a folder of its own below `state_dir`. It survives a restart and a kill, and
//! goes on where it was. This module knows no HTTP server. Its main type is [`Jobs`].

mod error;
mod job;
mod job_folder;
mod progress;
mod run;
mod service;
mod work;

pub use error::JobError;
pub use job::{
    JobCounts, JobFailure, JobId, JobKind, JobOrder, JobState, JobView, MAX_CONCURRENCY,
    MAX_TARGETS,
};
pub use service::Jobs;
pub use work::Worker;
