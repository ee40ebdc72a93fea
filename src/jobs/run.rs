//! One job while it waits and runs.
//!
//! The main function is [`run`].

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use futures_util::{TryStreamExt as _, stream};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{AcquireError, Mutex as AsyncMutex, OwnedSemaphorePermit};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::job::{JobId, JobSpec, JobView, PARTS};
use super::job_folder::JobFolder;
use super::progress::{JobState, Progress};
use super::unit::WorkUnit;
use super::work::Worker;
use crate::migrate::PeerError;
use crate::model::{WantedFile, lock};

/// Permit of a running job.
pub type Turn = BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>;

/// A job of this process.
pub struct Job {
    id: JobId,
    spec: JobSpec,
    progress: Mutex<Progress>,
    pub cancel: CancellationToken,
    /// Cancelled once the end is recorded.
    pub ended: CancellationToken,
}

impl Job {
    #[must_use]
    pub fn new(job: JobView) -> Self {
        Self {
            id: job.id,
            spec: job.spec,
            progress: Mutex::new(job.progress),
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Returns the job as it is now.
    #[must_use]
    pub fn view(&self) -> JobView {
        self.view_with(lock(&self.progress).clone())
    }

    /// Returns the job as it is now, without its failures.
    #[must_use]
    pub fn summary(&self) -> JobView {
        self.view_with_failures(0)
    }

    /// Returns the job as it is now, with its first failures.
    #[must_use]
    pub fn view_with_failures(&self, count: usize) -> JobView {
        self.view_with(lock(&self.progress).with_failures(count))
    }

    fn view_with(&self, progress: Progress) -> JobView {
        JobView {
            id: self.id.clone(),
            spec: self.spec.clone(),
            progress,
        }
    }

    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.progress).state.has_ended()
    }
}

/// Services of running jobs.
pub struct JobContext {
    pub folder: JobFolder,
    pub worker: Worker,
    pub stop: CancellationToken,
}

/// Runs a job to its end, once its turn has come. A stop of the process leaves it unfinished, for
/// the next start.
pub async fn run(job: Arc<Job>, context: Arc<JobContext>, turn: Turn) {
    let permit = tokio::select! {
        biased;
        () = context.stop.cancelled() => return,
        () = job.cancel.cancelled() => None,
        permit = turn => permit.ok(),
    };
    if permit.is_some() {
        lock(&job.progress).state = JobState::Running;
        tracing::info!(id = %job.id, kind = job.spec.kind.as_str(), "job started");
        let work = work_through(&job, &context);
        let result = tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = job.cancel.cancelled() => Ok(()),
            result = work => result,
        };
        if let Err(error) = result {
            tracing::warn!(id = %job.id, %error, "a job cannot go on");
            lock(&job.progress).add_failure(String::new(), error.to_string());
        }
    }
    end(&job, &context).await;
}

/// Reason why a job cannot go on.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error("the files of the job cannot be used: {0}")]
    Files(#[from] io::Error),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// Works on all targets that are not done.
async fn work_through(job: &Job, context: &JobContext) -> Result<(), WorkError> {
    let (folder, id) = (context.folder.clone(), job.id.clone());
    let read = spawn_blocking(move || {
        let done: HashSet<usize> = folder.results(&id)?.iter().map(|done| done.at).collect();
        Ok::<_, io::Error>((folder.targets(&id)?, done, folder.open_results(&id)?))
    });
    let (files, done, results) = read.await.map_err(io::Error::other)??;
    let units = units_of(&job.spec, &files)?;
    let results = AsyncMutex::new(File::from_std(results));
    let left = units
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !done.contains(at));
    let left = stream::iter(left.map(Ok));
    let working = left.try_for_each_concurrent(job.spec.concurrency, |(at, unit)| {
        work_on(job, context, (at, unit), &results)
    });
    Ok(working.await?)
}

/// Returns the units of a job: its targets, or the parts of the folder.
fn units_of<'a>(spec: &JobSpec, files: &'a [WantedFile]) -> io::Result<Vec<WorkUnit<'a>>> {
    if spec.kind.can_work_on_all() && spec.targets == PARTS && files.is_empty() {
        return Ok((0..=u8::MAX).map(WorkUnit::Part).collect());
    }
    if files.len() != spec.targets {
        return Err(io::Error::other("the list of targets is incomplete"));
    }
    Ok(files.iter().map(WorkUnit::Target).collect())
}

/// Works on one target or part and records the result.
async fn work_on(
    job: &Job,
    context: &JobContext,
    (at, unit): (usize, WorkUnit<'_>),
    results: &AsyncMutex<File>,
) -> Result<(), PeerError> {
    let result = context.worker.work(&job.spec, at, unit).await?;
    // The line is one write, so that a kill leaves no half of it in most cases.
    let mut line = serde_json::to_vec(&result).unwrap_or_default();
    line.push(b'\n');
    let mut results = results.lock().await;
    let written = async {
        results.write_all(&line).await?;
        results.flush().await
    };
    if let Err(error) = written.await {
        tracing::warn!(id = %job.id, %error, "the result of a target was not recorded");
    }
    lock(&job.progress).add(&result);
    Ok(())
}

/// Ends a job and records its end.
async fn end(job: &Job, context: &JobContext) {
    let progress = {
        let mut progress = lock(&job.progress);
        let now = SystemTime::now();
        if job.cancel.is_cancelled() {
            progress.cancel(now);
        } else {
            progress.finish(job.spec.targets, now);
        }
        progress.clone()
    };
    tracing::info!(
        id = %job.id,
        kind = job.spec.kind.as_str(),
        state = progress.state.as_str(),
        targets = job.spec.targets,
        despite_directives = progress.despite_directives,
        failed = progress.failed,
        bytes = progress.bytes,
        "job ended"
    );
    let (folder, id) = (context.folder.clone(), job.id.clone());
    let recorded = spawn_blocking(move || folder.end(&id, &progress)).await;
    if let Err(error) = recorded.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        tracing::warn!(id = %job.id, %error, "the end of a job was not recorded");
    }
    job.ended.cancel();
}
