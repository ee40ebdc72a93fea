//! Promotion: copies objects from the bucket to the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::CacheError;
use super::handle::Cache;
use super::{bucket_findings, open};
use crate::bucket::{Bucket, BucketError, MAX_REPLICAS};
use crate::disk::{DiskError, FileHit, IoClass, Sealed};
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
    // Another request may have promoted the object while this one waited.
    if let Some(hit) = open::open_file(cache, Arc::clone(record)).await? {
        return Ok(hit);
    }
    let place = state.downloads.register(record);
    let downloaded = download(cache, &state.bucket, record, &place.received_bytes).await;
    let sealed = match downloaded {
        Ok(sealed) => sealed,
        Err(error) => {
            if let CacheError::Bucket(error) = &error {
                bucket_findings::mark_suspect(cache, record, error).await;
            }
            return Err(error);
        }
    };
    let sha256 = record.sha256;
    // The bucket's copy is intact, so no upload is needed.
    let marked = cache.disk().run(IoClass::Maintenance, move |disk| {
        Ok::<_, DiskError>(
            disk.markers
                .as_ref()
                .map(|markers| markers.set_object(sha256))
                .transpose()?,
        )
    });
    marked.await?;
    cache.publish_recorded(sealed, (**record).clone()).await?;
    open::open_file(cache, Arc::clone(record))
        .await?
        .ok_or_else(not_found)
}

/// Downloads the object of a record, and verifies its digest. Adds the bytes to `received_bytes`.
pub async fn download(
    cache: &Cache,
    bucket: &Bucket,
    record: &Record,
    received_bytes: &AtomicU64,
) -> Result<Sealed, CacheError> {
    for _ in 0..MAX_REPLICAS {
        match download_once(cache, bucket, record, received_bytes).await {
            // It is asked for this object no more, and the bucket itself comes last.
            Err(CacheError::Bucket(BucketError::DamagedReplica)) => {}
            downloaded => return downloaded,
        }
    }
    download_once(cache, bucket, record, received_bytes).await
}

async fn download_once(
    cache: &Cache,
    bucket: &Bucket,
    record: &Record,
    received_bytes: &AtomicU64,
) -> Result<Sealed, CacheError> {
    let hasher = Hasher::new(&ExpectedDigests::nothing());
    let mut staging = cache.stage(Some(record.size_bytes), hasher).await?;
    if let Some(last) = record.size_bytes.checked_sub(1) {
        let whole = ByteRange { first: 0, last };
        let mut body = bucket
            .open_object(record.sha256, record.size_bytes, whole)
            .await?;
        while let Some(chunk) = body.next().await? {
            received_bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            staging.append(chunk).await?;
        }
    }
    let finished = staging.finish()?;
    if finished.digests.sha256 != record.sha256 {
        return Err(BucketError::Damaged.into());
    }
    Ok(finished.seal().await?)
}
