//! What was set aside from eviction, and has no reason to be any more.
//!
//! An object is set aside because it is pinned, or because the bucket does not have it yet. A
//! process that dies between two steps can leave one for which neither holds: its pin is gone, or
//! nothing names it that could be uploaded.

use std::os::unix::fs::MetadataExt as _;

use fs_err as fs;

use super::index::Index;
use super::layout::Layout;
use super::replica_markers::ReplicaMarkers;
use super::{DiskError, pins};
use crate::model::Sha256;

/// An object that was set aside, and when its file was changed last.
pub struct StaleHold {
    sha256: Sha256,
    changed_at: (i64, i64),
}

/// What is set aside now and waits for no upload. To be called before the records are looked
/// through, so that whatever names one of these is found there, or changes its file later.
pub fn find(layout: &Layout, index: &Index) -> Result<Vec<StaleHold>, DiskError> {
    let mut suspects = Vec::new();
    for sha256 in index.held_without_upload()? {
        let _lock = layout.lock_object(sha256)?;
        suspects
            .extend(changed_at(layout, sha256).map(|changed_at| StaleHold { sha256, changed_at }));
    }
    Ok(suspects)
}

/// Puts back into the row, or removes, what is still set aside without a reason now that the
/// records were looked through.
pub fn release(
    layout: &Layout,
    index: &Index,
    bucket: Option<&ReplicaMarkers>,
    suspects: &[StaleHold],
) -> Result<(), DiskError> {
    let waiting = index.held_without_upload()?;
    for StaleHold {
        sha256,
        changed_at: then,
    } in suspects
    {
        let _lock = layout.lock_object(*sha256)?;
        if !waiting.contains(sha256)
            || changed_at(layout, *sha256) != Some(*then)
            || pins::is_pinned(layout, *sha256)?
        {
            continue;
        }
        if bucket.is_none_or(|markers| markers.has_object(*sha256)) {
            index.release_hold(*sha256)?;
        } else {
            // No record names it: it can answer nobody, and would never be uploaded.
            fs::remove_file(layout.object(*sha256))?;
            index.remove(*sha256)?;
        }
    }
    Ok(())
}

fn changed_at(layout: &Layout, sha256: Sha256) -> Option<(i64, i64)> {
    let metadata = fs::metadata(layout.object(sha256)).ok()?;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}
