//! Promotion: copying objects from the bucket to the disk.

use std::sync::Arc;

use super::{Bucket, BucketError, Cache, CacheError, FileHit, Sealed, bucket_findings, open};
use crate::disk::{DiskError, IoClass};
use crate::model::{ByteRange, ExpectedDigests, Hasher, Record};

/// Promotes an object, unless it is on the disk already.
pub async fn promote(cache: &Cache, record: &Arc<Record>) -> Result<FileHit, CacheError> {
    let not_found = || CacheError::Bucket(BucketError::NotFound);
    let state = cache.inner.bucket.as_ref().ok_or_else(not_found)?;
    let _permit = state
        .promotions
        .acquire()
        .await
        .expect("this semaphore is never closed");
    // Another request may have promoted it meanwhile.
    if let Some(hit) = open::open_file(cache, Arc::clone(record)).await? {
        return Ok(hit);
    }
    let sealed = match cache.download(&state.bucket, record).await {
        Ok(sealed) => sealed,
        Err(error) => {
            if let CacheError::Bucket(error) = &error {
                bucket_findings::mark_suspect(cache, record, error).await;
            }
            return Err(error);
        }
    };
    let sha256 = record.sha256;
    // The bucket has it, with the right bytes: no upload is needed.
    let marked = cache.disk().run(IoClass::Maintenance, move |disk| {
        Ok::<_, DiskError>(
            disk.markers
                .as_ref()
                .map(|markers| markers.set_object(sha256))
                .transpose()?,
        )
    });
    marked.await?;
    cache.publish(sealed, (**record).clone()).await?;
    open::open_file(cache, Arc::clone(record))
        .await?
        .ok_or_else(not_found)
}

impl Cache {
    /// Restores an object from the bucket. Returns false if the bucket does not have the right
    /// bytes.
    ///
    /// # Errors
    /// [`CacheError`] if the bucket does not answer, or the object cannot be stored.
    pub async fn restore(&self, record: &Arc<Record>) -> Result<bool, CacheError> {
        match promote(self, record).await {
            Ok(_) => Ok(true),
            Err(CacheError::Bucket(BucketError::NotFound | BucketError::Damaged)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Downloads the object of a record from a bucket, and compares it with its digest.
    ///
    /// # Errors
    /// [`CacheError`] if the bucket does not give it, or it cannot be stored.
    pub async fn download(&self, bucket: &Bucket, record: &Record) -> Result<Sealed, CacheError> {
        let mut staging = self
            .stage(
                Some(record.size_bytes),
                Hasher::new(&ExpectedDigests::nothing()),
            )
            .await?;
        if let Some(last) = record.size_bytes.checked_sub(1) {
            let whole = ByteRange { first: 0, last };
            let mut body = bucket
                .open_object(record.sha256, record.size_bytes, whole)
                .await?;
            while let Some(piece) = body.next().await? {
                staging.append(piece).await?;
            }
        }
        let finished = staging.finish()?;
        if finished.digests.sha256 != record.sha256 {
            return Err(BucketError::Damaged.into());
        }
        Ok(finished.seal().await?)
    }
}
