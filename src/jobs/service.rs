//! All jobs of this process. The main type is [`Jobs`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::ready;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::JobError;
use super::job::{JobId, JobOrder, JobView};
use super::job_folder::JobFolder;
use super::progress::Progress;
use super::run::{self, Job, JobContext, Turn};
use super::work::Worker;
use crate::admin::{ListReader, Operator};
use crate::model::lock;
use crate::scrub::ScrubRound;

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
    /// Permits of the jobs that run at the same time.
    running: Arc<Semaphore>,
    /// Held while a job is created, so that no two creations count the same place.
    creating: AsyncMutex<()>,
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
            stop: CancellationToken::new(),
        };
        let jobs = Self {
            context: Arc::new(context),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            creating: AsyncMutex::new(()),
            by_id: Mutex::default(),
            tasks: TaskTracker::new(),
        };
        stored.sort_by(|a, b| a.id.cmp(&b.id));
        for job in stored {
            jobs.add(job);
        }
        jobs
    }

    /// Creates a job. It is on disk when this returns. If the caller is dropped, the job is created
    /// all the same, so that none is on disk and not in the list.
    ///
    /// # Errors
    /// [`JobError::TooManyJobs`], [`JobError::Stopping`], or [`JobError::Folder`] if it cannot be
    /// written.
    pub async fn create(
        self: &Arc<Self>,
        _: &Operator,
        order: JobOrder,
    ) -> Result<JobView, JobError> {
        if self.tasks.is_closed() {
            return Err(JobError::Stopping);
        }
        self.context.worker.check(&order)?;
        let jobs = Arc::clone(self);
        let created = self
            .tasks
            .spawn(async move { jobs.write_and_add(order).await });
        created.await.map_err(std::io::Error::other)?
    }

    async fn write_and_add(&self, order: JobOrder) -> Result<JobView, JobError> {
        let _creating = self.creating.lock().await;
        let surplus = {
            let mut jobs = lock(&self.by_id);
            let unfinished = jobs.values().filter(|job| !job.has_ended()).count();
            if unfinished >= MAX_UNFINISHED {
                return Err(JobError::TooManyJobs);
            }
            take_surplus(&mut jobs)
        };
        let folder = self.context.folder.clone();
        let written = spawn_blocking(move || {
            for id in surplus {
                if let Err(error) = folder.remove(&id) {
                    tracing::warn!(%id, %error, "an ended job was not removed");
                }
            }
            let now = SystemTime::now();
            let job = JobView {
                id: JobId::new(now, rand::random()),
                spec: order.spec(now),
                progress: Progress::pending(),
            };
            folder.create(&job, &order)?;
            Ok::<_, std::io::Error>(job)
        });
        let job = written.await.map_err(std::io::Error::other)??;
        self.add(job.clone());
        Ok(job)
    }

    /// Returns all jobs, the newest first, without their failures.
    #[must_use]
    pub fn list(&self, _: &ListReader) -> Vec<JobView> {
        let jobs: Vec<Arc<Job>> = lock(&self.by_id).values().rev().cloned().collect();
        jobs.iter().map(|job| job.summary()).collect()
    }

    /// Returns the round of the service's own scrub, if it is known. It names no target.
    pub async fn scrub_round(&self) -> Option<ScrubRound> {
        self.context.worker.scrub_round().await
    }

    /// Returns a job with its first failures, up to this number.
    ///
    /// # Errors
    /// [`JobError::NotFound`].
    pub fn get_part(
        &self,
        _: &ListReader,
        id: &JobId,
        failures: usize,
    ) -> Result<JobView, JobError> {
        Ok(self.find(id)?.view_with_failures(failures))
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

    /// Lists a job, and runs it unless it has ended.
    fn add(&self, job: JobView) {
        let (id, job) = (job.id.clone(), Arc::new(Job::new(job)));
        lock(&self.by_id).insert(id, Arc::clone(&job));
        if !job.has_ended() {
            let run = run::run(job, Arc::clone(&self.context), self.take_turn());
            self.tasks.spawn(run);
        }
    }

    /// Takes the next place in the queue of jobs. Tasks start in any order, but the queue has the
    /// order of these calls.
    fn take_turn(&self) -> Turn {
        let mut turn = Arc::clone(&self.running).acquire_owned().boxed();
        // The first poll takes the place.
        match (&mut turn).now_or_never() {
            Some(permit) => ready(permit).boxed(),
            None => turn,
        }
    }
}

/// Removes the oldest ended jobs from the list, so that one more has a place.
fn take_surplus(jobs: &mut BTreeMap<JobId, Arc<Job>>) -> Vec<JobId> {
    let ended = jobs.iter().filter(|(_, job)| job.has_ended());
    let ended: Vec<JobId> = ended.map(|(id, _)| id.clone()).collect();
    let count = (ended.len() + 1).saturating_sub(MAX_ENDED);
    let surplus: Vec<JobId> = ended.into_iter().take(count).collect();
    for id in &surplus {
        jobs.remove(id);
    }
    surplus
}
