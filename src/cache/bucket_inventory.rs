//! Inventory: lists the bucket, and updates index, markers and upload queue. One request lists a
//! thousand keys.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::time::SystemTime;

use fs_err as fs;

use super::bucket_findings::record_listing;
use super::bucket_state::BucketState;
use super::error::CacheError;
use super::handle::Cache;
use super::pin_sync;
use super::record_access::import_records;
use crate::bucket;
use crate::disk::{DiskError, DiskStore, IoClass, PendingUpload, names_in, records, since_epoch};
use crate::model::{Key, Record, Sha256, Standing};

/// Bound on the records that one inventory imports. The next one continues.
const MAX_IMPORTED: usize = 10_000;

/// Counts of one inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryReport {
    /// Objects in the bucket.
    pub objects: u64,
    /// Imported records of other nodes. Only targets with a record on this disk count.
    pub imported: u64,
    /// Objects that the bucket lost. Those on the disk are uploaded again.
    pub missing: u64,
}

/// Lists the whole bucket.
pub async fn sync_bucket_inventory(
    cache: &Cache,
    state: &BucketState,
) -> Result<InventoryReport, CacheError> {
    let started = since_epoch(SystemTime::now());
    let objects = list_objects(cache, state).await?;
    let imported = import_unknown_records(cache, state).await?;
    pin_sync::import_unknown_pins(cache).await?;
    let has_retention = state.bucket.config().has_retention();
    let missing = cache.disk().run(IoClass::Maintenance, move |disk| {
        disk.index.bucket_objects().remove_unseen(started)?;
        requeue_missing(disk, started, has_retention)
    });
    let missing = missing.await?;
    for sha256 in &missing {
        state.set_present(*sha256, false);
    }
    state.uploads.notify_one();
    Ok(InventoryReport {
        objects,
        imported,
        missing: missing.len() as u64,
    })
}

async fn list_objects(cache: &Cache, state: &BucketState) -> Result<u64, CacheError> {
    let mut listing = state.bucket.list(state.bucket.keys().objects());
    let mut count = 0;
    while let Some(page) = listing.next_page().await? {
        count += record_listing(cache, state, &page).await.len() as u64;
    }
    Ok(count)
}

/// Imports records of other nodes with other bytes of targets that are known here.
async fn import_unknown_records(cache: &Cache, state: &BucketState) -> Result<u64, CacheError> {
    let mut listing = state.bucket.list(state.bucket.keys().records());
    let mut imported = 0;
    while let Some(page) = listing.next_page().await? {
        let listed: Vec<_> = page
            .iter()
            .filter_map(|listed| {
                let (key, sha256) = bucket::parse_record_key(&listed.name)?;
                Some((key, sha256, listed.size_bytes))
            })
            .collect();
        let unknown = cache.disk().run(IoClass::Maintenance, move |disk| {
            Ok::<_, DiskError>(unknown_of(disk, listed))
        });
        for (key, sha256) in unknown.await? {
            let found: Vec<Record> = state
                .bucket
                .records()
                .read(key, sha256)
                .await?
                .into_iter()
                .collect();
            imported += import_records(cache, found).await;
            cache.invalidate(key);
            if imported >= MAX_IMPORTED as u64 {
                return Ok(imported);
            }
        }
    }
    Ok(imported)
}

/// Returns the records that are missing here or may have an earlier place in the bucket, of targets
/// with a record here. Other targets are looked up when they are requested.
fn unknown_of(disk: &DiskStore, listed: Vec<(Key, Sha256, u64)>) -> Vec<(Key, Sha256)> {
    let layout = &disk.layout;
    let is_unknown = |(key, sha256, size_bytes): &(Key, Sha256, u64)| {
        layout.records_of(*key).is_dir()
            && match fs::metadata(layout.record(*key, *sha256)) {
                // Most copies have the same length. A record that another node witnessed has not.
                Ok(metadata) => metadata.len() != *size_bytes && is_later(disk, *key, *sha256),
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            }
    };
    let unknown = listed.into_iter().filter(is_unknown);
    unknown.map(|(key, sha256, _)| (key, sha256)).collect()
}

/// Returns whether another node's record of the same bytes may have an earlier place.
fn is_later(disk: &DiskStore, key: Key, sha256: Sha256) -> bool {
    let record = records::parse_content(&disk.layout, key, sha256);
    record.is_none_or(|record| {
        record.standing == Standing::Witnessed || record.generation > Some(NonZeroU64::MIN)
    })
}

/// Finds objects with a marker that were not listed since `started`, or with another length. Clears
/// their markers, and queues those on the disk for upload.
///
/// With retention, nothing is cleared or queued here, because retention may have removed the
/// objects. A failed request for such an object queues its upload.
fn requeue_missing(
    disk: &DiskStore,
    started: i64,
    has_retention: bool,
) -> Result<HashSet<Sha256>, DiskError> {
    let mut missing = HashSet::new();
    let Some(markers) = &disk.markers else {
        return Ok(missing);
    };
    for folder in markers.objects()? {
        for sha256 in names_in(&folder)?
            .iter()
            .filter_map(|name| name.parse::<Sha256>().ok())
        {
            let cached_bytes = fs::metadata(disk.layout.object(sha256))
                .ok()
                .map(|metadata| metadata.len());
            let is_intact = match disk.index.bucket_objects().seen_since(sha256, started)? {
                Some(size_bytes) => {
                    cached_bytes.is_none_or(|cached_bytes| cached_bytes == size_bytes)
                }
                None => false,
            };
            if !is_intact {
                missing.insert(sha256);
            }
        }
    }
    if missing.is_empty() || has_retention {
        return Ok(missing);
    }
    tracing::error!(count = missing.len(), "bucket lost objects");
    // Uploads are queued before the markers are cleared, so that a crash does not lose any.
    let mut uploads = Vec::new();
    records::walk(&disk.layout, |key, sha256| {
        if missing.contains(&sha256) && disk.layout.object(sha256).exists() {
            uploads.push(PendingUpload { key, sha256 });
        }
        Ok(())
    })?;
    disk.index.uploads().enqueue(&uploads)?;
    for sha256 in &missing {
        markers.clear_object(*sha256)?;
    }
    Ok(missing)
}
