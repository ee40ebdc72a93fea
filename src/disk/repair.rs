//! The probe of the disk, which creates what is missing in the folder.
//!
//! An operator may replace the folder, or parts of it, while processes use it. A disk that was full
//! or read-only at the start may recover. The main function is [`repair_and_probe`].

use std::sync::atomic::Ordering;

use super::folder_parts::create_missing;
use super::index::ObjectClass;
use super::{DiskError, DiskStore, evict, free_inodes};

/// Creates what is missing while the process runs, and checks that the disk accepts writes. On a
/// disk without space, the slot of the process and the index take the place of objects. Without
/// inodes, objects are evicted for them.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn repair_and_probe(disk: &DiskStore) -> Result<(), DiskError> {
    let attempt = || repair(disk).and_then(|()| disk.slot.probe());
    // The index needs more space than the probe.
    if disk.index.is_in_memory()
        && evict::lacks_space_for_slot(disk).unwrap_or_default()
        && let Err(error) = evict::free_space_for_slot(disk)
    {
        tracing::warn!(%error, "no space was made for the index, will retry");
    }
    let probed = match attempt() {
        Err(DiskError::NoSpace) if !disk.slot.is_taken() || disk.index.is_in_memory() => {
            evict::free_space_for_slot(disk).and_then(|()| attempt())
        }
        // A new body would do the same.
        Err(DiskError::NoSpace) => {
            free_inodes::ensure(disk, ObjectClass::Recorded).and_then(|()| attempt())
        }
        probed => probed,
    };
    if disk.awaits_index.load(Ordering::Acquire) || disk.index.needs_attention(&disk.layout) {
        disk.attention.notify_one();
    }
    probed
}

/// Creates what is missing while the process runs.
///
/// # Errors
/// [`DiskError`] if it cannot be created.
fn repair(disk: &DiskStore) -> Result<(), DiskError> {
    // A probe may run on while the process ends. A compaction holds the mutex for long.
    if disk.is_closed.try_lock().is_ok_and(|is_closed| *is_closed) {
        return Ok(());
    }
    if create_missing(&disk.layout, &disk.slot)? {
        tracing::warn!("created the missing parts of the cache folder");
        disk.request_reindex();
        disk.attention.notify_one();
    }
    Ok(())
}
