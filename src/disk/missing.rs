//! List of objects that were corrupt and have not been restored yet, an empty file for each.
//!
//! This file must not know how an object is restored.

use fs_err as fs;

use super::{DiskError, DiskStore, durable_dirs};
use crate::model::Sha256;

/// Bound on the objects that one scrub tries to restore.
const MAX_LISTED: usize = 1000;

/// Marks an object as missing, durably. The caller must do so before it moves the object away,
/// because the process may die in between.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn mark(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    let folder = disk.layout.missing();
    disk.dirs.create(&folder)?;
    fs::File::create(disk.layout.missing_object(sha256))?;
    Ok(durable_dirs::sync(&folder)?)
}

/// Removes the mark of an object that was restored, or that no record names. Does nothing if there
/// is no mark.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn clear(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    durable_dirs::remove_if_exists(&disk.layout.missing_object(sha256))?;
    Ok(())
}

/// Returns the missing objects, up to `MAX_LISTED`.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn list(disk: &DiskStore) -> Result<Vec<Sha256>, DiskError> {
    let names = durable_dirs::names_in(&disk.layout.missing())?;
    Ok(names
        .iter()
        .filter_map(|name| name.parse().ok())
        .take(MAX_LISTED)
        .collect())
}
