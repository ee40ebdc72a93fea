//! Compaction of records: targets are reduced to a line each, first those whose objects were
//! evicted, and of these the least recently used.
//!
//! A compacted target is still known with its bytes. Its record becomes a file again when the bytes
//! are stored again. This file must not know the format of the lines. Its main function is
//! [`compact_if_due`].

use std::collections::{BTreeMap, BinaryHeap};
use std::time::SystemTime;

use fs_err as fs;

use super::compact_log::{self, CompactRecord, shard_of};
use super::metadata_ledger::{FileUse, MetadataKind};
use super::replica_markers::ReplicaMarkers;
use super::{DiskError, DiskStore, OpenMode, free_inodes, pins, records};
use crate::model::{Key, RecordSet, Sha256, lock};

/// Divisor of `cache.max_size` for the bytes of the record files, one tenth.
const RECORDS_DIVISOR: u64 = 10;

/// Bound on the inodes of the record files: a million targets with a folder and a file each.
const MAX_RECORD_INODES: u64 = 2_000_000;

/// Inodes of the record files with which no new record is created. Compaction keeps their number
/// lower, unless the logs are full.
const FULL_RECORD_INODES: u64 = MAX_RECORD_INODES + MAX_RECORD_INODES / 4;

/// Divisor of a bound for what one run frees below it, so that few runs are needed.
const HEADROOM_DIVISOR: u64 = 8;

/// Divisor of the bound for the growth after which a run that freed too little is repeated.
const RETRY_DIVISOR: u64 = 16;

/// Inodes of most targets: a folder and a record.
const INODES_OF_TARGET: u64 = 2;

/// Bound on the targets that one run compacts.
const MAX_CHOSEN: u64 = 250_000;

/// Returns whether no further record may be created.
///
/// # Errors
/// [`DiskError::Index`] if the index fails.
pub fn is_full(disk: &DiskStore) -> Result<bool, DiskError> {
    Ok(disk.totals()?.records.inodes >= FULL_RECORD_INODES)
}

/// Returns whether the record files exceed a bound or the file system lacks inodes, and the files
/// have grown since a run freed too little.
///
/// # Errors
/// [`DiskError::Index`] if the index fails.
pub fn is_due(disk: &DiskStore) -> Result<bool, DiskError> {
    let records = disk.totals()?.records;
    let retry_bytes = max_record_bytes(disk) / RETRY_DIVISOR;
    let retry_inodes = free_inodes::kept_free(disk)?.unwrap_or(u64::MAX);
    let retry_inodes = retry_inodes.min(MAX_RECORD_INODES / RETRY_DIVISOR);
    let floor = *lock(&disk.compaction_floor);
    let has_grown = floor.is_none_or(|floor| {
        records.bytes > floor.bytes.saturating_add(retry_bytes)
            || records.inodes > floor.inodes.saturating_add(retry_inodes)
    });
    Ok(has_grown && surplus_targets(disk, records)? > 0)
}

/// Compacts records if their files exceed a bound or the file system lacks inodes. Returns the
/// number of compacted targets.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn compact_if_due(disk: &DiskStore) -> Result<u64, DiskError> {
    if disk.mode == OpenMode::Maintenance || !is_due(disk)? {
        return Ok(0);
    }
    let _lock = disk.layout.lock_compaction()?;
    let wanted = surplus_targets(disk, disk.totals()?.records)?.min(MAX_CHOSEN);
    let markers = disk.active_markers()?;
    let mut shards: BTreeMap<String, Vec<Key>> = BTreeMap::new();
    for key in choose(disk, usize::try_from(wanted).unwrap_or(usize::MAX))? {
        shards.entry(shard_of(key)).or_default().push(key);
    }
    let mut compacted = 0;
    for keys in shards.values() {
        let is_closed = lock(&disk.is_closed);
        if *is_closed {
            return Ok(compacted);
        }
        compacted += compact_shard(disk, keys, markers.as_ref())?;
    }
    disk.flush()?;
    disk.index.ledger().trim_evicted(MAX_RECORD_INODES)?;
    let floor = if compacted < wanted {
        Some(disk.totals()?.records)
    } else {
        None
    };
    *lock(&disk.compaction_floor) = floor;
    Ok(compacted)
}

fn max_record_bytes(disk: &DiskStore) -> u64 {
    disk.config.max_size_bytes / RECORDS_DIVISOR
}

/// Returns how many targets must be compacted until the files are well below their bounds and the
/// file system has enough inodes. 0 if there is no need.
fn surplus_targets(disk: &DiskStore, records: FileUse) -> Result<u64, DiskError> {
    let missing_inodes = free_inodes::missing_for_compaction(disk)?.min(records.inodes);
    let by_file_system = missing_inodes.div_ceil(INODES_OF_TARGET);
    Ok(surplus_of_bounds(disk, records).max(by_file_system))
}

fn surplus_of_bounds(disk: &DiskStore, records: FileUse) -> u64 {
    let max_bytes = max_record_bytes(disk);
    if records.bytes <= max_bytes && records.inodes <= MAX_RECORD_INODES {
        return 0;
    }
    let above = |used: u64, max: u64| used.saturating_sub(max - max / HEADROOM_DIVISOR);
    let bytes_of_target = (records.bytes * INODES_OF_TARGET / records.inodes.max(1)).max(1);
    let by_bytes = above(records.bytes, max_bytes).div_ceil(bytes_of_target);
    let by_inodes = above(records.inodes, MAX_RECORD_INODES).div_ceil(INODES_OF_TARGET);
    by_bytes.max(by_inodes)
}

/// Returns up to `count` targets: without objects first, then the least recently used.
fn choose(disk: &DiskStore, count: usize) -> Result<Vec<Key>, DiskError> {
    let mut oldest = BinaryHeap::new();
    records::walk_folders(&disk.layout, |key, digests| {
        if let Some(last_use) = last_use(disk, digests)? {
            oldest.push((last_use, key));
            if oldest.len() > count {
                oldest.pop();
            }
        }
        Ok(())
    })?;
    Ok(oldest.into_iter().map(|(_, key)| key).collect())
}

/// Last use of a target. Many targets may share a stored object, so a stored one can be compacted
/// too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LastUse {
    /// Last access of its evicted objects, in milliseconds since 1970.
    Evicted(i64),
    /// Last access of its stored objects.
    Stored(SystemTime),
}

/// Returns the last use of a target. `None` if an object is held for a pin or an upload, or there
/// is no record.
fn last_use(disk: &DiskStore, digests: &[Sha256]) -> Result<Option<LastUse>, DiskError> {
    let mut latest = None;
    for sha256 in digests {
        let last_use = if disk.index.size_of(*sha256)?.is_some() {
            match disk.index.lru().last_access(*sha256)? {
                Some(access) => LastUse::Stored(access),
                None => return Ok(None),
            }
        } else {
            let access = disk.index.ledger().evicted_access(*sha256)?;
            LastUse::Evicted(access.unwrap_or_default())
        };
        latest = latest.max(Some(last_use));
    }
    Ok(latest)
}

/// Compacts targets whose keys begin alike. Returns their number.
fn compact_shard(
    disk: &DiskStore,
    keys: &[Key],
    markers: Option<&ReplicaMarkers>,
) -> Result<u64, DiskError> {
    let Some(first) = keys.first() else {
        return Ok(0);
    };
    // All targets of the log share this lock. No record is created meanwhile.
    let _target_lock = disk.layout.lock_target(*first)?;
    let mut lines = Vec::new();
    for key in keys {
        let found = records::read_folder(&disk.layout, *key)?;
        if may_compact(disk, *key, &found, markers)? {
            lines.extend(found.readable.iter().map(CompactRecord::new));
        }
    }
    let wanted: Vec<Key> = lines.iter().map(CompactRecord::key).collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    let added = compact_log::append(disk, &shard_of(*first), lines)?;
    // A target of which the log has not all records keeps its files.
    let unfinished = wanted.get(added).copied();
    let mut complete = wanted[..added].to_vec();
    complete.dedup();
    complete.retain(|key| Some(*key) != unfinished);
    for key in &complete {
        remove_files(disk, *key)?;
    }
    Ok(complete.len() as u64)
}

/// Whether all records of a target are readable, not pinned, and in the bucket if there is one.
fn may_compact(
    disk: &DiskStore,
    key: Key,
    found: &RecordSet,
    markers: Option<&ReplicaMarkers>,
) -> Result<bool, DiskError> {
    let is_in_replica =
        |sha256: Sha256| markers.is_none_or(|markers| markers.has_record(key, sha256));
    Ok(found.unreadable.is_empty()
        && found.count() < records::MAX_RECORDS
        && found.digests().all(is_in_replica)
        && pins::list(&disk.layout, key)?.is_empty())
}

/// Removes the record files of a target that the log has. After a power cut they may exist again,
/// which does no harm.
fn remove_files(disk: &DiskStore, key: Key) -> Result<(), DiskError> {
    let folder = disk.layout.records_of(key);
    let _counted = disk.metadata.watch(MetadataKind::Records, folder.clone());
    for sha256 in records::read_folder(&disk.layout, key)?.digests() {
        fs::remove_file(disk.layout.record(key, sha256))?;
        disk.index.ledger().forget_evicted(sha256)?;
    }
    // An unknown file in the folder stays.
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(error.into()),
        _ => Ok(()),
    }
}
