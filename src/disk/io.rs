//! Executor of all disk work. It runs operations on its own threads, with limits on their number
//! and duration.
//!
//! Only [`DiskIo::probe`] decides on the health of the disk. An abandoned operation keeps its
//! thread and its permit until the disk answers, and its result is dropped. The executor must not
//! know what an operation does. Its main type is [`DiskIo`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::repair::repair_and_probe;
use super::{DiskError, DiskHealth, DiskStore};
use crate::model::{Event, EventSink};

/// Bound on concurrent operations for requests and fetches. A hung disk blocks as many threads.
const MAX_REQUEST_OPERATIONS: usize = 128;

/// Bound on concurrent operations that sync a body or a record.
const MAX_DURABLE_OPERATIONS: usize = 64;

/// Bound on concurrent operations of periodic tasks and commands: uploads, promotions, scrub,
/// reindexing and eviction.
const MAX_MAINTENANCE_OPERATIONS: usize = 32;

/// Threads for disk work: one for each operation, and one for the probe.
const MAX_THREADS: usize =
    MAX_REQUEST_OPERATIONS + MAX_DURABLE_OPERATIONS + MAX_MAINTENANCE_OPERATIONS + 1;

/// Write rate below which a disk counts as hung, in bytes per second.
const MIN_BYTES_PER_SECOND: u64 = 4 << 20;

/// Class of a disk operation. It decides which permits the operation takes and how long it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoClass {
    /// A client or a fetch waits for the operation. Its time limit is `cache.disk_timeout`.
    Request,
    /// The operation makes `size_bytes` durable. Its time limit is `cache.disk_timeout`, plus the
    /// time that a slow disk needs for these bytes.
    Durable { size_bytes: u64 },
    /// No client waits for the operation. It is abandoned only if the disk stops answering.
    Maintenance,
}

/// Executor of disk work on one [`DiskStore`]. Cheap to clone.
#[derive(Clone)]
pub struct DiskIo(Arc<IoInner>);

struct IoInner {
    store: Arc<DiskStore>,
    threads: Threads,
    timeout: Duration,
    request_permits: Arc<Semaphore>,
    durable_permits: Arc<Semaphore>,
    maintenance_permits: Arc<Semaphore>,
    health: watch::Sender<DiskHealth>,
    /// The probe that the disk has not answered yet.
    unanswered_probe: Mutex<Option<JoinHandle<Result<(), DiskError>>>>,
    events: EventSink,
    /// The runtime of the process. Disk threads belong to another runtime, which runs no tasks.
    runtime: Option<Handle>,
}

/// Thread pool for disk work. DNS lookups run on the blocking threads of the main runtime, and must
/// not wait for a disk.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(MAX_THREADS)
            .thread_name("disk")
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.0
            .as_ref()
            .expect("the threads run until they are dropped")
            .spawn_blocking(work)
    }
}

impl Drop for Threads {
    /// Shuts the threads down without waiting, because an operation may hang.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl DiskIo {
    /// Creates an executor for a store, and its thread pool.
    ///
    /// # Errors
    /// The system's error if the thread pool cannot be created.
    pub fn new(store: DiskStore) -> io::Result<Self> {
        Ok(Self(Arc::new(IoInner {
            threads: Threads::start()?,
            timeout: store.config.timeout,
            request_permits: Arc::new(Semaphore::new(MAX_REQUEST_OPERATIONS)),
            durable_permits: Arc::new(Semaphore::new(MAX_DURABLE_OPERATIONS)),
            maintenance_permits: Arc::new(Semaphore::new(MAX_MAINTENANCE_OPERATIONS)),
            health: watch::Sender::new(DiskHealth::Healthy),
            unanswered_probe: Mutex::default(),
            events: store.events.clone(),
            runtime: Handle::try_current().ok(),
            store: Arc::new(store),
        })))
    }

    /// Returns the store, for calls that do not block: file names, notifications, hints from
    /// memory.
    #[must_use]
    pub fn store(&self) -> &Arc<DiskStore> {
        &self.0.store
    }

    /// Returns the health of the disk according to the last probe.
    #[must_use]
    pub fn health(&self) -> DiskHealth {
        self.0.health.borrow().clone()
    }

    /// Runs an operation within the limits of its class.
    ///
    /// # Errors
    /// [`DiskError::Timeout`] if the disk hangs or takes too long, otherwise the error of the
    /// operation.
    pub async fn run<T, E>(
        &self,
        class: IoClass,
        work: impl FnOnce(&DiskStore) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DiskError> + Send + 'static,
    {
        let mut health = self.0.health.subscribe();
        let is_unresponsive = |health: &DiskHealth| *health == DiskHealth::Unresponsive;
        if is_unresponsive(&health.borrow()) {
            return Err(DiskError::Timeout.into());
        }
        tokio::select! {
            done = self.spawn(class, work) => done?,
            _ = health.wait_for(is_unresponsive), if class != IoClass::Request => {
                Err(DiskError::Timeout.into())
            }
            () = self.deadline(class) => Err(DiskError::Timeout.into()),
        }
    }

    /// Returns once the time limit of a class has passed.
    async fn deadline(&self, class: IoClass) {
        match class {
            IoClass::Request => sleep(self.0.timeout).await,
            IoClass::Durable { size_bytes } => {
                sleep(self.0.timeout + Duration::from_secs(size_bytes / MIN_BYTES_PER_SECOND))
                    .await;
            }
            IoClass::Maintenance => std::future::pending().await,
        }
    }

    /// Waits for a permit, and runs an operation on a disk thread. The permit is held until the
    /// operation ends, even if the caller stops waiting.
    async fn spawn<T: Send + 'static>(
        &self,
        class: IoClass,
        work: impl FnOnce(&DiskStore) -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        let permits = match class {
            IoClass::Request => &self.0.request_permits,
            IoClass::Durable { .. } => &self.0.durable_permits,
            IoClass::Maintenance => &self.0.maintenance_permits,
        };
        let permit = Arc::clone(permits)
            .acquire_owned()
            .await
            .expect("this semaphore is never closed");
        let store = Arc::clone(&self.0.store);
        let done = self.0.threads.spawn(move || {
            let _permit = permit;
            work(&store)
        });
        done.await
            .map_err(|panic| DiskError::Io(io::Error::other(panic)))
    }

    /// Runs an operation in the background at the end of an object's life. Its result is not
    /// awaited. Without a runtime it runs on this thread.
    pub fn spawn_cleanup(&self, work: impl FnOnce(&DiskStore) + Send + 'static) {
        let Some(runtime) = &self.0.runtime else {
            return work(&self.0.store);
        };
        let io = self.clone();
        runtime.spawn(async move {
            if let Err(error) = io.spawn(IoClass::Request, work).await {
                tracing::warn!(%error, "cleanup on the cache disk failed");
            }
        });
    }

    /// Checks whether the disk accepts writes, within `cache.disk_timeout`, and sets its health.
    /// Only one probe runs at a time: if one hangs, the next call waits for it.
    pub async fn probe(&self) -> DiskHealth {
        let mut unanswered_probe = self.0.unanswered_probe.lock().await;
        let store = Arc::clone(&self.0.store);
        let mut probe = unanswered_probe
            .take()
            .unwrap_or_else(|| self.0.threads.spawn(move || repair_and_probe(&store)));
        let health = match timeout(self.0.timeout, &mut probe).await {
            Ok(Ok(Ok(()))) => DiskHealth::Healthy,
            Ok(Ok(Err(DiskError::NoSpace))) => DiskHealth::Full,
            // Too many open files are not a fault of the disk.
            Ok(Ok(Err(DiskError::Io(error)))) if is_out_of_descriptors(&error) => self.health(),
            Ok(Ok(Err(error))) => DiskHealth::WriteError(error.to_string()),
            Ok(Err(panic)) => DiskHealth::WriteError(panic.to_string()),
            Err(_) => {
                *unanswered_probe = Some(probe);
                DiskHealth::Unresponsive
            }
        };
        self.set_health(&health);
        health
    }

    /// Sets the health of the disk. Logs and emits each change once.
    fn set_health(&self, health: &DiskHealth) {
        let previous = self.0.health.send_replace(health.clone());
        if previous == *health {
            return;
        }
        match health.trouble() {
            Some(detail) => {
                tracing::error!(
                    detail,
                    "cache disk failed; serving from the bucket or passing requests through"
                );
                self.0.events.emit(Event::DiskFailed { detail });
            }
            None if previous.trouble().is_some() => {
                tracing::info!("cache disk recovered");
                self.0.events.emit(Event::DiskRecovered);
            }
            None => {}
        }
        if *health == DiskHealth::Full {
            tracing::warn!("cache disk is full; new objects pass through");
        }
    }
}

/// Returns whether the process or the system has no file descriptor left.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    // An error with a path wraps the system's error.
    let wrapped_errno = || {
        error
            .get_ref()?
            .source()?
            .downcast_ref::<io::Error>()?
            .raw_os_error()
    };
    let errno = error
        .raw_os_error()
        .or_else(wrapped_errno)
        .map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

impl std::fmt::Debug for DiskIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DiskIo").field(&self.health()).finish()
    }
}
