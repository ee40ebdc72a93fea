//! Look-ups and opens: on the disk first, then in the bucket.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::bucket_findings;
use super::bucket_state::BucketState;
use super::error::CacheError;
use super::handle::Cache;
use super::hit::{BucketHit, Hit};
use super::pin_sync::import_pins;
use crate::bucket::BucketError;
use crate::disk::{
    DiskError, FileHit, IoClass, TargetLookup, TargetRecords, publish, records, since_epoch,
};
use crate::model::{Key, Record};

/// Timeout for reading a target's records from the bucket. After it the request is a miss.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// Looks a target up on the disk, then in the bucket. Records that only the bucket has are
/// imported.
pub async fn look_up(cache: &Cache, key: Key) -> Result<TargetLookup, CacheError> {
    let disk = cache.disk();
    let on_disk = disk
        .run(IoClass::Request, move |disk| {
            records::look_up(&disk.layout, key)
        })
        .await;
    let Some(state) = &cache.inner.bucket else {
        return Ok(on_disk?);
    };
    if let Ok(TargetLookup::Known(_)) = on_disk {
        return Ok(on_disk?);
    }
    let timed_out = || BucketError::Unavailable("no answer in time".to_owned());
    let found = timeout(LOOKUP_TIMEOUT, state.bucket.records().read_all(key))
        .await
        .unwrap_or_else(|_| Err(timed_out()));
    match found {
        Ok(found) if found.is_empty() => Ok(on_disk?),
        Ok(found) => {
            let known = TargetRecords::new(found.clone(), None, |_| false);
            import_records(cache, found).await;
            import_pins(cache, key).await;
            match disk
                .run(IoClass::Request, move |disk| {
                    records::look_up(&disk.layout, key)
                })
                .await
            {
                Ok(TargetLookup::Known(known)) => Ok(TargetLookup::Known(known)),
                // The records are used even if they could not be imported.
                _ => known.map_or_else(
                    || Ok(on_disk?),
                    |known| Ok(TargetLookup::Known(Arc::new(known))),
                ),
            }
        }
        Err(error) => {
            tracing::debug!(%error, %key, "records of a target were not read from the bucket");
            Ok(on_disk?)
        }
    }
}

/// Stores records from the bucket on the disk. Returns how many were new.
pub async fn import_records(cache: &Cache, found: Vec<Record>) -> u64 {
    let imported = cache.disk().run(IoClass::Request, move |disk| {
        publish::import_records(disk, &found)
    });
    imported.await.unwrap_or_else(|error: DiskError| {
        tracing::warn!(%error, "records from the bucket could not be stored");
        0
    })
}

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
    Box::pin(cache.invalidate(key)).await;
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
