//! What comes back from the bucket, and what the bucket is told of uses.

use std::sync::Arc;

use super::{BucketError, FileHit, Hit, Store, StoreError, blocking};
use crate::model::Record;

impl Store {
    /// A hit on the disk: what is in the bucket is brought back first.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be had, or not be kept.
    pub async fn on_disk(&self, hit: Hit) -> Result<FileHit, StoreError> {
        match hit {
            Hit::OnDisk(hit) => Ok(hit),
            Hit::InBucket(hit) => self.bring_back(&hit.record).await,
        }
    }

    /// Returns once an object is wanted back on the disk, and has been brought there if that was possible.
    pub async fn bring_next_back(&self) {
        let Some(tier) = &self.shared.tier else { return std::future::pending().await };
        let Some(record) = tier.wanted_back.lock().await.recv().await else { return };
        let (sha256, size_bytes) = (record.sha256, record.size_bytes);
        match self.bring_back(&record).await {
            Ok(_) => tracing::info!(%sha256, size_bytes, "an object was brought back from the bucket"),
            Err(error) => tracing::warn!(%error, %sha256, "an object was not brought back from the bucket"),
        }
        tier.asked.invalidate(&sha256);
    }

    /// Returns once an object was used, and the bucket was told so if that was possible.
    pub async fn mark_next_use(&self) {
        let Some(tier) = &self.shared.tier else { return std::future::pending().await };
        let Some(sha256) = tier.uses_to_mark.lock().await.recv().await else { return };
        if let Err(error) = tier.bucket.put_use(sha256).await {
            tracing::debug!(%error, %sha256, "the bucket was not told of a use");
            tier.marked.invalidate(&sha256);
        }
    }

    pub(super) async fn bring_back(&self, record: &Arc<Record>) -> Result<FileHit, StoreError> {
        let gone = || StoreError::Bucket(BucketError::Absent);
        let tier = self.shared.tier.as_ref().ok_or_else(gone)?;
        let _turn = tier.returning.acquire().await.expect("this semaphore is never closed");
        // Somebody else may have brought it meanwhile.
        if let Some(hit) = self.open_file(Arc::clone(record)).await? {
            return Ok(hit);
        }
        let sealed = match self.download(&tier.bucket, record).await {
            Ok(sealed) => sealed,
            Err(error) => {
                if let StoreError::Bucket(error) = &error {
                    self.doubt(record, error).await;
                }
                return Err(error);
            }
        };
        // It is up already, and was found to be right.
        let (markers, sha256) = (tier.markers.clone(), record.sha256);
        blocking(move || Ok(markers.set_object(sha256)?)).await?;
        self.publish(sealed, (**record).clone()).await?;
        self.open_file(Arc::clone(record)).await?.ok_or_else(gone)
    }
}
