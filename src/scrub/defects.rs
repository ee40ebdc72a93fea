//! Defects of the folder, and the checks of names, records and index that find them. No object is
//! read here.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use crate::disk::{self, DiskError, DiskStore, records};
use crate::model::{Key, RecordError, Sha256};

/// Index rows that are checked at a time.
const BATCH: usize = 1000;

/// The bits of a mode by which a file can be written to.
const WRITABLE: u32 = 0o222;

/// A defect of a file in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// An object has other bytes than its name says.
    Corrupt,
    /// The disk does not give an object's bytes. They may be right, and a failing disk is not
    /// written to.
    Unreadable,
    /// A record that cannot be one of its name.
    DamagedRecord,
    /// No record names an object, so that no request can get it.
    Orphan,
    /// The index lists an object that does not exist.
    Missing,
    /// An operator pinned an object that does not exist.
    PinnedMissing,
    /// An object can be written to.
    WritableObject,
    /// A file is of no known kind.
    UnknownFile,
}

/// A defect and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefectAt {
    pub defect: Defect,
    /// Path within the folder.
    pub name: String,
    pub detail: String,
}

/// Result of checking one part of the records.
#[derive(Default)]
pub struct RecordsCheck {
    /// Objects that records name, damaged records included.
    pub named: Vec<Sha256>,
    pub defects: Vec<DefectAt>,
    /// Objects of another length than a record says, with the record's path.
    pub of_other_length: Vec<(Sha256, String)>,
    /// Number of folders that could not be read.
    pub unread: u64,
}

pub fn check_records(disk: &DiskStore, part: u8) -> Result<RecordsCheck, DiskError> {
    let (layout, mut found) = (&disk.layout, RecordsCheck::default());
    let folder = part_of(&layout.records(), part);
    for target in names_in(&folder)? {
        let path = folder.join(&target);
        let is_folder = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Whatever lies in it is not known, and so no object is known to be an orphan.
            Err(error) => {
                found.unread += 1;
                found
                    .defects
                    .push(defect(disk, Defect::Unreadable, &path, error.to_string()));
                continue;
            }
        };
        let Some(key) = target
            .parse::<Key>()
            .ok()
            .filter(|key| is_folder && layout.records_of(*key) == path)
        else {
            found.defects.push(unknown_file(disk, &path));
            continue;
        };
        let names = match names_in(&path) {
            Ok(names) => names,
            Err(error) => {
                found.unread += 1;
                found
                    .defects
                    .push(defect(disk, Defect::Unreadable, &path, error.to_string()));
                continue;
            }
        };
        for name in names {
            let path = path.join(&name);
            let Some(sha256) = name
                .strip_suffix(".json")
                .and_then(|name| name.parse::<Sha256>().ok())
            else {
                found.defects.push(unknown_file(disk, &path));
                continue;
            };
            found.named.push(sha256);
            let cached_bytes = fs::metadata(layout.object(sha256))
                .ok()
                .map(|metadata| metadata.len());
            match damage_of(disk, key, sha256, cached_bytes) {
                Ok(None) => {}
                Err(error) => {
                    found
                        .defects
                        .push(defect(disk, Defect::Unreadable, &path, error.to_string()));
                }
                Ok(Some(Damage::Length)) => {
                    found.of_other_length.push((sha256, within(disk, &path)));
                }
                Ok(Some(Damage::Text(why))) => {
                    found
                        .defects
                        .push(defect(disk, Defect::DamagedRecord, &path, why));
                }
            }
        }
    }
    Ok(found)
}

/// What is wrong with a record.
pub enum Damage {
    /// It says another length than the object has.
    Length,
    Text(String),
}

/// What is wrong with a record, where its object has this length. A version that is not known here
/// is somebody's who knows more.
pub fn damage_of(
    disk: &DiskStore,
    key: Key,
    sha256: Sha256,
    cached_bytes: Option<u64>,
) -> Result<Option<Damage>, DiskError> {
    let damaged = |why: &str| Some(Damage::Text(why.to_owned()));
    Ok(match records::parse_one(&disk.layout, key, sha256)? {
        None | Some(Err(RecordError::Version(_))) => None,
        Some(Err(error)) => damaged(&error.to_string()),
        Some(Ok(record)) if record.key() != key => damaged("it is of another target"),
        Some(Ok(record)) if record.sha256 != sha256 => damaged("it is of other bytes"),
        Some(Ok(record)) => cached_bytes
            .filter(|cached_bytes| *cached_bytes != record.size_bytes)
            .map(|_| Damage::Length),
    })
}

/// What is wrong with the names in one part of the objects; where no record may name one, its
/// digest.
pub fn check_objects(
    disk: &DiskStore,
    part: u8,
    began: (i64, i64),
) -> Result<Vec<(DefectAt, Option<Sha256>)>, DiskError> {
    let (layout, mut found) = (&disk.layout, Vec::new());
    let folder = part_of(&layout.objects(), part);
    for name in names_in(&folder)? {
        let path = folder.join(&name);
        // It may be evicted at this moment.
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let Some(sha256) = name
            .parse()
            .ok()
            .filter(|sha256| layout.object(*sha256) == path && metadata.is_file())
        else {
            found.push((unknown_file(disk, &path), None));
            continue;
        };
        if metadata.mode() & WRITABLE != 0 {
            found.push((
                defect(
                    disk,
                    Defect::WritableObject,
                    &path,
                    format!("its mode is {:o}", metadata.mode() & 0o7777),
                ),
                None,
            ));
        }
        if changed_at(&metadata) < began {
            found.push((
                defect(disk, Defect::Orphan, &path, "no record names it".to_owned()),
                Some(sha256),
            ));
        }
    }
    Ok(found)
}

/// What neither lies in a folder of objects or records nor is one.
pub fn check_folders(disk: &DiskStore) -> Result<Vec<DefectAt>, DiskError> {
    let mut found = Vec::new();
    for root in [disk.layout.objects(), disk.layout.records()] {
        for name in names_in(&root)? {
            let is_known = (0..=u8::MAX).any(|folder| format!("{folder:02x}") == name);
            if !is_known || !root.join(&name).is_dir() {
                found.push(unknown_file(disk, &root.join(&name)));
            }
        }
    }
    Ok(found)
}

/// Strikes from the index what is not there, unless `is_dry_run`.
pub fn check_index(disk: &DiskStore, is_dry_run: bool) -> Result<Vec<DefectAt>, DiskError> {
    let (mut found, mut last) = (Vec::new(), Vec::new());
    loop {
        let listed = disk.index.objects_after(&last, BATCH)?;
        let Some(end) = listed.last() else {
            return Ok(found);
        };
        last = end.as_bytes().to_vec();
        for sha256 in listed {
            let path = disk.layout.object(sha256);
            if !is_absent(&path) {
                continue;
            }
            // Whoever evicts removes it from both under this lock.
            let _lock = disk.layout.lock_object(sha256)?;
            if is_absent(&path) && disk.index.size_of(sha256)?.is_some() {
                if !is_dry_run {
                    disk.index.remove(sha256)?;
                }
                found.push(defect(
                    disk,
                    Defect::Missing,
                    &path,
                    "the index lists it".to_owned(),
                ));
            }
        }
    }
}

/// An error says nothing of whether it is there.
fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn defect(disk: &DiskStore, defect: Defect, path: &Path, detail: String) -> DefectAt {
    DefectAt {
        defect,
        name: within(disk, path),
        detail,
    }
}

fn unknown_file(disk: &DiskStore, path: &Path) -> DefectAt {
    defect(
        disk,
        Defect::UnknownFile,
        path,
        "it is of no kind that is known".to_owned(),
    )
}

/// The name of a file within the folder.
fn within(disk: &DiskStore, path: &Path) -> String {
    path.strip_prefix(disk.layout.root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// `records/ab/<key>/<sha256>.json`, taken apart.
pub fn record_named(name: &str) -> Option<(Key, Sha256)> {
    let mut parts = name.rsplit('/');
    let sha256 = parts.next()?.strip_suffix(".json")?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, sha256))
}

pub fn part_of(root: &Path, part: u8) -> PathBuf {
    root.join(format!("{part:02x}"))
}

/// As [`disk::names_in`], also empty if the path is not a folder.
pub fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    match disk::names_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        names => names,
    }
}

/// Time of a file's last change, by the file system's clock: seconds and nanoseconds.
pub fn changed_at(metadata: &std::fs::Metadata) -> (i64, i64) {
    (metadata.ctime(), metadata.ctime_nsec())
}
