//! What this process knows of the bucket: which objects it has, which are suspect, and what is
//! wanted from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache as MemoryCache;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};

use super::{Bucket, Config};
use crate::model::{Record, Sha256};

/// Bound on the objects whose presence is remembered in memory. The index knows all.
const MAX_KNOWN_OBJECTS: u64 = 100_000;

/// Time after which presence is read from the index again, which knows since when.
const MEMORY_TTL: Duration = Duration::from_mins(1);

/// Interval of warnings about one upload that keeps failing.
const WARN_INTERVAL: Duration = Duration::from_hours(1);

/// Number of requests within [`REQUEST_WINDOW`] after which an object is promoted to the disk.
const PROMOTE_AFTER: u32 = 3;
const REQUEST_WINDOW: Duration = Duration::from_hours(1);

/// Bound on the objects that wait for promotion. A further one waits for its next request.
const MAX_PROMOTIONS_QUEUED: usize = 64;

/// Promotions at once.
const MAX_PROMOTIONS: usize = 2;

/// Interval at which the use of one object is stored in the bucket, and bound on uses that wait for
/// it.
const USE_INTERVAL: Duration = Duration::from_hours(24);
const MAX_USES_QUEUED: usize = 1024;

pub struct BucketState {
    pub bucket: Bucket,
    /// Whether the bucket has an object.
    present: MemoryCache<Sha256, bool>,
    /// Objects whose copy in the bucket has other bytes.
    suspect: MemoryCache<Sha256, ()>,
    /// Objects whose failing upload was logged lately.
    warned: MemoryCache<Sha256, ()>,
    /// Requests of an object that only the bucket has.
    requests: MemoryCache<Sha256, Arc<AtomicU32>>,
    /// Objects whose use is stored in the bucket, or queued for it.
    used: MemoryCache<Sha256, ()>,
    use_queue: BoundedQueue<Sha256>,
    promotion_queue: BoundedQueue<Arc<Record>>,
    pub promotions: Semaphore,
    /// Notified when an upload is queued.
    pub uploads: Notify,
    positive_ttl: Duration,
}

/// A bounded queue that drops what does not fit.
struct BoundedQueue<T> {
    sender: mpsc::Sender<T>,
    receiver: Mutex<mpsc::Receiver<T>>,
}

impl<T> BoundedQueue<T> {
    fn new(capacity: usize) -> Self {
        let (sender, receiver) = mpsc::channel(capacity);
        Self {
            sender,
            receiver: Mutex::new(receiver),
        }
    }

    fn try_push(&self, value: T) -> bool {
        self.sender.try_send(value).is_ok()
    }

    async fn pop(&self) -> T {
        self.receiver
            .lock()
            .await
            .recv()
            .await
            .expect("its sender lives as long")
    }
}

struct PresenceTtl {
    present: Duration,
    absent: Duration,
}

impl PresenceTtl {
    fn of(&self, is_present: bool) -> Duration {
        if is_present {
            self.present
        } else {
            self.absent
        }
    }
}

impl Expiry<Sha256, bool> for PresenceTtl {
    fn expire_after_create(&self, _: &Sha256, is_present: &bool, _: Instant) -> Option<Duration> {
        Some(self.of(*is_present))
    }

    fn expire_after_update(
        &self,
        _: &Sha256,
        is_present: &bool,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.of(*is_present))
    }
}

impl BucketState {
    pub fn new(bucket: Bucket, config: &Config) -> Self {
        let positive_ttl = config.positive_ttl.0;
        let lifetimes = PresenceTtl {
            present: positive_ttl.min(MEMORY_TTL),
            absent: config.negative_ttl.0,
        };
        let builder = || MemoryCache::builder().max_capacity(MAX_KNOWN_OBJECTS);
        Self {
            bucket,
            present: MemoryCache::builder()
                .max_capacity(MAX_KNOWN_OBJECTS)
                .expire_after(lifetimes)
                .build(),
            suspect: MemoryCache::new(MAX_KNOWN_OBJECTS),
            warned: builder().time_to_live(WARN_INTERVAL).build(),
            requests: MemoryCache::builder()
                .max_capacity(MAX_KNOWN_OBJECTS)
                .time_to_idle(REQUEST_WINDOW)
                .build(),
            used: builder().time_to_live(USE_INTERVAL).build(),
            use_queue: BoundedQueue::new(MAX_USES_QUEUED),
            promotion_queue: BoundedQueue::new(MAX_PROMOTIONS_QUEUED),
            promotions: Semaphore::new(MAX_PROMOTIONS),
            uploads: Notify::new(),
            positive_ttl,
        }
    }

    pub fn positive_ttl(&self) -> Duration {
        self.positive_ttl
    }

    /// Whether the bucket has an object, if that is remembered.
    pub fn is_present(&self, sha256: Sha256) -> Option<bool> {
        self.present.get(&sha256)
    }

    pub fn set_present(&self, sha256: Sha256, is_present: bool) {
        self.present.insert(sha256, is_present);
    }

    pub fn is_suspect(&self, sha256: Sha256) -> bool {
        self.suspect.contains_key(&sha256)
    }

    pub fn set_suspect(&self, sha256: Sha256) {
        self.suspect.insert(sha256, ());
    }

    pub fn clear_suspect(&self, sha256: Sha256) {
        self.suspect.invalidate(&sha256);
    }

    /// Logs a failing upload, once an hour for each object.
    pub fn warn_once(&self, sha256: Sha256, error: &super::CacheError) {
        if !self.warned.contains_key(&sha256) {
            self.warned.insert(sha256, ());
            tracing::warn!(%error, %sha256, "upload failed, will retry");
        }
    }

    /// Counts a request that the bucket answered. An object that is requested often is queued for
    /// promotion.
    pub fn record_bucket_hit(&self, record: &Arc<Record>) {
        let count = self.requests.get_with(record.sha256, Arc::default);
        if count.fetch_add(1, Ordering::Relaxed) + 1 == PROMOTE_AFTER
            && !self.promotion_queue.try_push(Arc::clone(record))
        {
            count.store(0, Ordering::Relaxed);
        }
        self.record_use(record.sha256);
    }

    /// Returns the next object to promote.
    pub async fn next_promotion(&self) -> Arc<Record> {
        self.promotion_queue.pop().await
    }

    pub fn finish_promotion(&self, sha256: Sha256) {
        self.requests.invalidate(&sha256);
    }

    /// Queues a use for the bucket, if retention needs it. One that does not fit is queued at the
    /// next use.
    pub fn record_use(&self, sha256: Sha256) {
        if self.bucket.config().has_retention()
            && !self.used.contains_key(&sha256)
            && self.use_queue.try_push(sha256)
        {
            self.used.insert(sha256, ());
        }
    }

    /// Stores the next use in the bucket.
    pub async fn store_next_use(&self) {
        let sha256 = self.use_queue.pop().await;
        if let Err(error) = self.bucket.record_use(sha256).await {
            tracing::debug!(%error, %sha256, "use of an object was not stored in the bucket");
            self.used.invalidate(&sha256);
        }
    }
}
