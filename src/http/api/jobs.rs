//! `/api/v1/jobs`: orders, lists, shows and cancels jobs.

use std::sync::Arc;

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;
use utoipa::ToSchema;

use super::job_input::{CreatedJob, JobTexts};
use super::job_views::{
    DestinationName, JobDetails, JobKindName, JobList, JobQuery, JobSummary, NodeOrder,
    ReceiverOrder,
};
use super::query::Query;
use super::response::{ApiResponse, json_of, ok};
use crate::admin::{AdminError, ListReader, Operator};
use crate::gateway::RequestError;
use crate::jobs::{
    JobDestination, JobError, JobId, JobKind, JobOrder, Jobs, MAX_TARGETS, NodeSelection, Platform,
    ReceivingNode,
};
use crate::model::WantedFile;

/// Bound on the body of an order, in bytes.
const MAX_ORDER_BYTES: usize = 16 << 20;

/// Targets that a job works on at the same time, unless the order says otherwise.
const DEFAULT_CONCURRENCY: usize = 4;

/// Error of an identity that no job has.
pub const NO_SUCH_JOB: AdminError = AdminError::NotFound("there is no such job");

/// Order for a job.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBody {
    #[schema(value_type = JobKindName)]
    kind: JobKind,
    /// Destination of a job of kind `migrate`, which needs a bucket, or another node.
    #[serde(default)]
    #[schema(value_type = Option<DestinationName>)]
    to: Option<JobDestination>,
    /// Node that a job of kind `migrate` to `disk` copies from, in place of the bucket.
    #[serde(default)]
    #[schema(value_type = Option<NodeOrder>)]
    from: Option<NodeSelection>,
    /// Node that copies, and the targets, in a job of kind `migrate` to `node`.
    #[serde(default)]
    #[schema(value_type = Option<ReceiverOrder>)]
    node: Option<ReceivingNode>,
    /// Lines as in `list`.
    #[serde(default)]
    targets: Vec<String>,
    /// One `URL`, or `DIGEST URL`, a line. Empty lines and comments do not count. For a fetch, a
    /// URL may be that of a container image: `docker://HOST/NAME:TAG`.
    #[serde(default)]
    list: String,
    /// Targets that the job works on at the same time.
    #[serde(default = "default_concurrency")]
    #[schema(minimum = 1, maximum = 64)]
    concurrency: usize,
    /// Spec file of RPM, for a fetch: all its sources and patches are meant.
    #[serde(default)]
    spec: String,
    /// Lock file or list with digests, for a fetch.
    #[serde(default)]
    lockfile: String,
    /// SPDX or CycloneDX document, for a fetch.
    #[serde(default)]
    sbom: String,
    /// Base URLs of registries that these texts do not contain, such as `cargo=URL`.
    #[serde(default)]
    registries: Vec<String>,
    /// Platforms of the images in `targets` and `list`, such as `linux/arm64`. Empty: all.
    #[serde(default)]
    platforms: Vec<String>,
}

fn default_concurrency() -> usize {
    DEFAULT_CONCURRENCY
}

/// Starts a job
///
/// The job runs in the background, and goes on after a restart of the gateway.
#[utoipa::path(
    post, path = "/api/v1/jobs", operation_id = "createJob", tag = "jobs",
    request_body = OrderBody,
    responses((status = 202, description = "The job is created", body = CreatedJob,
               headers(("Location" = String, description = "Path of the job")))),
    security(("operator" = [])),
)]
pub async fn create(
    jobs: &Arc<Jobs>,
    operator: &Operator,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let bytes = read_order(body).await?;
    // A large text takes a while, and requests must not wait for it.
    let parsed = tokio::task::spawn_blocking(move || parse_order(&bytes)).await;
    let (order, notes) = parsed.map_err(|_| RequestError::Unavailable)??;
    let created = jobs.create(operator, order).await.map_err(admin_error)?;
    Ok(ApiResponse::Created {
        location: format!("/api/v1/jobs/{}", created.id),
        document: json_of(&CreatedJob {
            job: JobSummary::from(&created),
            notes,
        })?,
    })
}

/// Lists jobs, one page at a time
#[utoipa::path(
    get, path = "/api/v1/jobs", operation_id = "listJobs", tag = "jobs",
    params(JobQuery),
    responses((status = 200, description = "A page of the list", body = JobList)),
    security(("reader" = []), ("operator" = [])),
)]
pub fn list(jobs: &Jobs, reader: &ListReader, query: Query<'_>) -> Result<ApiResponse, AdminError> {
    let wanted = JobQuery::take(query)?;
    ok(&wanted.page(jobs.list(reader))?)
}

/// Shows a job with its failures
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", operation_id = "showJob", tag = "jobs",
    params(("id" = String, Path, description = "Identity of the job")),
    responses((status = 200, description = "The job", body = JobDetails)),
    security(("reader" = []), ("operator" = [])),
)]
pub fn show(
    jobs: &Jobs,
    reader: &ListReader,
    id: &JobId,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let job = jobs.get(reader, id).map_err(admin_error)?;
    ok(&JobDetails::from(&job))
}

/// Cancels a job; what it has stored stays
#[utoipa::path(
    delete, path = "/api/v1/jobs/{id}", operation_id = "cancelJob", tag = "jobs",
    params(("id" = String, Path, description = "Identity of the job")),
    responses((status = 200, description = "The job as it is now", body = JobDetails)),
    security(("operator" = [])),
)]
pub async fn cancel(
    jobs: &Jobs,
    operator: &Operator,
    id: &JobId,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let job = jobs.cancel(operator, id).await.map_err(admin_error)?;
    ok(&JobDetails::from(&job))
}

async fn read_order(
    mut body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| bad_order(&error))?;
        if bytes.len() + chunk.len() > MAX_ORDER_BYTES {
            return Err(RequestError::BadRequest(format!(
                "a job has at most {MAX_ORDER_BYTES} bytes of JSON"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn parse_order(bytes: &[u8]) -> Result<(JobOrder, Vec<String>), AdminError> {
    let order: OrderBody = serde_json::from_slice(bytes).map_err(|error| bad_order(&error))?;
    let mut files = Vec::new();
    for line in &order.targets {
        let file = WantedFile::parse_line(line);
        files.push(file.map_err(|error| bad_order(&error))?);
    }
    let left = MAX_TARGETS.saturating_sub(files.len());
    let listed = WantedFile::parse_list(&order.list, left);
    files.extend(listed.map_err(|error| bad_order(&format_args!("list, line {error}")))?);
    let texts = JobTexts {
        spec: order.spec,
        lockfile: order.lockfile,
        sbom: order.sbom,
        registries: order.registries,
    };
    let named = texts.files(order.kind)?;
    files.extend(named.files);
    let platforms: Result<Vec<Platform>, _> =
        order.platforms.iter().map(|text| text.parse()).collect();
    let platforms = platforms.map_err(|error| bad_order(&error))?;
    let job = JobOrder::new(order.kind, files, order.concurrency, order.to);
    let job = job.and_then(|job| job.for_platforms(platforms));
    let job = job.and_then(|job| job.from_node(order.from));
    let job = job.and_then(|job| job.to_node(order.node));
    let order = job.map_err(admin_error)?;
    Ok((order, named.notes))
}

fn bad_order(error: &dyn std::fmt::Display) -> RequestError {
    RequestError::BadRequest(format!("the job is invalid: {error}"))
}

fn admin_error(error: JobError) -> AdminError {
    match error {
        JobError::Invalid(text) => RequestError::BadRequest(text).into(),
        JobError::NotFound => NO_SUCH_JOB,
        JobError::TooManyJobs => RequestError::Busy.into(),
        JobError::Stopping => RequestError::Stopping.into(),
        JobError::Folder(error) => {
            tracing::error!(%error, "a job was not written");
            RequestError::Unavailable.into()
        }
    }
}
