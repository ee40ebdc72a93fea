//! Reads the records of targets. The main function is [`look_up`].

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::layout::Layout;
use super::pins::{self, Pin};
use super::{DiskError, TargetLookup, TargetRecords};
use crate::model::{Key, MAX_RECORD_BYTES, Record, RecordError, Sha256};

/// Bound on the record files of one target that are read.
const MAX_ENTRIES: usize = 256;

/// Looks a target up.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn look_up(layout: &Layout, key: Key) -> Result<TargetLookup, DiskError> {
    let known = read_target(layout, key)?;
    Ok(known.map_or(TargetLookup::NeverStored, |known| {
        TargetLookup::Known(Arc::new(known))
    }))
}

/// Reads the records and pins of a target. Returns `None` if the target has no records.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn read_target(layout: &Layout, key: Key) -> Result<Option<TargetRecords>, DiskError> {
    let records = read_all(layout, key)?;
    let pins = if records.is_empty() {
        Vec::new()
    } else {
        pins::list(layout, key)?
    };
    Ok(choose_active(layout, records, &pins))
}

/// Chooses the active record of a target that has these records and pins. Returns `None` without
/// records.
pub fn choose_active(layout: &Layout, records: Vec<Record>, pins: &[Pin]) -> Option<TargetRecords> {
    let is_recorded = |pin: &&Pin| records.iter().any(|record| record.sha256 == pin.sha256);
    let pinned = pins.iter().find(is_recorded).map(|pin| pin.sha256);
    TargetRecords::new(records, pinned, |record| is_cached(layout, record))
}

/// Returns whether a target has no records according to the kernel's cache, without waiting for the
/// disk. False does not mean that there are records.
pub fn is_surely_absent(layout: &Layout, key: Key) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(
        CWD,
        layout.records_of(key),
        flags,
        Mode::empty(),
        ResolveFlags::CACHED,
    )
    .err()
        == Some(Errno::NOENT)
}

/// Reads the records of a target, up to `MAX_ENTRIES`, and all pinned ones. A damaged record counts
/// as missing, and its file stays until the scrub.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn read_all(layout: &Layout, key: Key) -> Result<Vec<Record>, DiskError> {
    let folder = match fs::read_dir(layout.records_of(key)) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    for entry in folder.take(MAX_ENTRIES) {
        let entry = entry?;
        if !entry.file_type()?.is_file() || digest_in_name(&entry.path()).is_none() {
            continue;
        }
        let bytes = read(&entry.path())?;
        match parse(&bytes, key) {
            Ok(record) => records.push(record),
            Err(error) => {
                let path = entry.path();
                tracing::warn!(path = %path.display(), %error, "damaged record ignored");
            }
        }
    }
    if records.len() >= MAX_ENTRIES {
        for pin in pins::list(layout, key)? {
            if !records
                .iter()
                .any(|record: &Record| record.sha256 == pin.sha256)
            {
                records.extend(read_one(layout, key, pin.sha256)?);
            }
        }
    }
    Ok(records)
}

/// Reads one record. Returns `None` if it does not exist or is damaged.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn read_one(layout: &Layout, key: Key, sha256: Sha256) -> Result<Option<Record>, DiskError> {
    match read(&layout.record(key, sha256)) {
        Ok(bytes) => Ok(parse(&bytes, key)
            .ok()
            .filter(|record| record.sha256 == sha256)),
        Err(DiskError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Parses the file of one record, without comparing it with its name. Returns `None` if it does not
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
        Ok(bytes) => Ok(Some(Record::parse(&bytes))),
        Err(DiskError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `visit` with the key and digest in the path of every record. A record that is created or
/// removed at the same time may be missed.
///
/// # Errors
/// [`DiskError`] if the disk fails, or the error of `visit`.
pub fn walk(
    layout: &Layout,
    mut visit: impl FnMut(Key, Sha256) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    for folder in fs::read_dir(layout.records())? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for target in fs::read_dir(folder.path())? {
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
    }
    Ok(())
}

/// Returns the digest in `<sha256>.json`, or `None` for another name.
fn digest_in_name(path: &Path) -> Option<Sha256> {
    let is_json = path.extension().is_some_and(|ending| ending == "json");
    path.file_stem().filter(|_| is_json)?.to_str()?.parse().ok()
}

/// Reads a record file. On an error the record must not count as missing, because then the target
/// could get other bytes.
fn read(path: &Path) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_RECORD_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a record and checks that it belongs to the target.
fn parse(bytes: &[u8], key: Key) -> Result<Record, RecordError> {
    let record = Record::parse(bytes)?;
    if record.key() == key {
        Ok(record)
    } else {
        Err(RecordError::OtherTarget)
    }
}

/// Returns whether the object of a record is on the disk in its full length.
pub fn is_cached(layout: &Layout, record: &Record) -> bool {
    fs::metadata(layout.object(record.sha256))
        .is_ok_and(|metadata| metadata.len() == record.size_bytes)
}
