//! The disk as requests meet it: so much work at once, none waited for without an end, and none begun while it hangs.
//!
//! Only the probe judges it. Work that is given up goes on in its own thread until the disk lets it, and its permit with it;
//! what it comes to is dropped there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::{StoreError, blocking};
use crate::model::{Event, EventSink, Sha256};

/// Disk work of requests and fetches at once: a disk that hangs holds so many threads, and a few for care.
const MAX_JOBS: usize = 128;

/// What a disk that is still to be waited for writes a second, in bytes.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;

/// How many objects are known not to be readable, and for how long. Then the disk is asked for them again.
const MAX_UNREADABLE: u64 = 10_000;
const UNREADABLE_TTL: Duration = Duration::from_mins(10);

/// How the disk does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Well,
    /// It takes nothing more. What is on it is served, what is not passes through.
    Full,
    /// It refuses to be written to, with this error. What it still gives is served.
    Refuses(String),
    /// It does not answer. It is left alone until it does.
    Silent,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    patience: Duration,
    jobs: Arc<Semaphore>,
    condition: watch::Sender<Condition>,
    /// A probe that the disk has not answered yet.
    unanswered: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
    /// Objects that the disk does not give, although it should have them.
    unreadable: Cache<Sha256, ()>,
    events: EventSink,
}

impl Disk {
    /// `patience` is how long one piece of work may take.
    pub fn new(patience: Duration, events: EventSink) -> Self {
        Self(Arc::new(Inner {
            patience,
            jobs: Arc::new(Semaphore::new(MAX_JOBS)),
            condition: watch::Sender::new(Condition::Well),
            unanswered: Mutex::default(),
            unreadable: Cache::builder().max_capacity(MAX_UNREADABLE).time_to_live(UNREADABLE_TTL).build(),
            events,
        }))
    }

    pub fn condition(&self) -> Condition {
        self.0.condition.borrow().clone()
    }

    fn is_silent(&self) -> bool {
        *self.0.condition.borrow() == Condition::Silent
    }

    /// Takes note that reading an object has come to this. One that hangs is the disk's trouble, and not the object's.
    pub fn note_read<T>(&self, sha256: Sha256, read: &io::Result<T>) {
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::TimedOut) {
            self.0.unreadable.insert(sha256, ());
        }
    }

    /// Whether an object could not be read a while ago. It is a miss then, and may be replaced by what is fetched again.
    pub fn is_unreadable(&self, sha256: Sha256) -> bool {
        self.0.unreadable.contains_key(&sha256)
    }

    /// The object was replaced.
    pub fn trust(&self, sha256: Sha256) {
        self.0.unreadable.invalidate(&sha256);
    }

    /// Does work that somebody waits for.
    ///
    /// # Errors
    /// [`StoreError::Silent`] if the disk hangs or takes too long, else what the work says.
    pub async fn ask<T, E>(&self, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: Into<StoreError> + Send + 'static,
    {
        if self.is_silent() {
            return Err(StoreError::Silent);
        }
        match timeout(self.0.patience, self.run(work)).await {
            Ok(outcome) => outcome?.map_err(Into::into),
            Err(_) => Err(StoreError::Silent),
        }
    }

    /// Does work that makes so many bytes last. It may take as long as a slow disk needs for them, but not as long as one is
    /// silent; it may still come to its end then, with nobody to hear of it.
    ///
    /// # Errors
    /// As [`Disk::ask`].
    pub async fn persist<T: Send + 'static>(
        &self,
        size_bytes: u64,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut condition = self.0.condition.subscribe();
        let patience = self.0.patience + Duration::from_secs(size_bytes / SLOWEST_BYTES_PER_SECOND);
        tokio::select! {
            // Those who wait here are as many as fetches and imports may be: they need no permit.
            done = blocking(work) => done,
            _ = condition.wait_for(|condition| *condition == Condition::Silent) => Err(StoreError::Silent),
            () = sleep(patience) => Err(StoreError::Silent),
        }
    }

    /// Does work that nobody waits for.
    pub fn afterwards(&self, work: impl FnOnce() + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return work() };
        let disk = self.clone();
        // Each is the end of something that was counted, and so are they.
        runtime.spawn(async move {
            if let Err(error) = disk.run(work).await {
                tracing::warn!(%error, "what was to be done on the disk was not done");
            }
        });
    }

    /// # Errors
    /// A panic in the work.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.0.jobs).acquire_owned().await.expect("this semaphore is never closed");
        let done = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|panic| StoreError::Io(io::Error::other(panic)))
    }

    /// Tries whether the disk takes what is written to it. One probe at a time: one that hangs is waited for again.
    pub async fn probe(&self, work: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> Condition {
        let mut unanswered = self.0.unanswered.lock().await;
        let mut probe = unanswered.take().unwrap_or_else(|| spawn_blocking(work));
        let condition = match timeout(self.0.patience, &mut probe).await {
            Ok(Ok(Ok(()))) => Condition::Well,
            Ok(Ok(Err(StoreError::NoSpace))) => Condition::Full,
            // Too many open files are no fault of the disk's.
            Ok(Ok(Err(StoreError::Io(error)))) if is_out_of_descriptors(&error) => self.condition(),
            Ok(Ok(Err(error))) => Condition::Refuses(error.to_string()),
            Ok(Err(panic)) => Condition::Refuses(panic.to_string()),
            Err(_) => {
                *unanswered = Some(probe);
                Condition::Silent
            }
        };
        self.turn_to(&condition);
        condition
    }

    /// What has changed is told once.
    fn turn_to(&self, condition: &Condition) {
        let before = self.0.condition.send_replace(condition.clone());
        if before == *condition {
            return;
        }
        match condition.trouble() {
            Some(detail) => {
                tracing::error!(detail, "the disk of the cache fails; what it does not give or take passes through");
                self.0.events.tell(Event::DiskFailed { detail });
            }
            None if before.trouble().is_some() => {
                tracing::info!("the disk of the cache is back");
                self.0.events.tell(Event::DiskBack);
            }
            None => {}
        }
        if *condition == Condition::Full {
            tracing::warn!("the disk of the cache is full; what is new passes through");
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    // What names the path wraps what the system said.
    let of_system = || error.get_ref()?.source()?.downcast_ref::<io::Error>()?.raw_os_error();
    let errno = error.raw_os_error().or_else(of_system).map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Disk").field(&self.condition()).finish()
    }
}

impl Condition {
    /// Why others should be asked in place of this instance, if they should.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Well | Self::Full => None,
            Self::Refuses(error) => Some(error.clone()),
            Self::Silent => Some(StoreError::Silent.to_string()),
        }
    }
}
