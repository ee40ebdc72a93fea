//! The parts of the cache folder that a process needs before it uses it. The main function is
//! [`create_missing`].

use super::layout::Layout;
use super::process_slot::ProcessSlot;
use super::{OpenError, layout_version};

/// Creates the root, its version, the folders in it, and the slot, as far as they are missing.
/// Returns true if the slot was created.
///
/// # Errors
/// [`OpenError`] if the disk or the version of the folder does not allow it.
pub fn create_missing(layout: &Layout, slot: &ProcessSlot) -> Result<bool, OpenError> {
    layout.create_root()?;
    if slot.is_in_place() {
        layout_version::restore(layout)?;
    } else {
        layout_version::establish(layout)?;
    }
    layout.create_folders()?;
    slot.ensure(layout).map_err(|why| OpenError::Folder {
        path: layout.staging(),
        why,
    })
}
