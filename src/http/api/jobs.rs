//! `/api/v1/jobs`: orders, lists, shows and cancels jobs.

use std::sync::Arc;
use std::time::SystemTime;

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

use super::query::Query;
use super::response::{ApiResponse, date, ok};
use crate::admin::{AdminError, ListReader, Operator};
use crate::gateway::RequestError;
use crate::jobs::{JobError, JobFailure, JobId, JobKind, JobOrder, JobView, Jobs, MAX_TARGETS};
use crate::model::WantedFile;

/// Bound on the body of an order, in bytes.
const MAX_ORDER_BYTES: usize = 16 << 20;

/// Targets that a job works on at the same time, unless the order says otherwise.
const DEFAULT_CONCURRENCY: usize = 4;

/// Error of an identity that no job has.
pub const NO_SUCH_JOB: AdminError = AdminError::NotFound("there is no such job");

/// Body of an order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    kind: JobKind,
    /// Lines as in `list`.
    #[serde(default)]
    targets: Vec<String>,
    /// One `URL`, or `DIGEST URL`, a line.
    #[serde(default)]
    list: String,
    #[serde(default = "default_concurrency")]
    concurrency: usize,
}

fn default_concurrency() -> usize {
    DEFAULT_CONCURRENCY
}

/// Creates a job.
pub async fn create(
    jobs: &Arc<Jobs>,
    operator: &Operator,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let order = parse_order(&read_order(body).await?)?;
    let created = jobs.create(operator, order).await.map_err(admin_error)?;
    Ok(ApiResponse::Created {
        location: format!("/api/v1/jobs/{}", created.id),
        value: job_json(&created),
    })
}

/// Lists all jobs, the newest first.
pub fn list(jobs: &Jobs, reader: &ListReader, query: Query<'_>) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let jobs: Vec<Value> = jobs.list(reader).iter().map(job_json).collect();
    Ok(ok(json!({ "jobs": jobs })))
}

/// Shows a job with its failures.
pub fn show(
    jobs: &Jobs,
    reader: &ListReader,
    id: &JobId,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let job = jobs.get(reader, id).map_err(admin_error)?;
    Ok(ok(with_failures(&job)))
}

/// Cancels a job.
pub async fn cancel(
    jobs: &Jobs,
    operator: &Operator,
    id: &JobId,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let job = jobs.cancel(operator, id).await.map_err(admin_error)?;
    Ok(ok(with_failures(&job)))
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

fn parse_order(bytes: &[u8]) -> Result<JobOrder, AdminError> {
    let order: OrderBody = serde_json::from_slice(bytes).map_err(|error| bad_order(&error))?;
    let mut files = Vec::new();
    for line in &order.targets {
        let file = WantedFile::parse_line(line);
        files.push(file.map_err(|error| bad_order(&error))?);
    }
    let left = MAX_TARGETS.saturating_sub(files.len());
    let listed = WantedFile::parse_list(&order.list, left);
    files.extend(listed.map_err(|error| bad_order(&format_args!("list, line {error}")))?);
    JobOrder::new(order.kind, files, order.concurrency).map_err(admin_error)
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

fn job_json(job: &JobView) -> Value {
    let JobView { id, spec, progress } = job;
    json!({
        "id": id.as_str(),
        "kind": spec.kind,
        "state": progress.state,
        "created": date(spec.created_at),
        "ended": progress.ended_at.map(|time: SystemTime| date(time)),
        "concurrency": spec.concurrency,
        "targets": spec.targets,
        "done": progress.done,
        "unchanged": progress.unchanged,
        "despite_directives": progress.despite_directives,
        "failed": progress.failed,
        "bytes": progress.bytes,
    })
}

fn with_failures(job: &JobView) -> Value {
    let failure = |failure: &JobFailure| json!({ "url": failure.url, "error": failure.error });
    let failures: Vec<Value> = job.progress.failures.iter().map(failure).collect();
    let mut value = job_json(job);
    value["failures"] = Value::Array(failures);
    value
}
