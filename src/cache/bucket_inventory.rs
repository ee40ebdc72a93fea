//! Comparing what is known of the bucket with its listings: a thousand names a request.

use std::collections::HashSet;
use std::time::SystemTime;

use fs_err as fs;

use super::bucket_findings::record_listing;
use super::bucket_state::BucketState;
use super::open::import_records;
use super::{Cache, CacheError, pin_sync};
use crate::bucket;
use crate::disk::{DiskError, DiskStore, IoClass, PendingUpload, names_in, records, since_epoch};
use crate::model::{Key, Record, Sha256};

/// Bound on the records that one run imports. The next run continues.
const MAX_IMPORTED: usize = 10_000;

/// What a run found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryReport {
    /// Objects in the bucket.
    pub objects: u64,
    /// Records of other nodes, of targets that are known here.
    pub imported: u64,
    /// Objects that the bucket should have and does not have. Those on the disk are uploaded again.
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
        disk.index.remove_unseen(started)?;
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

/// Imports records that other nodes have of targets that this one got other bytes of.
async fn import_unknown_records(cache: &Cache, state: &BucketState) -> Result<u64, CacheError> {
    let mut listing = state.bucket.list(state.bucket.keys().records());
    let mut imported = 0;
    while let Some(page) = listing.next_page().await? {
        let listed: Vec<_> = page
            .iter()
            .filter_map(|one| bucket::parse_record_key(&one.name))
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
            cache.invalidate(key).await;
            if imported >= MAX_IMPORTED as u64 {
                return Ok(imported);
            }
        }
    }
    Ok(imported)
}

/// Returns those of targets that are known here with other bytes. Unknown targets are looked up
/// when they are requested.
fn unknown_of(disk: &DiskStore, listed: Vec<(Key, Sha256)>) -> Vec<(Key, Sha256)> {
    let is_unknown = |(key, sha256): &(Key, Sha256)| {
        disk.layout.records_of(*key).is_dir() && !disk.layout.record(*key, *sha256).exists()
    };
    listed.into_iter().filter(is_unknown).collect()
}

/// Clears the markers of objects that no listing has shown since `started`, or in another length,
/// and queues those on the disk for upload. With retention, only objects that were requested in
/// vain are uploaded again.
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
            let is_right = match disk.index.seen_since(sha256, started)? {
                Some(size_bytes) => {
                    cached_bytes.is_none_or(|cached_bytes| cached_bytes == size_bytes)
                }
                None => false,
            };
            if !is_right {
                missing.insert(sha256);
            }
        }
    }
    if missing.is_empty() || has_retention {
        return Ok(missing);
    }
    tracing::error!(count = missing.len(), "bucket lost objects");
    // Queued before the markers are cleared: a crash in between must not lose an upload.
    let mut wanted = Vec::new();
    records::walk(&disk.layout, |key, sha256| {
        if missing.contains(&sha256) && disk.layout.object(sha256).exists() {
            wanted.push(PendingUpload { key, sha256 });
        }
        Ok(())
    })?;
    disk.index.enqueue(&wanted)?;
    for sha256 in &missing {
        markers.clear_object(*sha256)?;
    }
    Ok(missing)
}
