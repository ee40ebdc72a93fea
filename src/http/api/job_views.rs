//! Jobs as the API shows them.
//!
//! This file starts and changes no job. Its main type is [`JobSummary`].

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::list_part::part_of;
use super::query::Query;
use super::values::Moment;
use crate::gateway::RequestError;
use crate::jobs::{JobDestination, JobKind, JobState, JobView, NodeSelection, ReceivingNode};

/// Bound on the jobs of one page.
const MAX_PAGE_LENGTH: usize = 1000;

/// One page of the list of jobs.
#[derive(Serialize, ToSchema)]
pub struct JobList {
    pub jobs: Vec<JobSummary>,
    /// Number of all jobs that meet the filters.
    pub total: usize,
    /// Value of `after` for the next page. Null on the last page.
    pub next: Option<String>,
}

/// Order of the list of jobs. A minus sign means descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub enum JobSort {
    #[serde(rename = "created")]
    Created,
    #[serde(rename = "-created")]
    CreatedDescending,
}

/// Filter, order and part of the list of jobs.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// Only jobs of this kind
    #[param(value_type = Option<JobKindName>)]
    kind: Option<JobKind>,
    /// Only jobs in this state
    #[param(value_type = Option<JobStateName>)]
    state: Option<JobState>,
    /// Only jobs that were created before this number of seconds
    #[param(rename = "older_than", value_type = Option<u64>, maximum = 3_155_760_000_u64)]
    created_before: Option<SystemTime>,
    /// Only jobs that were created within this number of seconds
    #[param(rename = "newer_than", value_type = Option<u64>, maximum = 3_155_760_000_u64)]
    created_since: Option<SystemTime>,
    /// Order, which is `-created` unless it is stated
    sort: Option<JobSort>,
    /// Only jobs behind this one, which is `next` of the page before
    #[param(pattern = "^[0-9a-f]{16}$")]
    after: Option<String>,
    /// Number of jobs on a page
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000)]
    limit: usize,
}

/// A job, without its failures.
#[derive(Serialize, ToSchema)]
pub struct JobSummary {
    /// 16 hexadecimal digits.
    id: String,
    #[schema(value_type = JobKindName)]
    kind: JobKind,
    /// Destination of a job of kind `migrate`.
    #[schema(value_type = Option<DestinationName>)]
    to: Option<JobDestination>,
    /// Node that a job of kind `migrate` copies from. Null: the other tier.
    #[schema(value_type = Option<NodeOrder>)]
    from: Option<NodeSelection>,
    /// Node that copies in a job of kind `migrate` to `node`, and the targets.
    #[schema(value_type = Option<ReceiverOrder>)]
    node: Option<ReceivingNode>,
    #[schema(value_type = JobStateName)]
    state: JobState,
    created: Moment,
    ended: Option<Moment>,
    /// Targets that the job works on at the same time.
    concurrency: usize,
    /// Number of targets, or of parts in a job that works on all stored files.
    targets: usize,
    /// Targets that are done, failures included.
    done: usize,
    /// Targets for which nothing had to be done.
    unchanged: usize,
    /// Targets that were stored although the directives of their origins forbid it.
    despite_directives: usize,
    failed: usize,
    /// Bytes that were fetched, freed, read or copied.
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
    /// Objects are read, and corrupt ones are repaired. Without targets, all objects are read.
    Scrub,
    /// Records and objects are copied to the disk or to the bucket. Without targets, all are.
    /// Copies to the disk come from the bucket, or from another node. Other nodes copy, too.
    Migrate,
}

/// Destination of a job of kind `migrate`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes the values of `JobDestination`")]
pub enum DestinationName {
    /// The disk gets all that it lacks from the bucket or from another node. It evicts nothing
    /// for that.
    Disk,
    /// The bucket gets all that it lacks from the disk.
    Bucket,
    /// The next owner of each target, among the other nodes that are ready, gets what it lacks.
    Owners,
    /// One named node gets what it lacks. It evicts nothing for that.
    Node,
}

/// Node that copies targets of this one, and the targets.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `ReceivingNode`")]
pub struct ReceiverOrder {
    /// URL of the node, as in `cluster.peers`.
    peer: String,
    /// Only targets of these hosts. Empty or absent: all.
    hosts: Option<Vec<String>>,
    /// Only this share of all targets, such as `1/4`. There are at most 256.
    #[schema(pattern = "^[1-9][0-9]{0,2}/[1-9][0-9]{0,2}$")]
    share: Option<String>,
}

/// Node that a job copies from, and the targets there.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `NodeSelection`")]
pub struct NodeOrder {
    /// URL of the node, as in `cluster.peers`.
    peer: String,
    /// Only targets of these hosts. Empty or absent: all.
    hosts: Option<Vec<String>>,
    /// Only targets that this node owns.
    owned: Option<bool>,
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

impl JobQuery {
    /// Takes all parameters of a query.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if one has no valid value, or is none of these.
    pub fn take(mut query: Query<'_>) -> Result<Self, RequestError> {
        let now = SystemTime::now();
        let wanted = Self {
            kind: query.choice("kind")?,
            state: query.choice("state")?,
            created_before: query.time_before("older_than", now)?,
            created_since: query.time_before("newer_than", now)?,
            sort: query.choice("sort")?,
            after: query.text("after")?,
            limit: query.limit(MAX_PAGE_LENGTH)?,
        };
        query.finish()?;
        Ok(wanted)
    }

    /// Returns the page of these jobs, of which the newest is first.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] if `after` is none of them.
    pub fn page(&self, mut jobs: Vec<JobView>) -> Result<JobList, RequestError> {
        jobs.retain(|job| self.accepts(job));
        if self.sort == Some(JobSort::Created) {
            jobs.reverse();
        }
        let part = part_of(jobs, self.after.as_deref(), self.limit, |job| {
            job.id.as_str()
        })?;
        Ok(JobList {
            jobs: part.entries.iter().map(Into::into).collect(),
            total: part.total,
            next: part.next,
        })
    }

    fn accepts(&self, job: &JobView) -> bool {
        self.kind.is_none_or(|kind| kind == job.spec.kind)
            && self.state.is_none_or(|state| state == job.progress.state)
            && self
                .created_before
                .is_none_or(|time| job.spec.created_at < time)
            && self
                .created_since
                .is_none_or(|time| job.spec.created_at >= time)
    }
}

impl From<&JobView> for JobSummary {
    fn from(job: &JobView) -> Self {
        let JobView { id, spec, progress } = job;
        Self {
            id: id.to_string(),
            kind: spec.kind,
            to: spec.to,
            from: spec.from.clone(),
            node: spec.node.clone(),
            state: progress.state,
            created: spec.created_at.into(),
            ended: progress.ended_at.map(Into::into),
            concurrency: spec.concurrency,
            targets: spec.targets,
            done: progress.done,
            unchanged: progress.unchanged,
            despite_directives: progress.despite_directives,
            failed: progress.failed,
            bytes: progress.bytes,
        }
    }
}

impl From<&JobView> for JobDetails {
    fn from(job: &JobView) -> Self {
        let failures = job.progress.failures.iter();
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
