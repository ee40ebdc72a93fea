//! Records in memory and in the index which objects the bucket has, lacks, or has damaged.

use super::bucket_state::BucketState;
use super::handle::Cache;
use crate::bucket::{BucketError, ListedKey};
use crate::disk::{DiskError, IoClass, PendingUpload, records};
use crate::model::{Record, Sha256};

/// Records the objects that a listing shows. Returns them with their lengths in bytes.
pub async fn record_listing(
    cache: &Cache,
    state: &BucketState,
    listed: &[ListedKey],
) -> Vec<(Sha256, u64)> {
    let seen = listed.iter().filter_map(|listed| {
        Some((
            state.bucket.keys().object_digest(&listed.name)?,
            listed.size_bytes,
        ))
    });
    let seen: Vec<_> = seen.collect();
    let recorded = seen.clone();
    let recorded = cache.disk().run(IoClass::Maintenance, move |disk| {
        disk.index.bucket_objects().record(&recorded)
    });
    if let Err(error) = recorded.await {
        tracing::debug!(%error, "objects of the bucket were not recorded");
    }
    seen
}

/// Records that the bucket lost an object or has a damaged copy, if `error` says so. If the disk
/// has the object, its upload is queued again.
pub async fn mark_suspect(cache: &Cache, record: &Record, error: &BucketError) {
    let Some(state) = &cache.inner.bucket else {
        return;
    };
    if !matches!(error, BucketError::NotFound | BucketError::Damaged) {
        return;
    }
    let sha256 = record.sha256;
    tracing::error!(%error, %sha256, "bucket lost an object");
    state.set_present(sha256, false);
    if matches!(error, BucketError::Damaged) {
        state.set_suspect(sha256);
    }
    let record = record.clone();
    let requeued = cache.disk().run(IoClass::Request, move |disk| {
        disk.index.bucket_objects().remove(sha256)?;
        // The upload is queued before the marker is cleared, so that a crash does not lose it.
        if records::is_cached(&disk.layout, &record) {
            disk.index.uploads().enqueue(&[PendingUpload {
                key: record.key(),
                sha256,
            }])?;
        }
        if let Some(markers) = &disk.markers {
            markers.clear_object(sha256)?;
        }
        Ok::<_, DiskError>(())
    });
    match requeued.await {
        Ok(()) => state.uploads.notify_one(),
        Err(error) => tracing::warn!(%error, %sha256, "object was not queued for upload again"),
    }
}
