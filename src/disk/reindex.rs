//! Bringing the index into line with the disk, which is right.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::index::{Index, PendingUpload, since_epoch};
use super::layout::Layout;
use super::replica_markers::ReplicaMarkers;
use super::{DiskError, records, stale_holds};
use crate::model::Sha256;

/// How many objects one transaction enters: others who share the index wait that long and no
/// longer.
const BATCH: usize = 1000;

/// Enters what lies on the disk and strikes what does not; with a bucket, puts into the queue what
/// it has not got. What is kept from eviction without a reason is settled. Returns how many entries
/// were wrong.
pub fn reindex(
    layout: &Layout,
    index: &Index,
    bucket: Option<&ReplicaMarkers>,
) -> Result<u64, DiskError> {
    let suspects = stale_holds::find(layout, index)?;
    let queued = bucket.map_or(Ok(0), |markers| pend_unmarked(layout, index, markers))?;
    stale_holds::release(layout, index, bucket, &suspects)?;
    Ok(insert_all(layout, index)? + remove_missing(layout, index)? + queued)
}

fn pend_unmarked(
    layout: &Layout,
    index: &Index,
    markers: &ReplicaMarkers,
) -> Result<u64, DiskError> {
    let mut added = 0;
    let mut batch = Vec::with_capacity(BATCH);
    records::walk(layout, |key, sha256| {
        let is_held = || layout.object(sha256).exists();
        if !markers.has_record(key, sha256) || (!markers.has_object(sha256) && is_held()) {
            batch.push(PendingUpload { key, sha256 });
        }
        if batch.len() == BATCH {
            added += index.enqueue(&std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    Ok(added + index.enqueue(&batch)?)
}

fn insert_all(layout: &Layout, index: &Index) -> Result<u64, DiskError> {
    let mut mended = 0;
    let mut batch = Vec::with_capacity(BATCH);
    for folder in fs::read_dir(layout.objects())? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for object in fs::read_dir(folder.path())? {
            let object = object?;
            let Some(sha256) = object
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<Sha256>().ok())
            else {
                continue;
            };
            // It may be evicted at this moment.
            let Ok(metadata) = object.metadata() else {
                continue;
            };
            let read_at = SystemTime::UNIX_EPOCH
                + Duration::from_secs(metadata.atime().max(0).unsigned_abs());
            batch.push((sha256, metadata.len(), since_epoch(read_at)));
            if batch.len() == BATCH {
                mended += index.insert_found(&std::mem::take(&mut batch))?;
            }
        }
    }
    Ok(mended + index.insert_found(&batch)?)
}

fn remove_missing(layout: &Layout, index: &Index) -> Result<u64, DiskError> {
    let mut mended = 0;
    let mut last: Vec<u8> = Vec::new();
    loop {
        let entries = index.after(&last, BATCH)?;
        let Some(end) = entries.last() else {
            return Ok(mended);
        };
        last = end.as_bytes().to_vec();
        for sha256 in entries {
            if !layout.object(sha256).exists() {
                index.remove(sha256)?;
                mended += 1;
            }
        }
    }
}
