//! Jobs of operators: lists of targets that are fetched, refreshed, evicted, scrubbed or copied
//! between the disk, the bucket and other nodes, in the background.
//!
//! A job is kept in a folder of its own below `state_dir`. It survives a restart and a kill, and
//! goes on where it was. All work goes through the operator service, the scrub or the migration.
//! This module knows no HTTP server, no cache and no fetch. Its main type is [`Jobs`].

mod copy_outcome;
mod error;
mod job;
mod job_folder;
mod node_work;
mod progress;
mod run;
mod service;
mod unit;
mod work;

pub use error::JobError;
pub use job::{
    InvalidJobId, JobDestination, JobId, JobKind, JobOrder, JobSpec, JobView, MAX_CONCURRENCY,
    MAX_TARGETS,
};
pub use node_work::NodeCopiers;
pub use progress::{JobFailure, JobState, Progress};
pub use service::Jobs;
pub use work::Worker;

pub use crate::migrate::{InvalidShare, KeyShare, NodeSelection, ReceivingNode};
pub use crate::registry::Platform;
pub use crate::scrub::ScrubRound;
