//! What was set aside from eviction, and has no reason to be any more.
//!
//! An object is set aside because it is pinned, or because the bucket does not have it yet. A process that dies between two
//! steps can leave one for which neither holds: its pin is gone, or nothing names it that could be uploaded.

use std::os::unix::fs::MetadataExt as _;

use fs_err as fs;

use super::index::Index;
use super::layout::Layout;
use super::markers::Markers;
use super::{StoreError, pins};
use crate::model::Sha256;

/// An object that was set aside, and when its file was changed last.
pub struct Stray {
    sha256: Sha256,
    changed_at: (i64, i64),
}

/// What is set aside now and waits for no upload. To be called before the records are looked through, so that whatever
/// names one of these is found there, or changes its file later.
pub fn suspects(layout: &Layout, index: &Index) -> Result<Vec<Stray>, StoreError> {
    let mut suspects = Vec::new();
    for sha256 in index.set_aside_without_upload()? {
        let _lock = layout.lock_object(sha256)?;
        suspects.extend(changed_at(layout, sha256).map(|changed_at| Stray { sha256, changed_at }));
    }
    Ok(suspects)
}

/// Puts back into the row, or removes, what is still set aside without a reason now that the records were looked through.
pub fn settle(layout: &Layout, index: &Index, bucket: Option<&Markers>, suspects: &[Stray]) -> Result<(), StoreError> {
    let waiting = index.set_aside_without_upload()?;
    for Stray { sha256, changed_at: then } in suspects {
        let _lock = layout.lock_object(*sha256)?;
        if !waiting.contains(sha256) || changed_at(layout, *sha256) != Some(*then) || pins::are_kept(layout, *sha256)? {
            continue;
        }
        if bucket.is_none_or(|markers| markers.has_object(*sha256)) {
            index.put_in_row(*sha256)?;
        } else {
            // No record names it: it can answer nobody, and would never be uploaded.
            fs::remove_file(layout.object(*sha256))?;
            index.strike(*sha256)?;
        }
    }
    Ok(())
}

fn changed_at(layout: &Layout, sha256: Sha256) -> Option<(i64, i64)> {
    let metadata = fs::metadata(layout.object(sha256)).ok()?;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}
