//! Reindexing. It corrects the index, the upload queue and eviction holds by the files, which are
//! the truth. The main method is [`DiskStore::reindex_if_needed`].

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::index::{Index, IndexedObject, ObjectClass, PendingUpload, since_epoch};
use super::layout::Layout;
use super::metadata_ledger::{MetadataKind, measure_all, object_disk_bytes};
use super::process_slot::ProcessSlot;
use super::replica_markers::ReplicaMarkers;
use super::{DiskError, DiskStore, lease, observations, records, stale_holds};
use crate::model::Sha256;

/// Number of objects in one transaction. It bounds the time that other processes wait for the
/// index.
const BATCH: usize = 1000;

impl DiskStore {
    /// Removes the slots of dead processes. Compares the index with the files if the index is new,
    /// a process died, or a reindexing was requested. Returns the number of wrong index entries, or
    /// `None` if there was no reason to compare.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the disk fails. The next call then tries again.
    pub fn reindex_if_needed(&self) -> Result<Option<u64>, DiskError> {
        // A reindexing that runs already finds the same reasons.
        let Ok(_turn) = self.reindexing.try_lock() else {
            return Ok(None);
        };
        let reindexed = self.reindex_for_reasons();
        let awaits_index = reindexed
            .as_ref()
            .is_err_and(DiskError::is_index_unavailable);
        self.awaits_index.store(awaits_index, Ordering::Release);
        reindexed
    }

    fn reindex_for_reasons(&self) -> Result<Option<u64>, DiskError> {
        self.replace_index_if_lost()?;
        let has_lost_changes = self.write_deferred()?;
        // On a disk that cannot be written, the index is filled all the same.
        let found_dead = ProcessSlot::reclaim(&self.layout, &self.index).unwrap_or_else(|error| {
            tracing::warn!(%error, "slots of dead processes were not removed, will retry");
            false
        });
        if found_dead || has_lost_changes {
            // Set before the work. If the work failed, a later call would not find this reason
            // again.
            self.request_reindex();
            self.catalog.request_scan();
        }
        if !self.needs_reindex.load(Ordering::Acquire) {
            return Ok(None);
        }
        if let Err(error) = lease::remove_stale(&self.layout) {
            tracing::warn!(%error, "leases of dead processes were not removed, will retry");
        }
        let repaired = reindex(&self.layout, &self.index, self.markers.as_ref())?;
        self.recount_metadata()?;
        self.needs_reindex.store(false, Ordering::Release);
        Ok(Some(repaired))
    }

    /// Writes what waited until the index could be written. Returns true if changes were lost.
    fn write_deferred(&self) -> Result<bool, DiskError> {
        self.set_bucket()?;
        Ok(!self.index.write_deferred()?)
    }

    /// Counts the small files anew. A change at the same time may count twice or not at all.
    fn recount_metadata(&self) -> Result<(), DiskError> {
        for kind in [MetadataKind::Records, MetadataKind::Others] {
            // The files show these changes.
            self.metadata.take(kind);
            let counted = measure_all(&self.layout, kind)?;
            self.index.ledger().set_metadata(kind, counted)?;
        }
        Ok(())
    }
}

/// Inserts objects that only the disk has, and removes those that only the index has. If there is a
/// bucket, enqueues uploads of everything that it lacks. Releases stale holds. Returns the number
/// of wrong entries.
fn reindex(
    layout: &Layout,
    index: &Index,
    bucket: Option<&ReplicaMarkers>,
) -> Result<u64, DiskError> {
    let suspects = stale_holds::find(layout, index)?;
    let queued = bucket.map_or(Ok(0), |markers| enqueue_unmarked(layout, index, markers))?;
    stale_holds::release(layout, index, bucket, &suspects)?;
    let repaired = insert_all(layout, index)? + remove_missing(layout, index)? + queued;
    classify_observed(layout, index)?;
    Ok(repaired)
}

/// Marks the objects that only observations name. An object that is recorded meanwhile is marked as
/// recorded again.
fn classify_observed(layout: &Layout, index: &Index) -> Result<(), DiskError> {
    let mut observed = HashSet::new();
    observations::walk(layout, |sha256| {
        observed.insert(sha256);
        Ok(())
    })?;
    remove_recorded(layout, &mut observed, |_| Ok(()))?;
    for sha256 in &observed {
        index.set_class(*sha256, ObjectClass::Observed)?;
    }
    remove_recorded(layout, &mut observed, |sha256| {
        index.set_class(sha256, ObjectClass::Recorded)
    })
}

/// Removes the digests that a record names, and calls `removed` with each.
fn remove_recorded(
    layout: &Layout,
    digests: &mut HashSet<Sha256>,
    removed: impl Fn(Sha256) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    if digests.is_empty() {
        return Ok(());
    }
    records::walk(layout, |_, sha256| {
        if digests.remove(&sha256) {
            removed(sha256)
        } else {
            Ok(())
        }
    })
}

/// Enqueues the records without a marker, and those whose cached object has no marker. Returns the
/// number of new uploads.
fn enqueue_unmarked(
    layout: &Layout,
    index: &Index,
    markers: &ReplicaMarkers,
) -> Result<u64, DiskError> {
    let mut added = 0;
    let mut batch = Vec::with_capacity(BATCH);
    records::walk(layout, |key, sha256| {
        let is_cached = || layout.object(sha256).exists();
        if !markers.has_record(key, sha256) || (!markers.has_object(sha256) && is_cached()) {
            batch.push(PendingUpload { key, sha256 });
        }
        if batch.len() == BATCH {
            added += index.uploads().enqueue(&std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    Ok(added + index.uploads().enqueue(&batch)?)
}

/// Inserts all objects on the disk. Returns the number of those that the index did not have.
fn insert_all(layout: &Layout, index: &Index) -> Result<u64, DiskError> {
    let mut added = 0;
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
            // The object may be evicted at this moment.
            let Ok(metadata) = object.metadata() else {
                continue;
            };
            let accessed_at = SystemTime::UNIX_EPOCH
                + Duration::from_secs(metadata.atime().max(0).unsigned_abs());
            batch.push(IndexedObject {
                sha256,
                size_bytes: metadata.len(),
                disk_bytes: object_disk_bytes(&metadata),
                accessed_at: since_epoch(accessed_at),
            });
            if batch.len() == BATCH {
                added += index.insert_found(&std::mem::take(&mut batch))?;
            }
        }
    }
    Ok(added + index.insert_found(&batch)?)
}

/// Removes the index entries of objects that are not on the disk. Returns their number.
fn remove_missing(layout: &Layout, index: &Index) -> Result<u64, DiskError> {
    let mut removed = 0;
    let mut last: Vec<u8> = Vec::new();
    loop {
        let entries = index.objects_after(&last, BATCH)?;
        let Some(end) = entries.last() else {
            return Ok(removed);
        };
        last = end.as_bytes().to_vec();
        for sha256 in entries {
            if !layout.object(sha256).exists() {
                index.remove(sha256)?;
                removed += 1;
            }
        }
    }
}
