//! All jobs of this process. The main type is [`Jobs`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::JobError;
use super::job::{JobId, JobOrder, JobView};
use super::job_folder::{JobFolder, StoredJob};
use super::progress::Progress;
use super::run::{self, Job, JobContext};
use super::work::Worker;
use crate::admin::{ListReader, Operator};
use crate::model::lock;

/// Jobs that run at the same time. The others wait in the order of their creation.
const MAX_RUNNING: usize = 2;

/// Bound on the jobs that have not ended.
const MAX_UNFINISHED: usize = 100;

/// Ended jobs that are kept. Beyond them, the oldest are removed.
const MAX_ENDED: usize = 100;

/// How long a cancellation waits for the end of the job.
const CANCEL_WAIT: Duration = Duration::from_secs(5);

/// All jobs of this process.
pub struct Jobs {
    context: Arc<JobContext>,
    by_id: Mutex<BTreeMap<JobId, Arc<Job>>>,
    tasks: TaskTracker,
}

impl Jobs {
    /// Reads the folder of jobs below `state_dir`, and goes on with those that have not ended. If
    /// the folder cannot be read, there are none. Blocks. Jobs run on the runtime of the caller.
    #[must_use]
    pub fn start(state_dir: &Path, worker: Worker) -> Self {
        let folder = JobFolder::new(state_dir.join("jobs"));
        let mut stored = folder.load().unwrap_or_else(|error| {
            tracing::error!(%error, "the jobs in gateway.state_dir cannot be read");
            Vec::new()
        });
        let context = JobContext {
            folder,
            worker,
            running: Semaphore::new(MAX_RUNNING),
            stop: CancellationToken::new(),
        };
        let jobs = Self {
            context: Arc::new(context),
            by_id: Mutex::default(),
            tasks: TaskTracker::new(),
        };
        stored.sort_by(|a, b| a.id.cmp(&b.id));
        for job in stored {
            jobs.add(Job::new(job));
        }
        jobs
    }

    /// Creates a job. It is on disk when this returns.
    ///
    /// # Errors
    /// [`JobError::TooManyJobs`], [`JobError::Stopping`], or [`JobError::Folder`] if it cannot be
    /// written.
    pub async fn create(&self, _: &Operator, order: JobOrder) -> Result<JobView, JobError> {
        if self.tasks.is_closed() {
            return Err(JobError::Stopping);
        }
        let unfinished = lock(&self.by_id)
            .values()
            .filter(|job| !job.has_ended())
            .count();
        if unfinished >= MAX_UNFINISHED {
            return Err(JobError::TooManyJobs);
        }
        let surplus = self.take_surplus();
        let folder = self.context.folder.clone();
        let written = spawn_blocking(move || {
            for id in surplus {
                if let Err(error) = folder.remove(&id) {
                    tracing::warn!(%id, %error, "an ended job was not removed");
                }
            }
            let now = SystemTime::now();
            let id = JobId::new(now, rand::random());
            folder.create(&id, &order, now)?;
            Ok::<_, std::io::Error>(StoredJob {
                id,
                kind: order.kind,
                concurrency: order.concurrency,
                created_at: now,
                progress: Progress::new(order.files.len()),
            })
        });
        let stored = written.await.map_err(std::io::Error::other)??;
        Ok(self.add(Job::new(stored)).view())
    }

    /// Returns all jobs, the newest first, without their failures.
    #[must_use]
    pub fn list(&self, _: &ListReader) -> Vec<JobView> {
        let jobs: Vec<Arc<Job>> = lock(&self.by_id).values().rev().cloned().collect();
        jobs.iter().map(|job| job.view()).collect()
    }

    /// Returns a job.
    ///
    /// # Errors
    /// [`JobError::NotFound`].
    pub fn get(&self, _: &ListReader, id: &JobId) -> Result<JobView, JobError> {
        Ok(self.find(id)?.view())
    }

    /// Cancels a job, and waits a bounded time for its end. Stored bytes stay. An ended job stays
    /// as it is.
    ///
    /// # Errors
    /// [`JobError::NotFound`].
    pub async fn cancel(&self, _: &Operator, id: &JobId) -> Result<JobView, JobError> {
        let job = self.find(id)?;
        if !job.has_ended() {
            job.cancel.cancel();
            // A slow disk only delays the record of the end.
            drop(timeout(CANCEL_WAIT, job.ended.cancelled()).await);
        }
        Ok(job.view())
    }

    /// Stops all jobs. The next start goes on with them.
    pub async fn stop(&self) {
        self.context.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn find(&self, id: &JobId) -> Result<Arc<Job>, JobError> {
        lock(&self.by_id).get(id).cloned().ok_or(JobError::NotFound)
    }

    fn add(&self, job: Job) -> Arc<Job> {
        let job = Arc::new(job);
        lock(&self.by_id).insert(job.id.clone(), Arc::clone(&job));
        if !job.has_ended() {
            let run = run::run(Arc::clone(&job), Arc::clone(&self.context));
            self.tasks.spawn(run);
        }
        job
    }

    /// Removes the oldest ended jobs from the list, so that one more has a place.
    fn take_surplus(&self) -> Vec<JobId> {
        let mut jobs = lock(&self.by_id);
        let ended: Vec<JobId> = jobs
            .values()
            .filter(|job| job.has_ended())
            .map(|job| job.id.clone())
            .collect();
        let count = (ended.len() + 1).saturating_sub(MAX_ENDED);
        let surplus: Vec<JobId> = ended.into_iter().take(count).collect();
        for id in &surplus {
            jobs.remove(id);
        }
        surplus
    }
}
