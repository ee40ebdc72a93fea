//! Moves a sealed body to its place among the objects.
//!
//! This file must not know records. Its main function is [`move_object`].

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use fs_err as fs;

use super::staging::Placed;
use super::{DiskError, DiskStore, Sealed, durable_dirs, missing};
use crate::model::Sha256;

/// Mode of an object. Objects are never written again, and nginx reads them as a member of the
/// group.
pub(super) const OBJECT_MODE: u32 = 0o440;

/// An object in its folder, of which a power cut may leave no entry.
#[must_use]
pub(super) struct MovedObject {
    sha256: Sha256,
}

impl MovedObject {
    /// Makes the entry of the object durable. No file may name the object before.
    pub fn sync(self, disk: &DiskStore) -> Result<(), DiskError> {
        let path = disk.layout.object(self.sha256);
        let folder = path.parent().expect("an object lies in a folder");
        disk.dirs.sync_entries(folder)?;
        durable_dirs::sync(folder)?;
        disk.unreadable.invalidate(&self.sha256);
        missing::clear(disk, self.sha256)
    }
}

/// Moves the staged file into the objects folder. It replaces an object with the same digest,
/// because that object may be unreadable.
pub(super) fn move_object(
    disk: &DiskStore,
    sealed: &Sealed,
    modified_at: Option<SystemTime>,
) -> Result<MovedObject, DiskError> {
    let sha256 = sealed.digests.sha256;
    let path = disk.layout.object(sha256);
    let folder = path.parent().expect("an object lies in a folder");
    durable_dirs::make(folder)?;
    // An existing object keeps its date. Another target may have stored it with another date.
    let modified_at = fs::metadata(&path)
        .and_then(|existing| existing.modified())
        .ok()
        .or(modified_at);
    let is_linked = sealed.file.placed == Placed::Linked;
    // The date of a linked file belongs to its other name as well.
    if let Some(modified_at) = modified_at.filter(|_| !is_linked) {
        fs::OpenOptions::new()
            .write(true)
            .open(&sealed.file.path)?
            .file()
            .set_modified(modified_at)?;
    }
    fs::set_permissions(
        &sealed.file.path,
        std::fs::Permissions::from_mode(OBJECT_MODE),
    )?;
    fs::rename(&sealed.file.path, &path)?;
    if is_linked {
        // Renaming one name of a file over another one does nothing.
        durable_dirs::remove_if_exists(&sealed.file.path)?;
    }
    sealed.file.is_published.store(true, Ordering::Release);
    Ok(MovedObject { sha256 })
}
