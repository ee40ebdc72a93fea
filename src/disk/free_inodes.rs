//! Keeps inodes of the file system free. Small files use them up before the space.
//!
//! This file must not know which objects are evicted first. Its main function is [`ensure`].

use rustix::fs::statvfs;

use super::index::ObjectClass;
use super::{DiskError, DiskStore, evict};

/// Inodes that storing one body takes: a staged file, a record, and the folder of the record.
const INODES_OF_TARGET: u64 = 3;

/// Divisor of the file system's inodes for the largest number that is kept free: 5 %.
const MAX_FREE_DIVISOR: u64 = 20;

/// Bound on the objects that one body evicts for their inodes.
const MAX_EVICTED: u64 = 1000;

/// Evicts objects until the file system has enough free inodes for another body of `class`.
///
/// # Errors
/// [`DiskError::NoSpace`] if there are no inodes for it, otherwise the error of the index or the
/// disk.
pub fn ensure(disk: &DiskStore, class: ObjectClass) -> Result<(), DiskError> {
    let Some((free, wanted)) = count(disk)? else {
        return Ok(());
    };
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
