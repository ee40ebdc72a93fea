//! Operations of the cache across its tiers: look-ups, opens, promotion and restores.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::admin::CacheAdmin;
use super::bucket_downloads::BucketDownloadView;
use super::catalog_access::CatalogAccess;
use super::error::CacheError;
use super::handle::Cache;
use super::hit::Hit;
use super::object_pieces::ObjectPieces;
use super::observations::Observations;
use super::own_files::OwnFiles;
use super::replication::Replication;
use super::verification::Verification;
use super::{lookup, open, promote};
use crate::bucket::{Bucket, BucketError};
use crate::disk::{FileHit, Placement, Published, Sealed, TargetLookup, records};
use crate::limits::PoolClient;
use crate::model::{Key, Record, Sha256, Target};

impl Cache {
    /// Looks a target up, in memory if possible. Concurrent calls for one target share one look-up.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read.
    pub async fn lookup(&self, target: &Target) -> Result<TargetLookup, Arc<CacheError>> {
        let inner = &self.inner;
        if let Some(known) = inner.lookups.get(target) {
            return Ok(known);
        }
        let is_absent = || records::is_surely_absent(inner.disk.store(), Key::new(target));
        if inner.bucket.is_none() && is_absent() {
            return Ok(TargetLookup::NeverStored);
        }
        // A lookup in memory must not carry the large future of one on the disk.
        let look_up = lookup::look_up(self, target);
        Box::pin(inner.lookups.look_up(target, look_up)).await
    }

    /// Looks a target up on the disk and in the bucket. Ignores memory, because another process may
    /// have published the target.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub async fn lookup_uncached(&self, target: &Target) -> Result<TargetLookup, Arc<CacheError>> {
        let found = lookup::look_up(self, target).await.map_err(Arc::new)?;
        self.inner.lookups.insert(Key::new(target), &found);
        Ok(found)
    }

    /// Publishes a sealed body under a new record, which gets the next generation of its target,
    /// and queues its upload.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be written. Then nothing is published, or only an object
    /// that no record names.
    pub async fn publish(&self, sealed: Sealed, record: Record) -> Result<Published, CacheError> {
        lookup::import_before_first(self, record.key()).await;
        let placement = Placement::New(self.acceptance());
        self.publish_placed(sealed, record, placement).await
    }

    /// Makes a stored object the first candidate for eviction, until it is used.
    pub fn evict_first(&self, sha256: Sha256) {
        let disk = self.inner.disk.store();
        disk.index.lru().record_unused(sha256);
    }

    /// Publishes a sealed body under a record that has its generation already, from a replica.
    ///
    /// # Errors
    /// As [`Cache::publish`].
    pub async fn publish_recorded(
        &self,
        sealed: Sealed,
        record: Record,
    ) -> Result<Published, CacheError> {
        self.publish_placed(sealed, record, Placement::Recorded)
            .await
    }

    /// Opens the object of a record, on the disk or else in the bucket. Returns `None` if neither
    /// has it.
    ///
    /// # Errors
    /// [`CacheError`] if the disk could not be read, and the bucket does not have the object.
    pub async fn open_record(
        &self,
        key: Key,
        record: Arc<Record>,
    ) -> Result<Option<Hit>, CacheError> {
        open::open_record(self, key, record).await
    }

    /// Returns a hit on the disk. An object in the bucket is promoted first.
    ///
    /// # Errors
    /// [`CacheError`] if the object could not be downloaded or stored.
    pub async fn ensure_on_disk(&self, hit: Hit) -> Result<FileHit, CacheError> {
        match hit {
            Hit::OnDisk(hit) => Ok(hit),
            Hit::InBucket(hit) => promote::promote(self, &hit.record).await,
        }
    }

    /// Restores an object from the bucket. Returns false if the bucket does not have the right
    /// bytes.
    ///
    /// # Errors
    /// [`CacheError`] if the bucket does not answer, or the object could not be stored.
    pub async fn restore(&self, record: &Arc<Record>) -> Result<bool, CacheError> {
        match promote::promote(self, record).await {
            Ok(_) => Ok(true),
            Err(CacheError::Bucket(BucketError::NotFound | BucketError::Damaged)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Downloads the object of a record from any bucket, and verifies its digest.
    ///
    /// # Errors
    /// [`CacheError`] if the object could not be downloaded or stored, or is damaged.
    pub async fn download(&self, bucket: &Bucket, record: &Record) -> Result<Sealed, CacheError> {
        promote::download(self, bucket, record, &AtomicU64::new(0)).await
    }

    /// Returns the copies from the bucket to the disk that run now, the oldest first.
    #[must_use]
    pub fn bucket_downloads(&self) -> Vec<BucketDownloadView> {
        let state = self.inner.bucket.as_ref();
        state.map_or_else(Vec::new, |state| state.downloads.views())
    }

    /// Operations of operators.
    #[must_use]
    pub fn admin(&self) -> CacheAdmin<'_> {
        CacheAdmin::new(self)
    }

    /// Verification of stored objects.
    #[must_use]
    pub fn verification(&self) -> Verification<'_> {
        Verification {
            cache: self,
            client: PoolClient::Own,
        }
    }

    /// Entries of files, by name and by digest.
    #[must_use]
    pub fn catalog(&self) -> CatalogAccess<'_> {
        CatalogAccess { cache: self }
    }

    /// Pieces of large objects.
    #[must_use]
    pub fn pieces(&self) -> ObjectPieces<'_> {
        ObjectPieces { cache: self }
    }

    /// Newest responses of targets whose bytes may change.
    #[must_use]
    pub fn observations(&self) -> Observations<'_> {
        Observations { cache: self }
    }

    /// Storing of files that an operator has on this machine.
    #[must_use]
    pub fn own_files(&self) -> OwnFiles<'_> {
        OwnFiles { cache: self }
    }

    /// Exchange with the bucket, if there is one.
    #[must_use]
    pub fn replication(&self) -> Option<Replication> {
        Replication::new(self)
    }
}
