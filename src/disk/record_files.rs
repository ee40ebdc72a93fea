//! Creates and replaces the files of records.
//!
//! A record replaces one that cannot be read, or one with a later place. This file must not know
//! how objects are published. Its main function is [`create_record`].

use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use fs_err as fs;

use super::index::PendingUpload;
use super::metadata_ledger::MetadataKind;
use super::move_object::MovedObject;
use super::open_file::digest_of;
use super::{DiskError, DiskStore, compact_log, durable_dirs, quarantine, records};
use crate::model::{Algorithm, Digests, Key, Record, RecordOrder, RecordSource, Sha256, Target};

/// Source of a record that was rebuilt from its object.
const REBUILT_SOURCE: &str = "rebuilt";

/// Creates the file of a record, atomically and durably. An existing file stays as it is, unless it
/// cannot be read or has a later place. The caller holds the lock of the object.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn create_record(disk: &DiskStore, record: &Record) -> Result<(), DiskError> {
    write(disk, record, None, replaces)
}

/// Does the same as [`create_record`], and makes the object durable before.
///
/// # Errors
/// As [`create_record`].
pub(super) fn create_record_with_object(
    disk: &DiskStore,
    object: MovedObject,
    record: &Record,
) -> Result<(), DiskError> {
    write(disk, record, Some(object), replaces)
}

/// Writes a record to a draft, and links the draft under the name of the record. If the name
/// exists, `replaces` decides whether the draft is renamed over it.
///
/// The draft is synced once the object and the folder are in place. File systems with a journal
/// write all three at once then.
fn write(
    disk: &DiskStore,
    record: &Record,
    object: Option<MovedObject>,
    replaces: impl Fn(&DiskStore, &Record) -> bool,
) -> Result<(), DiskError> {
    let path = disk.layout.record(record.key(), record.sha256);
    let folder = path.parent().expect("a record lies in a folder");
    let _counted = disk
        .metadata
        .watch(MetadataKind::Records, folder.to_owned());
    durable_dirs::make(folder)?;
    let (_, draft) = disk.slot.next_file();
    let drafted = write_draft(&draft, record);
    // Also without a draft: another record may name the object.
    let in_place = object.map_or(Ok(()), |object| object.sync(disk));
    let linked = drafted
        .map_err(DiskError::from)
        .and(in_place)
        .and_then(|()| {
            disk.dirs.sync_entries(folder)?;
            match fs::hard_link(&draft, &path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
                Err(_) if replaces(disk, record) => Ok(fs::rename(&draft, &path)?),
                _ => Ok(()),
            }
        });
    durable_dirs::remove_if_exists(&draft)?;
    linked?;
    durable_dirs::sync(folder)?;
    disk.catalog.add_record(record);
    Ok(())
}

fn write_draft(draft: &Path, record: &Record) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(draft)?;
    file.write_all(&record.to_bytes())?;
    file.sync_all()
}

/// Returns whether a record replaces the existing file of the same target and digest.
fn replaces(disk: &DiskStore, record: &Record) -> bool {
    let (key, sha256) = (record.key(), record.sha256);
    match records::parse_one(&disk.layout, key, sha256) {
        Ok(Some(Ok(existing))) => {
            let is_better = RecordOrder::of(record) < RecordOrder::of(&existing);
            let has_length = existing.size_bytes == record.size_bytes;
            is_better || (!has_length && records::is_cached(&disk.layout, record))
        }
        _ => is_replaceable(disk, record),
    }
}

/// Returns whether the existing file may be replaced. A folder and a file of a newer release may
/// not.
fn is_replaceable(disk: &DiskStore, record: &Record) -> bool {
    let (key, sha256) = (record.key(), record.sha256);
    let parsed = records::parse_one(&disk.layout, key, sha256);
    let is_newer = matches!(parsed, Ok(Some(Err(error))) if error.is_newer_version());
    !is_newer && !disk.layout.record(key, sha256).is_dir()
}

/// Creates the files of records that the replica has, with their markers. Returns the number of new
/// or earlier records.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn import_records(disk: &DiskStore, found: &[Record]) -> Result<u64, DiskError> {
    let mut new = 0;
    for record in found {
        let (key, sha256) = (record.key(), record.sha256);
        // The folder of a target that is compacted now must not vanish.
        let _target_lock = disk.layout.lock_target(key)?;
        let _lock = disk.layout.lock_object(sha256)?;
        let is_new = !disk.layout.record(key, sha256).exists() || replaces(disk, record);
        if is_new {
            write(disk, record, None, |_, _| true)?;
            new += 1;
        }
        if let Some(markers) = &disk.markers {
            markers.set_record(key, sha256)?;
        }
    }
    Ok(new)
}

/// Removes a record, compacted or not. The caller holds the lock of the target.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn remove_record(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<(), DiskError> {
    let folder = disk.layout.records_of(key);
    let _counted = disk.metadata.watch(MetadataKind::Records, folder);
    compact_log::remove(disk, key, sha256)?;
    durable_dirs::remove_if_exists(&disk.layout.record(key, sha256))?;
    disk.catalog.remove_record(key, sha256);
    Ok(())
}

/// Creates a record in place of a damaged one, from its object and from the readable fields of the
/// damaged one, which is kept in quarantine. Returns `None` if the object is not on the disk or
/// does not have its digest. A file of a newer release stays.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn rebuild_record(
    disk: &DiskStore,
    target: &Target,
    sha256: Sha256,
) -> Result<Option<Record>, DiskError> {
    let key = Key::new(target);
    let file = match fs::File::open(disk.layout.object(sha256)) {
        Ok(file) => file.into_parts().0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if digest_of(&file, Algorithm::Sha256)? != sha256.into() {
        return Ok(None);
    }
    let size_bytes = file.metadata()?.len();
    let _target_lock = disk.layout.lock_target(key)?;
    let record = match records::parse_content(&disk.layout, key, sha256) {
        Some(mut damaged) if damaged.key() == key => {
            damaged.sha256 = sha256;
            damaged.size_bytes = size_bytes;
            damaged.digests.clear();
            damaged
        }
        _ => {
            let source = RecordSource {
                source: REBUILT_SOURCE.to_owned(),
                ..RecordSource::default()
            };
            let digests = Digests::from(sha256);
            let record = Record::new(target, digests, size_bytes, SystemTime::now(), source);
            records::read_all(&disk.layout, key)?.place_rebuilt(record)
        }
    };
    if is_replaceable(disk, &record) {
        replace_damaged(disk, &record)?;
        tracing::warn!(uri = %target, %sha256, "record rebuilt from its object");
        if disk.markers.is_some() {
            disk.index
                .uploads()
                .enqueue(&[PendingUpload { key, sha256 }])?;
        }
    }
    Ok(Some(record))
}

/// Replaces a damaged record, and keeps its file in quarantine.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn replace_damaged(disk: &DiskStore, record: &Record) -> Result<(), DiskError> {
    let (key, sha256) = (record.key(), record.sha256);
    let _lock = disk.layout.lock_object(sha256)?;
    let path = disk.layout.record(key, sha256);
    quarantine::copy_in(disk, &path, &format!("{key}.{sha256}.json"))?;
    write(disk, record, None, |_, _| true)
}
