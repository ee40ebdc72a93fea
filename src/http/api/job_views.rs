//! Jobs as the API shows them.
//!
//! This file starts and changes no job. Its main type is [`JobSummary`].

use serde::Serialize;
use utoipa::ToSchema;

use super::values::Moment;
use crate::jobs::{JobKind, JobState, JobView};

/// All jobs.
#[derive(Serialize, ToSchema)]
pub struct JobList {
    /// The newest first.
    pub jobs: Vec<JobSummary>,
}

/// A job, without its failures.
#[derive(Serialize, ToSchema)]
pub struct JobSummary {
    /// 16 hexadecimal digits.
    id: String,
    #[schema(value_type = JobKindName)]
    kind: JobKind,
    #[schema(value_type = JobStateName)]
    state: JobState,
    created: Moment,
    ended: Option<Moment>,
    /// Targets that the job works on at the same time.
    concurrency: usize,
    /// Number of targets.
    targets: usize,
    /// Targets that are done, failures included.
    done: usize,
    /// Targets for which nothing had to be done.
    unchanged: usize,
    failed: usize,
    /// Bytes that were fetched or freed.
    bytes: u64,
}

/// A job with its failures.
#[derive(Serialize, ToSchema)]
pub struct JobDetails {
    #[serde(flatten)]
    job: JobSummary,
    /// The first failures, in the order in which they happened.
    failures: Vec<FailedTarget>,
}

/// Target of a job that failed.
#[derive(Serialize, ToSchema)]
pub struct FailedTarget {
    /// URL without its secrets. Empty for a failure of the job itself.
    url: String,
    error: String,
}

/// Work on each target of a job.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes the values of `JobKind`")]
pub enum JobKindName {
    /// Targets that are not stored are fetched.
    Fetch,
    /// Targets are fetched again. Changed bytes are stored beside those that answer.
    Refresh,
    /// Objects are evicted. Their records stay.
    Evict,
}

/// State of a job.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes the values of `JobState`")]
pub enum JobStateName {
    Pending,
    Running,
    Succeeded,
    /// Each target was tried, and at least one failed.
    Failed,
    Cancelled,
}

impl From<&JobView> for JobSummary {
    fn from(job: &JobView) -> Self {
        let counts = &job.counts;
        Self {
            id: job.id.to_string(),
            kind: job.kind,
            state: job.state,
            created: job.created_at.into(),
            ended: job.ended_at.map(Into::into),
            concurrency: job.concurrency,
            targets: counts.targets,
            done: counts.done,
            unchanged: counts.unchanged,
            failed: counts.failed,
            bytes: counts.bytes,
        }
    }
}

impl From<&JobView> for JobDetails {
    fn from(job: &JobView) -> Self {
        let failures = job.failures.iter();
        Self {
            job: job.into(),
            failures: failures
                .map(|failure| FailedTarget {
                    url: failure.url.clone(),
                    error: failure.error.clone(),
                })
                .collect(),
        }
    }
}
