//! State of the bucket in the memory of this process: known objects, suspect objects, and queues
//! of promotions and uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache as MemoryCache;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};

use super::bucket_downloads::BucketDownloads;
use super::config::Config;
use super::error::CacheError;
use crate::bucket::Bucket;
use crate::model::{Record, Sha256};

/// Bound on the objects whose presence is kept in memory. The index has all of them.
const MAX_KNOWN_OBJECTS: u64 = 100_000;

/// Longest time for which presence is kept in memory. The index has the time of each listing.
const MEMORY_TTL: Duration = Duration::from_mins(1);

/// Interval of warnings about one failing upload.
const WARN_INTERVAL: Duration = Duration::from_hours(1);

/// Number of requests within [`REQUEST_WINDOW`] after which an object is promoted to the disk.
const PROMOTE_AFTER: u32 = 3;
const REQUEST_WINDOW: Duration = Duration::from_hours(1);

/// Bound on the objects that wait for promotion. Further ones are queued at a later request.
const MAX_PROMOTIONS_QUEUED: usize = 64;

/// Concurrent promotions.
const MAX_PROMOTIONS: usize = 2;

/// Interval at which the use of one object is stored in the bucket.
const USE_INTERVAL: Duration = Duration::from_hours(24);

/// Bound on the uses that wait to be stored.
const MAX_USES_QUEUED: usize = 1024;

/// The bucket, and what this process knows about its objects.
pub struct BucketState {
    pub bucket: Bucket,
    /// Whether the bucket has an object.
    present: MemoryCache<Sha256, bool>,
    /// Objects with a damaged copy in the bucket.
    suspect: MemoryCache<Sha256, ()>,
    /// Objects with a failing upload that was logged recently.
    warned: MemoryCache<Sha256, ()>,
    /// Recent requests of objects that only the bucket has.
    requests: MemoryCache<Sha256, Arc<AtomicU32>>,
    /// Objects whose use is stored in the bucket, or queued for it.
    used: MemoryCache<Sha256, ()>,
    use_queue: BoundedQueue<Sha256>,
    promotion_queue: BoundedQueue<Arc<Record>>,
    /// Bounds concurrent promotions.
    pub promotions: Semaphore,
    /// Promotions that run now.
    pub downloads: BucketDownloads,
    /// Notified when an upload is queued.
    pub uploads: Notify,
    positive_ttl: Duration,
}

/// A queue that rejects values beyond its capacity.
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

    /// Returns false if the queue is full.
    fn try_push(&self, value: T) -> bool {
        self.sender.try_send(value).is_ok()
    }

    async fn pop(&self) -> T {
        self.receiver
            .lock()
            .await
            .recv()
            .await
            .expect("the queue owns its sender")
    }
}

/// How long presence and absence are kept in memory.
struct PresenceTtl {
    present: Duration,
    absent: Duration,
}

impl PresenceTtl {
    fn ttl(&self, is_present: bool) -> Duration {
        if is_present {
            self.present
        } else {
            self.absent
        }
    }
}

impl Expiry<Sha256, bool> for PresenceTtl {
    fn expire_after_create(&self, _: &Sha256, is_present: &bool, _: Instant) -> Option<Duration> {
        Some(self.ttl(*is_present))
    }

    fn expire_after_update(
        &self,
        _: &Sha256,
        is_present: &bool,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.ttl(*is_present))
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
            downloads: BucketDownloads::default(),
            uploads: Notify::new(),
            positive_ttl,
        }
    }

    pub fn positive_ttl(&self) -> Duration {
        self.positive_ttl
    }

    /// Whether the bucket has an object. Returns `None` if memory does not say.
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

    /// Logs a failing upload, at most once an hour for each object.
    pub fn warn_once(&self, sha256: Sha256, error: &CacheError) {
        if !self.warned.contains_key(&sha256) {
            self.warned.insert(sha256, ());
            tracing::warn!(%error, %sha256, "upload failed, will retry");
        }
    }

    /// Counts a request that the bucket answered. If the object is requested often, queues its
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

    /// Waits for the next object to promote.
    pub async fn next_promotion(&self) -> Arc<Record> {
        self.promotion_queue.pop().await
    }

    /// Resets the count of requests, so that a failed promotion is tried again later.
    pub fn finish_promotion(&self, sha256: Sha256) {
        self.requests.invalidate(&sha256);
    }

    /// Queues a use for the bucket if retention needs it. If the queue is full, the next use is
    /// queued instead.
    pub fn record_use(&self, sha256: Sha256) {
        if self.bucket.config().has_retention()
            && !self.used.contains_key(&sha256)
            && self.use_queue.try_push(sha256)
        {
            self.used.insert(sha256, ());
        }
    }

    /// Waits for the next use, and stores it in the bucket.
    pub async fn store_next_use(&self) {
        let sha256 = self.use_queue.pop().await;
        if let Err(error) = self.bucket.record_use(sha256).await {
            tracing::debug!(%error, %sha256, "use of an object was not stored in the bucket");
            self.used.invalidate(&sha256);
        }
    }
}
