//! Keeps inodes of the file system free. Small files use them up before the space.
//!
//! Records are compacted first, because a target then stays known with its bytes. If that is not
//! enough, objects are evicted. This file must not know which of them come first. Its main function
//! is [`ensure`].

use rustix::fs::statvfs;

use super::index::ObjectClass;
use super::{DiskError, DiskStore, evict};

/// Inodes that storing one body takes: a staged file, a record, and the folder of the record.
const INODES_OF_TARGET: u64 = 3;

/// Divisor of the file system's inodes for the largest number that is kept free: 5 %.
const MAX_FREE_DIVISOR: u64 = 20;

/// Multiple of the inodes that eviction keeps free below which records are compacted. A compaction
/// frees one multiple more, so that few are needed.
const COMPACTION_FACTOR: u64 = 2;

/// Bound on the objects that one body evicts for their inodes.
const MAX_EVICTED: u64 = 1000;

/// Evicts objects until the file system has enough free inodes for another body of `class`. Has
/// records compacted before it comes to that.
///
/// # Errors
/// [`DiskError::NoSpace`] if there are no inodes for it, otherwise the error of the index or the
/// disk.
pub fn ensure(disk: &DiskStore, class: ObjectClass) -> Result<(), DiskError> {
    let Some((free, wanted)) = count(disk)? else {
        return Ok(());
    };
    if free < wanted.saturating_mul(COMPACTION_FACTOR) {
        disk.low_space.notify_one();
    }
    let missing = wanted.saturating_sub(free);
    if missing == 0 {
        return Ok(());
    }
    evict::make_inodes(disk, class, missing.min(MAX_EVICTED))?;
    match count(disk)? {
        Some((free, _)) if free < INODES_OF_TARGET => Err(DiskError::NoSpace),
        _ => Ok(()),
    }
}

/// Returns how many inodes a compaction of records should free. 0 if the file system has enough.
///
/// # Errors
/// [`DiskError::Io`] if the file system cannot be asked.
pub fn missing_for_compaction(disk: &DiskStore) -> Result<u64, DiskError> {
    let missing = |(free, wanted): (u64, u64)| {
        let is_short = free < wanted.saturating_mul(COMPACTION_FACTOR);
        let goal = wanted.saturating_mul(COMPACTION_FACTOR + 1);
        is_short.then(|| goal - free)
    };
    Ok(count(disk)?.and_then(missing).unwrap_or(0))
}

/// Returns how many inodes eviction keeps free. `None` if the file system has no fixed number.
///
/// # Errors
/// [`DiskError::Io`] if the file system cannot be asked.
pub fn kept_free(disk: &DiskStore) -> Result<Option<u64>, DiskError> {
    Ok(count(disk)?.map(|(_, wanted)| wanted))
}

/// Returns whether a new object leaves as many inodes free as eviction keeps.
///
/// # Errors
/// [`DiskError::Io`] if the file system cannot be asked.
pub fn has_spare(disk: &DiskStore) -> Result<bool, DiskError> {
    Ok(count(disk)?.is_none_or(|(free, wanted)| free > wanted))
}

/// Returns the free inodes and the number that should be free. Returns `None` if the file system
/// has no fixed number of inodes.
fn count(disk: &DiskStore) -> Result<Option<(u64, u64)>, DiskError> {
    let state = statvfs(disk.layout.root()).map_err(std::io::Error::from)?;
    if state.f_files == 0 {
        return Ok(None);
    }
    let wanted = disk
        .config
        .min_free_inodes
        .min(state.f_files / MAX_FREE_DIVISOR);
    Ok(Some((state.f_favail, wanted)))
}
