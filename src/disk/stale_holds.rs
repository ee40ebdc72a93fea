//! Releases eviction holds that have no reason any more.
//!
//! An object is held because it is pinned, or because the bucket does not have it yet. A process
//! that dies between two steps can leave a hold for which neither is true. The pin is then removed,
//! or no record names the object, so that it is never uploaded.
//!
//! A reindexing calls [`find`], then examines all records, then calls [`release`].

use std::os::unix::fs::MetadataExt as _;

use fs_err as fs;

use super::index::Index;
use super::layout::Layout;
use super::replica_markers::ReplicaMarkers;
use super::{DiskError, pins};
use crate::model::Sha256;

/// A held object that may have no reason for its hold, and the last change of its file as seconds
/// and nanoseconds.
pub struct StaleHold {
    sha256: Sha256,
    changed_at: (i64, i64),
}

/// Returns the held objects that wait for no upload. The caller examines the records afterwards: a
/// record that names such an object is found there, or changes the object's file later.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn find(layout: &Layout, index: &Index) -> Result<Vec<StaleHold>, DiskError> {
    let mut suspects = Vec::new();
    for sha256 in index.lru().held_without_upload()? {
        let _lock = layout.lock_object(sha256)?;
        suspects
            .extend(changed_at(layout, sha256).map(|changed_at| StaleHold { sha256, changed_at }));
    }
    Ok(suspects)
}

/// Ends the holds that still have no reason after the records were examined. Removes such an object
/// if the bucket does not have it.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn release(
    layout: &Layout,
    index: &Index,
    bucket: Option<&ReplicaMarkers>,
    suspects: &[StaleHold],
) -> Result<(), DiskError> {
    let held = index.lru().held_without_upload()?;
    for StaleHold {
        sha256,
        changed_at: found_change,
    } in suspects
    {
        let _lock = layout.lock_object(*sha256)?;
        if !held.contains(sha256)
            || changed_at(layout, *sha256) != Some(*found_change)
            || pins::is_pinned(layout, *sha256)?
        {
            continue;
        }
        if bucket.is_none_or(|markers| markers.has_object(*sha256)) {
            index.lru().release_hold(*sha256)?;
        } else {
            // No record names the object, so it answers no request and is never uploaded.
            fs::remove_file(layout.object(*sha256))?;
            index.remove(*sha256)?;
        }
    }
    Ok(())
}

/// Returns the ctime of an object's file, or `None` if it cannot be read.
fn changed_at(layout: &Layout, sha256: Sha256) -> Option<(i64, i64)> {
    let metadata = fs::metadata(layout.object(sha256)).ok()?;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}
