//! Publishing of bytes that never replace others: a target that has an answer keeps it.
//!
//! The main function is [`publish_first`].

use fs_err as fs;

use super::move_object::move_object;
use super::publish::{Placement, announce, index_object, place};
use super::record_files::{create_record, create_record_with_object};
use super::{DiskError, DiskStore, Sealed, TargetLookup, pins, records};
use crate::model::{Acceptance, Key, Record, Sha256};

/// Outcome of publishing bytes that never replace others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPublished {
    /// The target is answered with the bytes.
    Answers,
    /// The target is answered with other bytes. It has no new record.
    OtherBytes(Sha256),
    /// There is no body, and no object of this digest and size is stored. Nothing was changed.
    NoObject,
}

/// Publishes a body under a record, unless the target has other bytes. Without a body, the object
/// must be stored already. If `pinned`, the target is pinned to it, and it cannot be evicted in
/// between.
///
/// # Errors
/// [`DiskError`] if the disk fails. Then nothing is published, or only an object that no record
/// names.
pub fn publish_first(
    disk: &DiskStore,
    sealed: Option<&Sealed>,
    record: &Record,
    pinned: bool,
) -> Result<FirstPublished, DiskError> {
    let (key, sha256) = (record.key(), record.sha256);
    let _target_lock = disk.layout.lock_target(key)?;
    if let Some(other) = answer_of(disk, key)?.filter(|answer| *answer != sha256) {
        return Ok(FirstPublished::OtherBytes(other));
    }
    if sealed.is_none() && !is_stored(disk, record) {
        return Ok(FirstPublished::NoObject);
    }
    if pinned {
        pins::protect(disk, key, sha256)?;
    }
    let placed = place(disk, record, Placement::New(Acceptance::IfFirst))?;
    {
        let _lock = disk.layout.lock_object(sha256)?;
        let recorded = match sealed {
            Some(sealed) => {
                let moved = move_object(disk, sealed, None)?;
                create_record_with_object(disk, moved, &placed)
            }
            // An eviction was faster. A marker without a pin protects an object without need only.
            None if !is_stored(disk, record) => return Ok(FirstPublished::NoObject),
            None => create_record(disk, &placed),
        };
        index_object(disk, &placed, sealed.map(|sealed| sealed.file.id));
        recorded?;
    }
    if pinned {
        pins::pin(disk, key, sha256)?;
    }
    let published = announce(disk, placed)?;
    Ok(published
        .differs_from
        .map_or(FirstPublished::Answers, FirstPublished::OtherBytes))
}

/// Returns the digest of the bytes that answer for a target.
fn answer_of(disk: &DiskStore, key: Key) -> Result<Option<Sha256>, DiskError> {
    Ok(match records::look_up(&disk.layout, key)? {
        TargetLookup::Known(known) => Some(known.active().sha256),
        TargetLookup::Unreadable { record, .. } => Some(record.sha256),
        TargetLookup::NeverStored => None,
    })
}

fn is_stored(disk: &DiskStore, record: &Record) -> bool {
    let stored = fs::metadata(disk.layout.object(record.sha256));
    !disk.is_unreadable(record.sha256)
        && stored.is_ok_and(|stored| stored.len() == record.size_bytes)
}
