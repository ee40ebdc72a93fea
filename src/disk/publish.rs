//! Publishing, the only operation that creates objects and records.
//!
//! An object is created before its record, so that a reader that finds a record also finds its
//! object. The main function is [`publish`].

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use fs_err as fs;

use super::index::{ObjectClass, PendingUpload};
use super::{DiskError, DiskStore, Sealed, TargetRecords, durable_dirs, missing, pins, records};
use crate::model::{Record, Sha256};

/// Mode of an object. Objects are never written again.
const OBJECT_MODE: u32 = 0o444;

/// Outcome of publishing a body.
#[derive(Debug)]
pub struct Published {
    /// The records of the target, with the new one.
    pub records: Arc<TargetRecords>,
    /// Digest of the target's active record, if that is not the published one but an earlier or
    /// pinned one.
    pub differs_from: Option<Sha256>,
}

/// Moves a sealed body into the objects folder, then creates the record that names it. Enqueues an
/// upload if there is a replica.
///
/// # Errors
/// [`DiskError`] if the disk fails. Then nothing is published, or only an object that no record
/// names.
pub fn publish(disk: &DiskStore, sealed: &Sealed, record: &Record) -> Result<Published, DiskError> {
    let key = record.key();
    let sha256 = sealed.digests.sha256;
    let recorded = {
        // Without the lock, an eviction between the two steps would leave a record without its
        // object.
        let _lock = disk.layout.lock_object(sha256)?;
        place_object(disk, sealed, record.headers.modified_at())?;
        create_record(disk, record, &disk.layout.record(key, sha256))
    };
    // The object exists even if the record was not created. Its bytes count as cached, not as
    // reserved.
    index_object(disk, record, Some(sealed.file.id));
    recorded?;
    announce(disk, record)
}

/// Creates a record for an object that only observations named so far. Returns `None` if the object
/// is not stored.
///
/// # Errors
/// [`DiskError`] if the disk fails. Then the record is missing.
pub fn adopt(disk: &DiskStore, record: &Record) -> Result<Option<Published>, DiskError> {
    let (key, sha256) = (record.key(), record.sha256);
    {
        let _lock = disk.layout.lock_object(sha256)?;
        let stored = fs::metadata(disk.layout.object(sha256));
        if !stored.is_ok_and(|stored| stored.len() == record.size_bytes) {
            return Ok(None);
        }
        create_record(disk, record, &disk.layout.record(key, sha256))?;
    }
    index_object(disk, record, None);
    announce(disk, record).map(Some)
}

/// Adds the object of a record to the index, and releases the reservation of its body.
fn index_object(disk: &DiskStore, record: &Record, reserved: Option<u64>) {
    let (sha256, class) = (record.sha256, ObjectClass::Recorded);
    let reservation = reserved.map(|id| (disk.slot.name.as_str(), id));
    let inserted = disk
        .index
        .insert(sha256, record.size_bytes, class, reservation);
    if let Err(error) = inserted {
        tracing::warn!(%error, %sha256, "published object is missing in the index");
        disk.request_reindex();
    }
}

/// Enqueues the upload of a record, and returns the records of its target.
fn announce(disk: &DiskStore, record: &Record) -> Result<Published, DiskError> {
    let (key, sha256) = (record.key(), record.sha256);
    if let Err(error) = enqueue_upload(disk, PendingUpload { key, sha256 }) {
        tracing::warn!(%error, %sha256, "published object is missing in the upload queue");
        disk.request_reindex();
    }
    let known = records::read_target(&disk.layout, key)?
        .or_else(|| TargetRecords::new(vec![record.clone()], None, |_| true))
        .expect("one record is enough");
    let active = known.active().sha256;
    if disk
        .index
        .cached_bytes()
        .is_ok_and(|cached_bytes| cached_bytes > disk.config.high_watermark_bytes)
    {
        disk.low_space.notify_one();
    }
    Ok(Published {
        records: Arc::new(known),
        differs_from: (active != sha256).then_some(active),
    })
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
    let mut published = publish(disk, sealed, record)?;
    pins::pin(disk, key, sha256)?;
    if let Some(known) = records::read_target(&disk.layout, key)? {
        published.records = Arc::new(known);
    }
    Ok(published)
}

/// Adds a record to the upload queue, unless the replica has the record and its object.
fn enqueue_upload(disk: &DiskStore, pending: PendingUpload) -> Result<(), DiskError> {
    let PendingUpload { key, sha256 } = pending;
    let Some(markers) = &disk.markers else {
        return Ok(());
    };
    if !markers.has_record(key, sha256) || !markers.has_object(sha256) {
        disk.index.uploads().enqueue(&[pending])?;
    }
    Ok(())
}

/// Moves the staged file into the objects folder. It replaces an object with the same digest,
/// because that object may be unreadable.
pub(super) fn place_object(
    disk: &DiskStore,
    sealed: &Sealed,
    modified_at: Option<SystemTime>,
) -> Result<(), DiskError> {
    let sha256 = sealed.digests.sha256;
    let path = disk.layout.object(sha256);
    let folder = path.parent().expect("an object lies in a folder");
    disk.dirs.create(folder)?;
    // An existing object keeps its date. Another target may have stored it with another date.
    let modified_at = fs::metadata(&path)
        .and_then(|existing| existing.modified())
        .ok()
        .or(modified_at);
    if let Some(modified_at) = modified_at {
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
    sealed.file.is_published.store(true, Ordering::Release);
    durable_dirs::sync(folder)?;
    disk.unreadable.invalidate(&sha256);
    missing::clear(disk, sha256)
}

/// Creates a record file, atomically and durably. An existing file stays as it is.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn create_record(disk: &DiskStore, record: &Record, path: &Path) -> Result<(), DiskError> {
    let folder = path.parent().expect("a record lies in a folder");
    disk.dirs.create(folder)?;
    let (_, draft) = disk.slot.next_file();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&draft)?;
    file.write_all(&record.to_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(durable_dirs::sync(folder)?),
    }
}

/// Creates the files of records that the replica has, with their markers. Returns the number of new
/// files.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn import_records(disk: &DiskStore, found: &[Record]) -> Result<u64, DiskError> {
    let mut new = 0;
    for record in found {
        let (key, sha256) = (record.key(), record.sha256);
        let path = disk.layout.record(key, sha256);
        new += u64::from(!path.exists());
        create_record(disk, record, &path)?;
        if let Some(markers) = &disk.markers {
            markers.set_record(key, sha256)?;
        }
    }
    Ok(new)
}
