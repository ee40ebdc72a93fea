//! Creates the folders and the slot of a process, at its start and after they were removed.
//!
//! An operator may replace the folder, or parts of it, while processes use it. A disk that was full
//! or read-only at the start may recover. The main functions are [`create_missing`] and
//! [`repair_and_probe`].

use std::sync::atomic::Ordering;

use super::layout::Layout;
use super::process_slot::ProcessSlot;
use super::{DiskError, DiskStore, OpenError, evict, layout_version};

/// Creates the root, its version, the folders in it, and the slot, as far as they are missing.
/// Returns true if the slot was created.
///
/// # Errors
/// [`OpenError`] if the disk or the version of the folder does not allow it.
pub fn create_missing(layout: &Layout, slot: &ProcessSlot) -> Result<bool, OpenError> {
    layout.create_root()?;
    layout_version::establish(layout)?;
    layout.create_folders()?;
    slot.ensure(layout).map_err(|why| OpenError::Folder {
        path: layout.staging(),
        why,
    })
}

/// Creates what is missing while the process runs, and checks that the disk accepts writes. On a
/// disk without space, the slot of the process and the index take the place of objects.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn repair_and_probe(disk: &DiskStore) -> Result<(), DiskError> {
    let attempt = || repair(disk).and_then(|()| disk.slot.probe());
    match attempt() {
        Err(DiskError::NoSpace) if !disk.slot.is_taken() || disk.index.is_in_memory() => {
            evict::make_room_for_slot(disk)?;
            attempt()
        }
        probed => probed,
    }
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
        disk.needs_reindex.store(true, Ordering::Release);
    }
    Ok(())
}
