//! The cache: the folder on the local disk and, where one is configured, a bucket behind it.
//!
//! A look-up goes from memory to the disk to the bucket. A body comes in one way: space is
//! reserved, it is staged, sealed and published on the disk; the bucket gets it from there. This
//! module knows no HTTP and no origin, and does not decide what may be stored. Its main type is
//! [`Cache`].

mod admin;
mod bucket_findings;
mod bucket_inventory;
mod bucket_state;
mod changed_content;
mod config;
mod error;
mod hit;
mod lookup_cache;
mod open;
mod pin_sync;
mod promote;
mod replication;
mod upload_worker;

use std::sync::Arc;

pub use admin::{CacheAdmin, RecordStatus, RemovedTarget};
pub use bucket_inventory::InventoryReport;
pub use config::{Config, OnChange};
pub use error::CacheError;
pub use hit::{BucketHit, BucketStream, Hit};
pub use replication::Replication;
pub use upload_worker::QueuePoll;

pub use crate::bucket::{Bucket, BucketDelivery, BucketError, Config as BucketConfig};
pub use crate::disk::{
    Acquire, DiskError, DiskHealth, DiskIo, EvictResult, FileHit, Finished, Lease, LeaseHolder,
    LeaseState, ListedTarget, ObjectHandle, OpenError, OpenFile, OpenMode, Published, Sealed,
    StagedName, Staging, TargetLookup, TargetRecords,
};

use crate::disk::{DiskStore, IoClass, evict, lease, publish, records};
use crate::model::{Algorithm, Digest, EventSink, Hasher, Key, Record, Sha256};
use bucket_state::BucketState;
use lookup_cache::LookupCache;

/// Bound on the digests other than SHA-256 that are remembered.
const MAX_DIGESTS: u64 = 10_000;

/// The cache of this process, on a folder and a bucket that it may share with others. Cheap to
/// clone.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<CacheInner>,
}

struct CacheInner {
    disk: DiskIo,
    bucket: Option<BucketState>,
    lookups: LookupCache,
    digests: moka::future::Cache<(Sha256, Algorithm), Digest>,
    on_change: OnChange,
    events: EventSink,
}

impl Cache {
    /// Opens the folder, creates what is missing, takes a slot in it and reclaims what dead
    /// processes left. Sends nothing to the bucket. In [`OpenMode::Maintenance`] nothing is
    /// evicted, and nothing that the serving processes have to upload is uploaded.
    ///
    /// # Errors
    /// [`OpenError`] if the folder cannot be used, or a secret of the bucket cannot be read.
    pub fn open(
        config: &Config,
        bucket: Option<BucketConfig>,
        mode: OpenMode,
        events: EventSink,
    ) -> Result<Self, OpenError> {
        let bucket = bucket.map(|bucket| Bucket::new(bucket, events.clone()));
        let bucket = bucket.transpose().map_err(OpenError::Bucket)?;
        let id = bucket.as_ref().map(Bucket::id);
        let disk = DiskStore::open(config.disk(), mode, id.as_deref(), events.clone())?;
        let unusable = |why| OpenError::Folder {
            path: config.dir.clone(),
            why,
        };
        Ok(Self {
            inner: Arc::new(CacheInner {
                disk: DiskIo::new(disk).map_err(unusable)?,
                bucket: bucket.map(|bucket| BucketState::new(bucket, config)),
                lookups: LookupCache::new(config),
                digests: moka::future::Cache::new(MAX_DIGESTS),
                on_change: config.on_change,
                events,
            }),
        })
    }

    /// Looks a target up, in memory if possible. Callers for one key share one look-up.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn lookup(&self, key: Key) -> Result<TargetLookup, Arc<CacheError>> {
        let inner = &self.inner;
        if let Some(lookup) = inner.lookups.get(key).await {
            return Ok(lookup);
        }
        if inner.bucket.is_none() && records::is_surely_absent(&inner.disk.store().layout, key) {
            return Ok(TargetLookup::NeverStored);
        }
        inner
            .lookups
            .get_or_look_up(key, open::look_up(self, key))
            .await
    }

    /// Looks a target up on the disk and in the bucket, whatever is remembered: another process may
    /// have published it.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn lookup_uncached(&self, key: Key) -> Result<TargetLookup, Arc<CacheError>> {
        let lookup = open::look_up(self, key).await.map_err(Arc::new)?;
        self.inner.lookups.insert(key, lookup.clone()).await;
        Ok(lookup)
    }

    /// Opens the object of a record, on the disk or else in the bucket. Returns `None` if neither
    /// has it.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read, and the bucket does not have the object
    /// either.
    pub async fn open_record(
        &self,
        key: Key,
        record: Arc<Record>,
    ) -> Result<Option<Hit>, CacheError> {
        open::open_record(self, key, record).await
    }

    /// Returns a hit on the disk: an object in the bucket is promoted first.
    ///
    /// # Errors
    /// [`CacheError`] if the object cannot be had, or not be stored.
    pub async fn ensure_on_disk(&self, hit: Hit) -> Result<FileHit, CacheError> {
        match hit {
            Hit::OnDisk(hit) => Ok(hit),
            Hit::InBucket(hit) => promote::promote(self, &hit.record).await,
        }
    }

    /// Computes another digest of a hit from its file, once. Callers at the same time share the
    /// work.
    ///
    /// # Errors
    /// [`CacheError`] if the file could not be read.
    pub async fn digest_of(
        &self,
        hit: &FileHit,
        algorithm: Algorithm,
    ) -> Result<Digest, Arc<CacheError>> {
        let file = hit.file().clone();
        let compute = async move { Ok(file.digest(algorithm).await?) };
        self.inner
            .digests
            .try_get_with((hit.record.sha256, algorithm), compute)
            .await
    }

    /// Begins to store a body, of `length` bytes if that is known. Reserves space, and evicts if
    /// there is too little.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the body does not fit.
    pub async fn stage(&self, length: Option<u64>, hasher: Hasher) -> Result<Staging, CacheError> {
        Ok(Staging::begin(&self.inner.disk, length, hasher).await?)
    }

    /// Publishes a sealed body under `record`.
    ///
    /// # Errors
    /// [`CacheError`] if the disk refuses. Then nothing is published, or only an object that no
    /// record names.
    pub async fn publish(&self, sealed: Sealed, record: Record) -> Result<Published, CacheError> {
        let key = record.key();
        let class = IoClass::Durable {
            size_bytes: sealed.size_bytes,
        };
        let published = self
            .inner
            .disk
            .run(class, move |disk| publish::publish(disk, &sealed, &record))
            .await?;
        self.inner
            .lookups
            .insert(key, TargetLookup::Known(Arc::clone(&published.records)))
            .await;
        self.notify_upload();
        Ok(published)
    }

    /// Acquires the lease of a target: one process of the folder holds it at a time.
    ///
    /// # Errors
    /// [`CacheError`] if the disk refuses, or knows no locks.
    pub async fn lease(&self, key: Key) -> Result<Acquire, CacheError> {
        Ok(lease::acquire(&self.inner.disk, key).await?)
    }

    /// Whether a process holds the lease of a target.
    ///
    /// # Errors
    /// As [`Cache::lease`].
    pub async fn is_leased(&self, key: Key) -> Result<bool, CacheError> {
        Ok(self
            .inner
            .disk
            .run(IoClass::Request, move |disk| {
                lease::is_held(&disk.layout, key)
            })
            .await?)
    }

    /// As [`Cache::is_leased`], but a hint from memory.
    #[must_use]
    pub fn is_probably_leased(&self, key: Key) -> bool {
        lease::is_probably_held(&self.inner.disk.store().layout, key)
    }

    /// The executor of disk work.
    #[must_use]
    pub fn disk(&self) -> &DiskIo {
        &self.inner.disk
    }

    #[must_use]
    pub fn bucket(&self) -> Option<&Bucket> {
        self.inner.bucket.as_ref().map(|state| &state.bucket)
    }

    /// Health of the disk, as the last probe saw it.
    #[must_use]
    pub fn health(&self) -> DiskHealth {
        self.inner.disk.health()
    }

    /// Operations of operators.
    #[must_use]
    pub fn admin(&self) -> CacheAdmin<'_> {
        CacheAdmin::new(self)
    }

    /// Exchange with the bucket, if there is one.
    #[must_use]
    pub fn replication(&self) -> Option<Replication> {
        Replication::new(self)
    }

    /// Forgets the remembered look-up of a target.
    pub async fn invalidate(&self, key: Key) {
        self.inner.lookups.invalidate(key).await;
    }

    /// Evicts down to the low watermark if the high watermark is passed.
    ///
    /// # Errors
    /// [`CacheError`] if index or disk refuse.
    pub async fn evict_to_low_watermark(&self) -> Result<(), CacheError> {
        Ok(self
            .inner
            .disk
            .run(IoClass::Maintenance, evict::evict_to_low_watermark)
            .await?)
    }

    /// Releases reservations and leases of dead processes.
    ///
    /// # Errors
    /// [`CacheError`] if index or disk refuse.
    pub async fn reclaim_dead_processes(&self) -> Result<(), CacheError> {
        Ok(self
            .inner
            .disk
            .run(IoClass::Request, DiskStore::reclaim_dead_processes)
            .await?)
    }

    /// Releases the slot in the folder at the end of the process, and removes staged bodies.
    pub async fn close(&self) {
        let flushed = self
            .inner
            .disk
            .run(IoClass::Request, |disk| disk.index.flush_access_times());
        if let Err(error) = flushed.await {
            tracing::warn!(%error, "access times of objects were not stored");
        }
        if let Err(error) = self
            .inner
            .disk
            .run(IoClass::Request, DiskStore::close)
            .await
        {
            tracing::warn!(%error, "staging folder was not removed; the next start removes it");
        }
    }

    fn notify_upload(&self) {
        if let Some(state) = &self.inner.bucket {
            state.uploads.notify_one();
        }
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("disk", &self.inner.disk.store())
            .finish_non_exhaustive()
    }
}
