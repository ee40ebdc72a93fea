//! The exchange with the bucket, for the background tasks.

use std::time::Duration;

use super::bucket_inventory::{self, InventoryReport};
use super::bucket_state::BucketState;
use super::error::CacheError;
use super::handle::Cache;
use super::promote;
use super::tier_copy::{self, Tier, TierCopy, TierPart};
use super::upload_worker::{self, QueuePoll};
use crate::model::{Key, Sha256};

/// Uploads, promotions and inventories of a cache with a bucket.
#[derive(Debug, Clone)]
pub struct Replication {
    cache: Cache,
}

impl Replication {
    pub(super) fn new(cache: &Cache) -> Option<Self> {
        cache.inner.bucket.as_ref().map(|_| Self {
            cache: cache.clone(),
        })
    }

    fn state(&self) -> &BucketState {
        self.cache
            .inner
            .bucket
            .as_ref()
            .expect("a replication is created with a bucket")
    }

    /// Waits until an upload is queued, at most `timeout`.
    pub async fn wait_for_upload(&self, timeout: Duration) {
        // The caller reads the queue in either case.
        let _ = tokio::time::timeout(timeout, self.state().uploads.notified()).await;
    }

    /// Uploads the object that is due first.
    ///
    /// # Errors
    /// [`CacheError`] if the upload failed. It stays in the queue.
    pub async fn upload_next(&self) -> Result<QueuePoll, CacheError> {
        upload_worker::upload_next(&self.cache, self.state()).await
    }

    /// Waits for the next promotion request, and copies that object to the disk if possible.
    pub async fn run_promotion(&self) {
        let record = self.state().next_promotion().await;
        let (sha256, size_bytes) = (record.sha256, record.size_bytes);
        match promote::promote(&self.cache, &record).await {
            Ok(_) => tracing::info!(%sha256, size_bytes, "promoted object from the bucket"),
            Err(error) => tracing::warn!(%error, %sha256, "promotion from the bucket failed"),
        }
        self.state().finish_promotion(sha256);
    }

    /// Waits for the next use of an object, and stores it in the bucket if possible.
    pub async fn store_next_use(&self) {
        self.state().store_next_use().await;
    }

    /// Returns target and digest of records of a tier.
    ///
    /// # Errors
    /// [`CacheError`] if the tier cannot be read.
    pub async fn list(&self, from: Tier, part: TierPart) -> Result<Vec<(Key, Sha256)>, CacheError> {
        tier_copy::list(&self.cache, self.state(), from, part).await
    }

    /// Copies a record with its object to a tier, unless it has both. Evicts nothing for it.
    ///
    /// # Errors
    /// [`CacheError`] if a tier fails.
    pub async fn copy(&self, record: (Key, Sha256), to: Tier) -> Result<TierCopy, CacheError> {
        match to {
            Tier::Disk => tier_copy::copy_to_disk(&self.cache, self.state(), record).await,
            Tier::Bucket => tier_copy::copy_to_bucket(&self.cache, self.state(), record).await,
        }
    }

    /// Lists the bucket, and updates the index and the markers.
    ///
    /// # Errors
    /// [`CacheError`] if a tier fails. Results of earlier pages stay recorded.
    pub async fn sync_bucket_inventory(&self) -> Result<InventoryReport, CacheError> {
        bucket_inventory::sync_bucket_inventory(&self.cache, self.state()).await
    }
}
