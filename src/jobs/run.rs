//! One job while it waits and runs.
//!
//! The main function is [`run`].

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::{StreamExt as _, stream};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::job::{JobId, JobKind, JobState, JobView};
use super::job_folder::{JobFolder, StoredJob};
use super::progress::{Progress, TargetResult};
use super::work::Worker;
use crate::model::{WantedFile, lock};

/// A job of this process.
pub struct Job {
    pub id: JobId,
    kind: JobKind,
    concurrency: usize,
    created_at: SystemTime,
    progress: Mutex<Progress>,
    pub cancel: CancellationToken,
    /// Cancelled once the end is recorded.
    pub ended: CancellationToken,
}

impl Job {
    #[must_use]
    pub fn new(stored: StoredJob) -> Self {
        Self {
            id: stored.id,
            kind: stored.kind,
            concurrency: stored.concurrency,
            created_at: stored.created_at,
            progress: Mutex::new(stored.progress),
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Returns the job as it is now.
    #[must_use]
    pub fn view(&self) -> JobView {
        let progress = lock(&self.progress);
        JobView {
            id: self.id.clone(),
            kind: self.kind,
            state: progress.state,
            concurrency: self.concurrency,
            created_at: self.created_at,
            ended_at: progress.ended_at,
            counts: progress.counts,
            failures: progress.failures().to_vec(),
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
    /// Permits of the jobs that run at the same time.
    pub running: Semaphore,
    pub stop: CancellationToken,
}

/// Runs a job to its end. A stop of the process leaves it unfinished, for the next start.
pub async fn run(job: Arc<Job>, context: Arc<JobContext>) {
    let permit = tokio::select! {
        biased;
        () = context.stop.cancelled() => return,
        () = job.cancel.cancelled() => None,
        permit = context.running.acquire() => permit.ok(),
    };
    if permit.is_some() {
        lock(&job.progress).state = JobState::Running;
        tracing::info!(id = %job.id, kind = job.kind.as_str(), "job started");
        let work = work_through(&job, &context);
        let result = tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = job.cancel.cancelled() => Ok(()),
            result = work => result,
        };
        if let Err(error) = result {
            let text = format!("the files of the job cannot be used: {error}");
            lock(&job.progress).add_failure(String::new(), text);
        }
    }
    end(&job, &context).await;
}

/// Works on all targets that are not done.
async fn work_through(job: &Job, context: &JobContext) -> io::Result<()> {
    let (folder, id) = (context.folder.clone(), job.id.clone());
    let read = spawn_blocking(move || {
        let done: HashSet<usize> = folder.results(&id)?.iter().map(|done| done.at).collect();
        Ok::<_, io::Error>((folder.targets(&id)?, done, folder.open_results(&id)?))
    });
    let (files, done, results) = read.await.map_err(io::Error::other)??;
    let results = AsyncMutex::new(File::from_std(results));
    let left = files
        .iter()
        .enumerate()
        .filter(|(at, _)| !done.contains(at));
    stream::iter(left)
        .for_each_concurrent(job.concurrency, |(at, file)| {
            work_on(job, context, (at, file), &results)
        })
        .await;
    Ok(())
}

/// Works on one target and records the result.
async fn work_on(
    job: &Job,
    context: &JobContext,
    (at, file): (usize, &WantedFile),
    results: &AsyncMutex<File>,
) {
    let result = TargetResult {
        at,
        url: file.url.to_string(),
        outcome: context.worker.work(job.kind, file).await,
    };
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
}

/// Ends a job and records its end.
async fn end(job: &Job, context: &JobContext) {
    let progress = {
        let mut progress = lock(&job.progress);
        progress.end(SystemTime::now(), job.cancel.is_cancelled());
        progress.clone()
    };
    let (folder, id) = (context.folder.clone(), job.id.clone());
    let recorded = spawn_blocking(move || folder.end(&id, &progress)).await;
    if let Err(error) = recorded.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        tracing::warn!(id = %job.id, %error, "the end of a job was not recorded");
    }
    job.ended.cancel();
    let view = job.view();
    tracing::info!(
        id = %job.id,
        kind = view.kind.as_str(),
        state = view.state.as_str(),
        targets = view.counts.targets,
        failed = view.counts.failed,
        bytes = view.counts.bytes,
        "job ended"
    );
}
