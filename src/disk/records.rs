//! Reads the records of targets. The main function is [`look_up`].

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use rustix::io::Errno;

use super::compact_log::{self, LogState, shard_of};
use super::layout::Layout;
use super::pins::{self, Pin};
use super::target_records::ActiveState;
use super::{
    DiskError, DiskStore, TargetLookup, TargetRecords, absence, durable_dirs, record_content,
};
use crate::model::{
    Answer, Key, MAX_RECORD_BYTES, Record, RecordError, RecordSet, Sha256, Target,
    UnreadableReason, UnreadableRecord,
};

/// Bound on the records of one target.
pub const MAX_RECORDS: usize = 256;

/// Looks a target up.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn look_up(layout: &Layout, key: Key) -> Result<TargetLookup, DiskError> {
    let records = read_all(layout, key)?;
    let pins = if records.count() == 0 {
        Vec::new()
    } else {
        pins::list(layout, key)?
    };
    Ok(choose(layout, records, &pins))
}

/// Chooses the record that answers for a target with these records and pins.
pub fn choose(layout: &Layout, records: RecordSet, pins: &[Pin]) -> TargetLookup {
    let pinned: Vec<_> = pins.iter().map(|pin| pin.sha256).collect();
    match records.answer(&pinned) {
        Answer::Nothing => TargetLookup::NeverStored,
        Answer::Unreadable(record) => TargetLookup::Unreadable {
            record,
            is_pinned: pinned.contains(&record.sha256),
        },
        Answer::Record(active) => {
            let state = ActiveState {
                is_cached: is_cached(layout, active),
                is_pinned: pinned.contains(&active.sha256),
            };
            let active = active.clone();
            TargetLookup::Known(Arc::new(TargetRecords::new(active, records, state)))
        }
    }
}

/// Returns whether a target has no records according to the kernel's cache, without waiting for the
/// disk. False does not mean that there are records.
pub fn is_surely_absent(disk: &DiskStore, key: Key) -> bool {
    absence::is_surely_absent(&disk.layout.records_of(key))
        && disk
            .absent_logs
            .is_absent(key, || disk.layout.compact_log(&shard_of(key)))
}

/// Reads the records of a target, up to `MAX_RECORDS`, and all pinned ones, compacted or not. A
/// record that cannot be read is known by its name.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn read_all(layout: &Layout, key: Key) -> Result<RecordSet, DiskError> {
    let mut records = read_folder(layout, key)?;
    if compact_log::add_records(layout, key, MAX_RECORDS, &mut records)? == LogState::Missing {
        return Ok(records);
    }
    if records.count() == 0 && layout.records_of(key).is_dir() {
        // They were in the log when the folder was read, and are in the folder now.
        return read_folder(layout, key);
    }
    Ok(records)
}

/// Reads the record files of a target, as [`read_all`] does.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn read_folder(layout: &Layout, key: Key) -> Result<RecordSet, DiskError> {
    let folder = match fs::read_dir(layout.records_of(key)) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RecordSet::default()),
        Err(error) => return Err(error.into()),
    };
    let mut records = RecordSet::default();
    for entry in folder.take(MAX_RECORDS) {
        let entry = entry?;
        let Some(sha256) = digest_in_name(&entry.path()) else {
            continue;
        };
        if entry.file_type()?.is_file() {
            add(layout, key, sha256, &mut records)?;
        } else {
            // Opening a named pipe would block.
            let reason = UnreadableReason::Damaged;
            records.unreadable.push(UnreadableRecord { sha256, reason });
        }
    }
    if records.count() >= MAX_RECORDS {
        for pin in pins::list(layout, key)? {
            if !records.digests().any(|sha256| sha256 == pin.sha256) {
                add(layout, key, pin.sha256, &mut records)?;
            }
        }
    }
    Ok(records)
}

/// Reads one record and adds it, unless it was removed meanwhile.
fn add(
    layout: &Layout,
    key: Key,
    sha256: Sha256,
    records: &mut RecordSet,
) -> Result<(), DiskError> {
    match read(&layout.record(key, sha256)) {
        Ok(bytes) => record_content::add(&bytes, (key, sha256), records),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if is_fault_of_file(&error) => {
            tracing::warn!(%key, %sha256, %error, "record cannot be read");
            let reason = UnreadableReason::Damaged;
            records.unreadable.push(UnreadableRecord { sha256, reason });
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Returns whether an error concerns one file. After another error, such as too many open files,
/// the record may be intact.
fn is_fault_of_file(error: &io::Error) -> bool {
    const FAULTS: [Errno; 8] = [
        Errno::ACCESS,
        Errno::PERM,
        Errno::IO,
        Errno::ISDIR,
        Errno::NXIO,
        Errno::LOOP,
        Errno::BADMSG,
        Errno::UCLEAN,
    ];
    // An error with a path wraps the system's error.
    let wrapped = || {
        error
            .get_ref()?
            .source()?
            .downcast_ref::<io::Error>()?
            .raw_os_error()
    };
    error
        .raw_os_error()
        .or_else(wrapped)
        .is_some_and(|code| FAULTS.contains(&Errno::from_raw_os_error(code)))
}

/// Reads one record, compacted or not. Returns `None` if it does not exist or is damaged.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn read_one(layout: &Layout, key: Key, sha256: Sha256) -> Result<Option<Record>, DiskError> {
    if let Some(parsed) = parse_one(layout, key, sha256)? {
        return Ok(parsed.ok());
    }
    let mut compacted = RecordSet::default();
    compact_log::add_records(layout, key, MAX_RECORDS, &mut compacted)?;
    let mut compacted = compacted.readable.into_iter();
    Ok(compacted.find(|record| record.sha256 == sha256))
}

/// Returns whether a target has a record of these bytes, compacted or not, and readable or not.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn is_known(layout: &Layout, key: Key, sha256: Sha256) -> Result<bool, DiskError> {
    if layout.record(key, sha256).is_file() {
        return Ok(true);
    }
    let mut compacted = RecordSet::default();
    compact_log::add_records(layout, key, MAX_RECORDS, &mut compacted)?;
    Ok(compacted.digests().any(|known| known == sha256))
}

/// Parses the file of one record, and compares it with its name. Returns `None` if it does not
/// exist, and the inner error if it is damaged.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn parse_one(
    layout: &Layout,
    key: Key,
    sha256: Sha256,
) -> Result<Option<Result<Record, RecordError>>, DiskError> {
    match read(&layout.record(key, sha256)) {
        Ok(bytes) => Ok(Some(record_content::parse(&bytes, key, sha256))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Parses the file of one record, without comparing it with its path. Returns `None` if it cannot
/// be read.
pub fn parse_content(layout: &Layout, key: Key, sha256: Sha256) -> Option<Record> {
    Record::parse(&read(&layout.record(key, sha256)).ok()?).ok()
}

/// Finds the target in the file of a damaged record. The key proves that it is the right one.
pub fn find_target(layout: &Layout, key: Key, sha256: Sha256) -> Option<Target> {
    let bytes = read(&layout.record(key, sha256)).ok()?;
    let strings = bytes.split(|byte| *byte == b'"');
    let mut targets =
        strings.filter_map(|text| Target::parse(std::str::from_utf8(text).ok()?).ok());
    targets.find(|target| Key::new(target) == key)
}

/// Calls `visit` with the key and digest of every record, compacted or not. A record that is
/// created or removed at the same time may be missed.
///
/// # Errors
/// [`DiskError`] if the disk fails, or the error of `visit`.
pub fn walk(
    layout: &Layout,
    mut visit: impl FnMut(Key, Sha256) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    for folder in fs::read_dir(layout.records())? {
        let folder = folder?;
        if folder.file_type()?.is_dir() {
            walk_shard_folder(&folder.path(), &mut visit)?;
        }
    }
    for shard in (0..=u8::MAX).map(|shard| format!("{shard:02x}")) {
        walk_log(layout, &shard, &mut visit)?;
    }
    Ok(())
}

/// Calls `visit` with target and digest of each record whose key begins with this byte.
///
/// # Errors
/// [`DiskError`] if the disk fails, or the error of `visit`.
pub fn walk_shard(
    layout: &Layout,
    shard: u8,
    visit: &mut impl FnMut(Key, Sha256) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    let shard = format!("{shard:02x}");
    let folder = layout.records().join(&shard);
    if folder.is_dir() {
        walk_shard_folder(&folder, visit)?;
    }
    walk_log(layout, &shard, visit)
}

fn walk_shard_folder(
    folder: &Path,
    visit: &mut impl FnMut(Key, Sha256) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    for target in fs::read_dir(folder)? {
        let target = target?;
        let Some(key) = target
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<Key>().ok())
        else {
            continue;
        };
        let Ok(entries) = fs::read_dir(target.path()) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if let Some(sha256) = digest_in_name(&path) {
                visit(key, sha256)?;
            }
        }
    }
    Ok(())
}

fn walk_log(
    layout: &Layout,
    shard: &str,
    visit: &mut impl FnMut(Key, Sha256) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    for (key, sha256) in compact_log::names(layout, shard)? {
        if !layout.record(key, sha256).exists() {
            visit(key, sha256)?;
        }
    }
    Ok(())
}

/// Calls `visit` with each target that has a folder of records, and the digests of these.
///
/// # Errors
/// [`DiskError`] if the disk fails, or the error of `visit`.
pub fn walk_folders(
    layout: &Layout,
    mut visit: impl FnMut(Key, &[Sha256]) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    for shard in durable_dirs::names_in(&layout.records())? {
        let shard = layout.records().join(shard);
        for name in durable_dirs::names_in(&shard)? {
            let Ok(key) = name.parse::<Key>() else {
                continue;
            };
            let names = durable_dirs::names_in(&shard.join(name))?;
            let digests = names.iter().map(Path::new).filter_map(digest_in_name);
            visit(key, &digests.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// Returns the digest in `<sha256>.json`, or `None` for another name.
fn digest_in_name(path: &Path) -> Option<Sha256> {
    let is_json = path.extension().is_some_and(|ending| ending == "json");
    path.file_stem().filter(|_| is_json)?.to_str()?.parse().ok()
}

/// Reads the file of a record, up to one byte more than the largest one has.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_RECORD_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns whether the object of a record is on the disk in its full length.
pub fn is_cached(layout: &Layout, record: &Record) -> bool {
    fs::metadata(layout.object(record.sha256))
        .is_ok_and(|metadata| metadata.len() == record.size_bytes)
}
