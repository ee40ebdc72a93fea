//! The handle of the cache, and its operations on one tier.

use std::sync::Arc;

use super::bucket_state::BucketState;
use super::config::{Config, OnChange};
use super::error::CacheError;
use super::leases::TargetLeases;
use super::lookup_cache::LookupCache;
use super::object_verifier::ObjectVerifier;
use super::staging_pool::StagingPool;
use crate::bucket::{Bucket, Config as BucketConfig};
use crate::disk::{
    DiskError, DiskHealth, DiskIo, DiskStore, IoClass, NewBody, ObjectClass, OpenError, OpenMode,
    Placement, Published, Sealed, SpaceUse, Staging, TargetLookup, publish,
};
use crate::freshness::ReusePolicy;
use crate::limits::{ClientShare, Readership};
use crate::model::{EventSink, Hasher, Key, Record};

/// The cache of this process. Other processes may use the same folder and the same bucket. Cheap to
/// clone.
#[derive(Clone)]
pub struct Cache {
    pub(super) inner: Arc<CacheInner>,
}

pub(super) struct CacheInner {
    pub disk: DiskIo,
    pub bucket: Option<BucketState>,
    pub lookups: LookupCache,
    pub verifier: ObjectVerifier,
    pub staging_pool: StagingPool,
    pub on_change: OnChange,
    pub reuse_policy: ReusePolicy,
    pub events: EventSink,
}

impl Cache {
    /// Opens the folder, creates missing parts, takes a slot and reclaims the slots of dead
    /// processes. Sends nothing to the bucket.
    ///
    /// In [`OpenMode::Maintenance`] this process evicts nothing, and does not upload objects that
    /// the serving processes have queued.
    ///
    /// # Errors
    /// [`OpenError`] if the folder cannot be used, or a secret of the bucket cannot be read.
    pub fn open(
        config: &Config,
        bucket: Option<BucketConfig>,
        mode: OpenMode,
        share: &ClientShare,
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
                verifier: ObjectVerifier::new(config.verified_for.0, share),
                staging_pool: StagingPool::new(config.max_size.bytes, share),
                on_change: config.on_change,
                reuse_policy: config.reuse_policy(),
                events,
            }),
        })
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

    /// Health of the disk at the last probe.
    #[must_use]
    pub fn health(&self) -> DiskHealth {
        self.inner.disk.health()
    }

    /// Describes what is wrong with the index, if anything. The cache works without its file.
    #[must_use]
    pub fn index_error(&self) -> Option<String> {
        self.inner.disk.store().index.trouble()
    }

    /// Begins to store a body of `length` bytes, or of unknown length, which no client has begun.
    /// Reserves space for it. Bytes that arrive evict objects if there is too little.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`](super::DiskError::NoSpace) if the body does not fit.
    pub async fn stage(&self, length: Option<u64>, hasher: Hasher) -> Result<Staging, CacheError> {
        self.stage_as(length, hasher, SpaceUse::Own).await
    }

    /// Does the same as [`Cache::stage`] for a body that clients read. It takes a share of the
    /// space for unfinished bodies.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`](super::DiskError::NoSpace) if the body does not fit.
    pub async fn stage_for(
        &self,
        readership: &Readership,
        length: Option<u64>,
        hasher: Hasher,
    ) -> Result<Staging, CacheError> {
        let space_use = self.inner.staging_pool.share_with(readership, length)?;
        self.stage_as(length, hasher, space_use).await
    }

    async fn stage_as(
        &self,
        length: Option<u64>,
        hasher: Hasher,
        space_use: SpaceUse,
    ) -> Result<Staging, CacheError> {
        let body = NewBody {
            class: ObjectClass::Recorded,
            length,
            hasher,
            space_use,
        };
        Ok(Staging::begin(&self.inner.disk, body).await?)
    }

    /// Publishes a sealed body under a record, which `placement` puts among those of its target.
    pub(super) async fn publish_placed(
        &self,
        sealed: Sealed,
        record: Record,
        placement: Placement,
    ) -> Result<Published, CacheError> {
        let key = record.key();
        let class = IoClass::Durable {
            size_bytes: sealed.size_bytes,
        };
        let sha256 = record.sha256;
        let publish = move |disk: &DiskStore| {
            let published = publish::publish(disk, &sealed, &record, placement)?;
            Ok::<_, DiskError>((published, disk.layout.object_stamp(sha256)))
        };
        let (published, stamp) = self.inner.disk.run(class, publish).await?;
        if let Some(stamp) = stamp {
            self.inner.verifier.mark_intact(sha256, stamp).await;
        }
        self.announce(key, &published);
        Ok(published)
    }

    /// Creates a record for an object that only observations named so far, and queues its upload.
    /// Returns whether the object was stored.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be written. Then the record is missing.
    pub async fn adopt(&self, record: Record) -> Result<bool, CacheError> {
        let key = record.key();
        let class = IoClass::Durable { size_bytes: 0 };
        let adopt = move |disk: &DiskStore| publish::adopt(disk, &record);
        let adopted = self.inner.disk.run(class, adopt).await?;
        if let Some(published) = &adopted {
            self.announce(key, published);
        }
        Ok(adopted.is_some())
    }

    /// Remembers the records of a target, and wakes the upload task.
    fn announce(&self, key: Key, published: &Published) {
        match &published.lookup {
            // The bucket may have the bytes that the target must have.
            TargetLookup::NeverStored => self.inner.lookups.invalidate(key),
            lookup => self.inner.lookups.insert(key, lookup),
        }
        self.notify_upload();
    }

    /// Leases of targets, which the processes of the folder share.
    #[must_use]
    pub fn leases(&self) -> TargetLeases<'_> {
        TargetLeases::new(&self.inner.disk)
    }

    /// Removes the look-up of a target from memory.
    pub fn invalidate(&self, key: Key) {
        self.inner.lookups.invalidate(key);
    }

    /// Frees the memory of look-ups that are no longer valid. Visits all of them, so that a million
    /// take some 0.1 s.
    pub fn remove_expired_lookups(&self) {
        self.inner.lookups.remove_expired();
    }

    /// Releases the slot in the folder at the end of the process, and removes staged bodies.
    pub async fn close(&self) {
        let flushed = self.inner.disk.run(IoClass::Request, DiskStore::flush);
        if let Err(error) = flushed.await {
            tracing::warn!(%error, "access times of objects were not stored");
        }
        if let Err(error) = self
            .inner
            .disk
            .run(IoClass::Request, DiskStore::close)
            .await
        {
            tracing::warn!(%error, "staging folder was not removed, will retry at the next start");
        }
    }

    /// Wakes the upload task.
    pub(super) fn notify_upload(&self) {
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
