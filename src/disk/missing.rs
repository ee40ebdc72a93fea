//! The list of objects that were corrupt and have not been restored yet: an empty file for each.

use fs_err as fs;

use super::{DiskError, DiskStore, durable_dirs};
use crate::model::Sha256;

/// Bound on the objects that one scrub tries to restore.
const MAX_LISTED: usize = 1000;

/// Marks an object as missing, durably. Call it before the object is moved away: the process may
/// die in between.
///
/// # Errors
/// [`DiskError`] if the disk refuses.
pub fn mark(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    let folder = disk.layout.missing();
    disk.dirs.make(&folder)?;
    fs::File::create(disk.layout.missing_object(sha256))?;
    Ok(durable_dirs::sync(&folder)?)
}

/// Removes the mark: the object was restored, or no record names it.
///
/// # Errors
/// [`DiskError`] if the disk refuses.
pub fn clear(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    durable_dirs::remove_if_there(&disk.layout.missing_object(sha256))?;
    Ok(())
}

/// Returns the missing objects, up to [`MAX_LISTED`].
///
/// # Errors
/// [`DiskError`] if the disk refuses.
pub fn list(disk: &DiskStore) -> Result<Vec<Sha256>, DiskError> {
    let names = durable_dirs::names_in(&disk.layout.missing())?;
    Ok(names
        .iter()
        .filter_map(|name| name.parse().ok())
        .take(MAX_LISTED)
        .collect())
}
