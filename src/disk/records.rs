//! Reading the records of a target.

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

/// Bound on the record files that are read of one target.
const MAX_ENTRIES: usize = 256;

/// Reads the records of a target.
///
/// # Errors
/// [`DiskError`] if the disk refuses.
pub fn look_up(layout: &Layout, key: Key) -> Result<TargetLookup, DiskError> {
    let known = known(layout, key)?;
    Ok(known.map_or(TargetLookup::NeverStored, |known| {
        TargetLookup::Known(Arc::new(known))
    }))
}

/// Reads the records and pins of a target. Returns `None` if it has no records.
///
/// # Errors
/// [`DiskError`] if the disk refuses.
pub fn known(layout: &Layout, key: Key) -> Result<Option<TargetRecords>, DiskError> {
    let records = read_all(layout, key)?;
    let pins = if records.is_empty() {
        Vec::new()
    } else {
        pins::of(layout, key)?
    };
    Ok(choose(layout, records, &pins))
}

/// Chooses the active record of a target that has these records and pins.
pub fn choose(layout: &Layout, records: Vec<Record>, pins: &[Pin]) -> Option<TargetRecords> {
    let is_recorded = |pin: &&Pin| records.iter().any(|record| record.sha256 == pin.sha256);
    let pinned = pins.iter().find(is_recorded).map(|pin| pin.sha256);
    TargetRecords::new(records, pinned, |record| is_cached(layout, record))
}

/// Whether the kernel knows, without a wait for the disk, that a target has no records. False says
/// nothing.
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

/// All records of a target that can be read, up to a bound, and those that are pinned in any case.
/// Damaged ones count as absent; the file stays until it is verified, or an operator looks at it.
pub fn read_all(layout: &Layout, key: Key) -> Result<Vec<Record>, DiskError> {
    let folder = match fs::read_dir(layout.records_of(key)) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    for entry in folder.take(MAX_ENTRIES) {
        let entry = entry?;
        if !entry.file_type()?.is_file() || named_record(&entry.path()).is_none() {
            continue;
        }
        let bytes = read(&entry.path())?;
        match parse(&bytes, key) {
            Ok(record) => records.push(record),
            Err(why) => {
                tracing::warn!(path = %entry.path().display(), why, "a record is damaged and is passed over");
            }
        }
    }
    if records.len() >= MAX_ENTRIES {
        for pin in pins::of(layout, key)? {
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

/// One record, if it can be read.
pub fn read_one(layout: &Layout, key: Key, sha256: Sha256) -> Result<Option<Record>, DiskError> {
    match read(&layout.record(key, sha256)) {
        Ok(bytes) => Ok(parse(&bytes, key)
            .ok()
            .filter(|record| record.sha256 == sha256)),
        Err(DiskError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the file of a record holds, if it is there.
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

/// Shows target and digest of every record, by their names. What is being made or removed meanwhile
/// may be missed.
pub fn walk(
    layout: &Layout,
    mut show: impl FnMut(Key, Sha256) -> Result<(), DiskError>,
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
                if let Some(sha256) = named_record(&path) {
                    show(key, sha256)?;
                }
            }
        }
    }
    Ok(())
}

/// The digest in `<sha256>.json`.
fn named_record(path: &Path) -> Option<Sha256> {
    let is_json = path.extension().is_some_and(|ending| ending == "json");
    path.file_stem().filter(|_| is_json)?.to_str()?.parse().ok()
}

/// An error here says nothing about the record: to count it as absent would let other bytes in.
fn read(path: &Path) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_RECORD_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], key: Key) -> Result<Record, String> {
    let record = Record::parse(bytes).map_err(|error| error.to_string())?;
    if record.key() == key {
        Ok(record)
    } else {
        Err("the record is of another target".to_owned())
    }
}

pub fn is_cached(layout: &Layout, record: &Record) -> bool {
    fs::metadata(layout.object(record.sha256))
        .is_ok_and(|metadata| metadata.len() == record.size_bytes)
}
