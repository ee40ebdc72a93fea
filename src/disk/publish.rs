//! Publishing, the only operation that creates objects together with their records.
//!
//! An object is created before its record, so that a reader that finds a record also finds its
//! object. The main function is [`publish`].

use std::sync::Arc;

use fs_err as fs;

use super::index::{IndexedObject, ObjectClass, PendingUpload};
use super::metadata_ledger::object_disk_bytes;
use super::move_object::move_object;
use super::record_files::{create_record, create_record_with_object};
use super::{DiskError, DiskStore, Sealed, TargetLookup, compaction, pins, records};
use crate::model::{Acceptance, Record, Sha256, Standing};

/// Bound on the records of a target while an operator has not accepted the newest. Some targets
/// return other bytes each time.
const MAX_UNACCEPTED: usize = 8;

/// How a published record is placed among those of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The record comes from a replica, and has its generation.
    Recorded,
    /// The record is new, and gets the next generation.
    New(Acceptance),
}

/// Outcome of publishing a body.
#[derive(Debug)]
pub struct Published {
    /// The published record.
    pub record: Arc<Record>,
    /// The records of the target, with the new one.
    pub lookup: TargetLookup,
    /// Digest that answers for the target, if that is not the published one but an earlier or
    /// pinned one.
    pub differs_from: Option<Sha256>,
}

/// Moves a sealed body into the objects folder, then creates the record that names it. Enqueues an
/// upload if there is a replica.
///
/// # Errors
/// [`DiskError::TooManyRecords`] if the target has too many other bytes, or [`DiskError`] if the
/// disk fails. Then nothing is published, or only an object that no record names.
pub fn publish(
    disk: &DiskStore,
    sealed: &Sealed,
    record: &Record,
    placement: Placement,
) -> Result<Published, DiskError> {
    let key = record.key();
    let sha256 = sealed.digests.sha256;
    let record = {
        // Only one process at a time may give a record the next generation.
        let _target_lock = disk.layout.lock_target(key)?;
        let record = place(disk, record, placement)?;
        // Without the lock, an eviction between the two steps would leave a record without its
        // object.
        let _lock = disk.layout.lock_object(sha256)?;
        let moved = move_object(disk, sealed, record.headers.modified_at())?;
        let recorded = create_record_with_object(disk, moved, &record);
        index_object(disk, &record, Some(sealed.file.id));
        recorded.map(|()| record)?
    };
    announce(disk, record)
}

/// Creates a record for an object that only observations named so far. Returns `None` if the object
/// is not stored.
///
/// # Errors
/// [`DiskError`] if the disk fails. Then the record is missing.
pub fn adopt(disk: &DiskStore, record: &Record) -> Result<Option<Published>, DiskError> {
    let record = {
        let _target_lock = disk.layout.lock_target(record.key())?;
        let record = place(disk, record, Placement::New(Acceptance::IfFirst))?;
        let _lock = disk.layout.lock_object(record.sha256)?;
        let stored = fs::metadata(disk.layout.object(record.sha256));
        if !stored.is_ok_and(|stored| stored.len() == record.size_bytes) {
            return Ok(None);
        }
        create_record(disk, &record)?;
        record
    };
    index_object(disk, &record, None);
    announce(disk, record).map(Some)
}

/// Enqueues the upload of a record, and looks its target up.
pub(super) fn announce(disk: &DiskStore, record: Record) -> Result<Published, DiskError> {
    let (key, sha256) = (record.key(), record.sha256);
    if let Err(error) = enqueue_upload(disk, PendingUpload { key, sha256 }) {
        tracing::warn!(%error, %sha256, "published object is missing in the upload queue");
        disk.request_reindex();
    }
    let lookup = records::look_up(&disk.layout, key)?;
    let answers = match &lookup {
        TargetLookup::Known(known) => known.active().sha256,
        TargetLookup::Unreadable { record, .. } => record.sha256,
        TargetLookup::NeverStored => sha256,
    };
    if let Err(error) = notify_low_space(disk) {
        tracing::warn!(%error, "use of the cache disk is unknown");
    }
    Ok(Published {
        record: Arc::new(record),
        lookup,
        differs_from: (answers != sha256).then_some(answers),
    })
}

/// Wakes the eviction and the compaction of records if a bound is exceeded.
fn notify_low_space(disk: &DiskStore) -> Result<(), DiskError> {
    disk.flush_large_changes()?;
    let is_above = disk.counted_bytes()? > disk.config.high_watermark_bytes;
    if is_above || compaction::is_due(disk)? {
        disk.low_space.notify_one();
    }
    Ok(())
}

/// Places a record among those that its target has.
pub(super) fn place(
    disk: &DiskStore,
    record: &Record,
    placement: Placement,
) -> Result<Record, DiskError> {
    let Placement::New(acceptance) = placement else {
        return Ok(record.clone());
    };
    let existing = records::read_all(&disk.layout, record.key())?;
    let is_known = existing.digests().any(|sha256| sha256 == record.sha256);
    let placed = existing.place(record.clone(), acceptance);
    let bound = match placed.standing {
        Standing::Established => records::MAX_RECORDS,
        Standing::Witnessed => MAX_UNACCEPTED,
    };
    if !is_known && (existing.count() >= bound || compaction::is_full(disk)?) {
        return Err(DiskError::TooManyRecords);
    }
    Ok(placed)
}

/// Adds the object of a record to the index, and releases the reservation of its body. The object
/// exists even if its record was not created, so its bytes count as cached.
pub(super) fn index_object(disk: &DiskStore, record: &Record, reserved: Option<u64>) {
    let (sha256, class) = (record.sha256, ObjectClass::Recorded);
    let reservation = reserved.map(|id| (disk.slot.name.as_str(), id));
    let object = indexed_object(disk, sha256, record.size_bytes);
    if let Err(error) = disk.index.insert(object, class, reservation) {
        tracing::warn!(%error, %sha256, "published object is missing in the index");
        disk.request_reindex();
    }
    disk.piece_queue.add(sha256, record.size_bytes);
}

/// Returns an object for the index, with the bytes that its file takes.
pub(super) fn indexed_object(disk: &DiskStore, sha256: Sha256, size_bytes: u64) -> IndexedObject {
    let stored = fs::metadata(disk.layout.object(sha256));
    let disk_bytes = stored.map_or(size_bytes, |stored| object_disk_bytes(&stored));
    IndexedObject::new(sha256, size_bytes, disk_bytes)
}

/// Publishes a body, and pins the target to it. The object cannot be evicted in between.
///
/// # Errors
/// As [`publish`].
pub fn publish_pinned(
    disk: &DiskStore,
    sealed: &Sealed,
    record: &Record,
) -> Result<Published, DiskError> {
    let (key, sha256) = (record.key(), record.sha256);
    pins::protect(disk, key, sha256)?;
    let mut published = publish(disk, sealed, record, Placement::New(Acceptance::Accepted))?;
    pins::pin(disk, key, sha256)?;
    published.lookup = records::look_up(&disk.layout, key)?;
    Ok(published)
}

/// Adds a record to the upload queue, unless the replica has the record and its object.
fn enqueue_upload(disk: &DiskStore, pending: PendingUpload) -> Result<(), DiskError> {
    let PendingUpload { key, sha256 } = pending;
    let Some(markers) = &disk.markers else {
        return Ok(());
    };
    if !markers.has_record(key, sha256) || !markers.has_object(sha256) {
        disk.index.uploads().enqueue_published(pending)?;
    }
    Ok(())
}
