//! Repairs records that cannot be read: from the bucket, or else from their objects.
//!
//! This file must not know why a record is unreadable. Its main function is [`repair`].

use std::sync::Arc;

use tokio::time::timeout;

use super::error::CacheError;
use super::handle::Cache;
use super::record_access::{LOOKUP_TIMEOUT, import_records, look_up_on_disk};
use crate::disk::{ActiveState, IoClass, ObjectHandle, TargetLookup, TargetRecords, record_files};
use crate::model::{Key, Record, RecordSet, Target, UnreadableReason, UnreadableRecord};

/// Bound on the records that one look-up replaces.
const MAX_REPAIRS: usize = 8;

/// Replaces the record that should answer for a target, and looks the target up again. Without a
/// replacement the target stays known by its digest.
pub async fn repair(
    cache: &Cache,
    target: &Target,
    unreadable: UnreadableRecord,
) -> Result<TargetLookup, CacheError> {
    let replacement = replace(cache, target, unreadable).await;
    let lookup = look_up_on_disk(cache, Key::new(target)).await?;
    Ok(match (lookup, replacement) {
        // The file could not be replaced, because a newer release wrote it.
        (TargetLookup::Unreadable { record, is_pinned }, Some(replacement))
            if record.sha256 == replacement.sha256 =>
        {
            let state = ActiveState {
                is_cached: true,
                is_pinned,
            };
            let known = TargetRecords::new(replacement, RecordSet::default(), state);
            TargetLookup::Known(Arc::new(known))
        }
        (lookup, _) => lookup,
    })
}

/// Replaces the records that do not answer for a target and are damaged. Otherwise a second damage
/// could make it unknown which record answers.
pub async fn repair_others(
    cache: &Cache,
    target: &Target,
    known: Arc<TargetRecords>,
) -> Result<TargetLookup, CacheError> {
    let damaged = known.unreadable().iter().copied();
    let mut damaged = damaged.filter(|other| other.reason == UnreadableReason::Damaged);
    let Some(first) = damaged.next() else {
        return Ok(TargetLookup::Known(known));
    };
    for unreadable in std::iter::once(first).chain(damaged.take(MAX_REPAIRS - 1)) {
        replace(cache, target, unreadable).await;
    }
    Ok(look_up_on_disk(cache, Key::new(target)).await?)
}

/// Replaces one record. Returns `None` if neither the bucket nor the object allows it.
async fn replace(cache: &Cache, target: &Target, unreadable: UnreadableRecord) -> Option<Record> {
    match from_bucket(cache, Key::new(target), unreadable).await {
        Some(record) => {
            import_records(cache, vec![record.clone()]).await;
            Some(record)
        }
        None => from_object(cache, target, unreadable).await,
    }
}

async fn from_bucket(cache: &Cache, key: Key, unreadable: UnreadableRecord) -> Option<Record> {
    let records = cache.bucket()?.records();
    let read = timeout(LOOKUP_TIMEOUT, records.read(key, unreadable.sha256)).await;
    let read = read.ok()?;
    read.inspect_err(|error| tracing::debug!(%error, %key, "record was not read from the bucket"))
        .ok()?
}

/// Rebuilds the record from its object. Nothing is known of the headers.
async fn from_object(
    cache: &Cache,
    target: &Target,
    unreadable: UnreadableRecord,
) -> Option<Record> {
    if unreadable.reason == UnreadableReason::OtherTarget {
        return None;
    }
    let (target, sha256) = (target.clone(), unreadable.sha256);
    let disk = cache.disk();
    let object = ObjectHandle::open(disk, IoClass::Request, sha256).await;
    let size_bytes = object.ok()??.size_bytes;
    // Reading takes no longer than writing.
    let rebuilt = disk.run(IoClass::Durable { size_bytes }, move |disk| {
        record_files::rebuild_record(disk, &target, sha256)
    });
    rebuilt
        .await
        .inspect_err(|error| tracing::warn!(%error, %sha256, "record could not be rebuilt"))
        .ok()?
}
