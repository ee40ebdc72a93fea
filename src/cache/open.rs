//! Opens objects: on the disk first, then in the bucket.

use std::sync::Arc;
use std::time::SystemTime;

use super::bucket_findings;
use super::bucket_state::BucketState;
use super::error::CacheError;
use super::handle::Cache;
use super::hit::{BucketHit, Hit};
use crate::bucket::BucketError;
use crate::disk::{DiskError, FileHit, IoClass, since_epoch};
use crate::model::{Key, Record};

/// Opens the object of a record, on the disk or else in the bucket.
pub async fn open_record(
    cache: &Cache,
    key: Key,
    record: Arc<Record>,
) -> Result<Option<Hit>, CacheError> {
    let opened = open_file(cache, Arc::clone(&record)).await;
    if let Ok(Some(hit)) = opened {
        return Ok(Some(Hit::OnDisk(hit)));
    }
    if let Some(state) = &cache.inner.bucket
        && Box::pin(is_in_bucket(cache, state, &record)).await
    {
        return Ok(Some(Hit::InBucket(BucketHit::new(
            record,
            state.bucket.clone(),
            cache.clone(),
        ))));
    }
    cache.invalidate(key);
    Ok(opened.map(|_| None)?)
}

/// Opens the object of a record on the disk, and records the access.
pub async fn open_file(cache: &Cache, record: Arc<Record>) -> Result<Option<FileHit>, DiskError> {
    let (sha256, store) = (record.sha256, cache.disk().store());
    if store.is_unreadable(sha256) {
        return Ok(None);
    }
    let hit = cache.disk().open_hit(record).await?;
    if hit.is_some() {
        store.index.lru().record_access(sha256);
        if let Some(state) = &cache.inner.bucket {
            state.record_use(sha256);
        }
    }
    Ok(hit)
}

/// Whether the bucket has a record's object. One listing answers for a thousand objects.
async fn is_in_bucket(cache: &Cache, state: &BucketState, record: &Record) -> bool {
    let (sha256, size_bytes) = (record.sha256, record.size_bytes);
    // While the bucket fails, memory is not used. The circuit breaker lets single requests
    // through, which find out whether the bucket has recovered.
    if !state.bucket.is_failing() {
        if let Some(is_present) = state.is_present(sha256) {
            return is_present;
        }
        let since = since_epoch(SystemTime::now() - state.positive_ttl());
        let was_seen = cache.disk().run(IoClass::Request, move |disk| {
            disk.index
                .bucket_objects()
                .was_seen(sha256, size_bytes, since)
        });
        if matches!(was_seen.await, Ok::<_, DiskError>(true)) {
            state.set_present(sha256, true);
            return true;
        }
    }
    let seen = match state.bucket.list_objects_from(sha256).await {
        Ok(listed) => bucket_findings::record_listing(cache, state, &listed).await,
        Err(error) => {
            tracing::debug!(%error, %sha256, "object was not looked up in the bucket");
            return false;
        }
    };
    match seen.iter().find(|(seen, _)| *seen == sha256) {
        Some((_, seen_bytes)) if *seen_bytes == size_bytes => {
            state.set_present(sha256, true);
            return true;
        }
        Some(_) => bucket_findings::mark_suspect(cache, record, &BucketError::Damaged).await,
        None => {
            let was_uploaded = cache.disk().run(IoClass::Request, move |disk| {
                Ok::<_, DiskError>(
                    disk.markers
                        .as_ref()
                        .is_some_and(|markers| markers.has_object(sha256)),
                )
            });
            if was_uploaded.await.unwrap_or_default() {
                bucket_findings::mark_suspect(cache, record, &BucketError::NotFound).await;
            } else {
                state.set_present(sha256, false);
            }
        }
    }
    false
}
