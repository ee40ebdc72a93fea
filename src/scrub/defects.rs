//! Defects of the folder, and the checks of names, records and index that find them.
//!
//! These checks read no object.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use crate::disk::{self, DiskError, DiskStore, ObjectClass, records};
use crate::model::{Key, Sha256};

/// Index rows that are read at a time.
const BATCH: usize = 1000;

/// Mode bits that permit writing.
const WRITABLE: u32 = 0o222;

/// A defect of a file in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// An object has other bytes than its name says.
    Corrupt,
    /// A file cannot be read. The bytes may be intact. Nothing is changed, because the disk is
    /// failing.
    Unreadable,
    /// A record cannot be parsed, or does not match its name.
    DamagedRecord,
    /// No record names an object, so no request can be answered with it.
    Orphan,
    /// The index lists an object that does not exist.
    Missing,
    /// An operator pinned an object that does not exist.
    PinnedMissing,
    /// An object's file is writable.
    WritableObject,
    /// A file is neither an object nor a record.
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
    pub unreadable_folders: u64,
}

/// Checks one part of the records: names, contents, and lengths of their objects.
pub fn check_records(disk: &DiskStore, part: u8) -> Result<RecordsCheck, DiskError> {
    let mut check = RecordsCheck::default();
    let folder = part_of(&disk.layout.records(), part);
    for target in names_in(&folder)? {
        let path = folder.join(&target);
        let is_folder = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                check.add_unreadable_folder(disk, &path, &error);
                continue;
            }
        };
        let key = target
            .parse::<Key>()
            .ok()
            .filter(|key| is_folder && disk.layout.records_of(*key) == path);
        let Some(key) = key else {
            check.defects.push(unknown_file(disk, &path));
            continue;
        };
        match names_in(&path) {
            Ok(names) => {
                for name in names {
                    check.check_record(disk, key, &path.join(&name), &name);
                }
            }
            Err(error) => check.add_unreadable_folder(disk, &path, &error),
        }
    }
    check.add_compacted(disk, &format!("{part:02x}"))?;
    Ok(check)
}

impl RecordsCheck {
    /// Adds the compacted records. A line that cannot be read is a defect, and its target stays
    /// known.
    fn add_compacted(&mut self, disk: &DiskStore, shard: &str) -> Result<(), DiskError> {
        let names = disk::compacted_names(&disk.layout, shard)?;
        let without_file = |name: &&(Key, Sha256)| !disk.layout.record(name.0, name.1).exists();
        let compacted = names.iter().filter(without_file);
        self.named.extend(compacted.map(|(_, sha256)| *sha256));
        let path = disk.layout.compact_log(shard);
        for (key, sha256) in disk::damaged_lines(&disk.layout, shard)? {
            let detail = format!("the line of {key} {sha256} cannot be read");
            self.defects
                .push(defect(disk, Defect::DamagedRecord, &path, detail));
        }
        Ok(())
    }

    /// The names in the folder are unknown. So no object is known to be an orphan.
    fn add_unreadable_folder(&mut self, disk: &DiskStore, path: &Path, error: &io::Error) {
        self.unreadable_folders += 1;
        let detail = error.to_string();
        self.defects
            .push(defect(disk, Defect::Unreadable, path, detail));
    }

    fn check_record(&mut self, disk: &DiskStore, key: Key, path: &Path, name: &str) {
        let Some(sha256) = name
            .strip_suffix(".json")
            .and_then(|name| name.parse::<Sha256>().ok())
        else {
            self.defects.push(unknown_file(disk, path));
            return;
        };
        self.named.push(sha256);
        let object_bytes = fs::metadata(disk.layout.object(sha256))
            .ok()
            .map(|metadata| metadata.len());
        let (kind, detail) = match find_damage(disk, key, sha256, object_bytes) {
            Ok(None) => return,
            Ok(Some(Damage::Length)) => {
                self.of_other_length.push((sha256, within(disk, path)));
                return;
            }
            Ok(Some(Damage::Content(detail))) => (Defect::DamagedRecord, detail),
            Err(error) => (Defect::Unreadable, error.to_string()),
        };
        self.defects.push(defect(disk, kind, path, detail));
    }
}

/// Damage of a record.
pub enum Damage {
    /// The record has another length than its object.
    Length,
    /// The record cannot be parsed, or has another target or digest than its name says.
    Content(String),
}

/// Returns the damage of a record whose object has this length. A record of a newer version is not
/// damaged.
pub fn find_damage(
    disk: &DiskStore,
    key: Key,
    sha256: Sha256,
    object_bytes: Option<u64>,
) -> Result<Option<Damage>, DiskError> {
    Ok(match records::parse_one(&disk.layout, key, sha256)? {
        None => None,
        Some(Err(error)) if error.is_newer_version() => None,
        Some(Err(error)) => Some(Damage::Content(error.to_string())),
        Some(Ok(record)) => object_bytes
            .filter(|object_bytes| *object_bytes != record.size_bytes)
            .map(|_| Damage::Length),
    })
}

/// A defect of an object's file.
pub struct ObjectDefect {
    pub defect: DefectAt,
    /// Digest of the object, if the defect is that records may not name it. The caller decides
    /// whether they do.
    pub unless_recorded: Option<Sha256>,
}

/// Checks the names in one part of the objects. Each object that was changed before `started_at`
/// is returned as a possible orphan.
pub fn check_objects(
    disk: &DiskStore,
    part: u8,
    started_at: (i64, i64),
) -> Result<Vec<ObjectDefect>, DiskError> {
    let (layout, mut found) = (&disk.layout, Vec::new());
    let certain = |defect| ObjectDefect {
        defect,
        unless_recorded: None,
    };
    let folder = part_of(&layout.objects(), part);
    for name in names_in(&folder)? {
        let path = folder.join(&name);
        // The object may have been evicted meanwhile.
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let Some(sha256) = name
            .parse()
            .ok()
            .filter(|sha256| layout.object(*sha256) == path && metadata.is_file())
        else {
            found.push(certain(unknown_file(disk, &path)));
            continue;
        };
        if metadata.mode() & WRITABLE != 0 {
            let detail = format!("its mode is {:o}", metadata.mode() & 0o7777);
            let writable = defect(disk, Defect::WritableObject, &path, detail);
            found.push(certain(writable));
        }
        // An observed object that no observation names any more is evicted, not quarantined.
        let is_observed = disk.index.class_of(sha256)? == Some(ObjectClass::Observed);
        if changed_at(&metadata) < started_at && !is_observed {
            let detail = "no record names it".to_owned();
            found.push(ObjectDefect {
                defect: defect(disk, Defect::Orphan, &path, detail),
                unless_recorded: Some(sha256),
            });
        }
    }
    Ok(found)
}

/// Returns the unknown files beside the folders of objects and records.
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

/// Finds index rows of objects that do not exist. Removes these rows unless `is_dry_run`.
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
            // Eviction removes an object from disk and index under this lock.
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

/// Whether a file does not exist. After another error, the file may exist.
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
        "it is neither an object nor a record".to_owned(),
    )
}

/// Returns the path of a file within the folder.
fn within(disk: &DiskStore, path: &Path) -> String {
    path.strip_prefix(disk.layout.root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Parses the path of a record, `records/ab/<key>/<sha256>.json`.
pub fn parse_record_name(name: &str) -> Option<(Key, Sha256)> {
    let mut parts = name.rsplit('/');
    let sha256 = parts.next()?.strip_suffix(".json")?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, sha256))
}

/// Returns the folder of one of the 256 parts.
pub fn part_of(root: &Path, part: u8) -> PathBuf {
    root.join(format!("{part:02x}"))
}

/// As [`disk::names_in`], but returns no names if the path is not a folder.
pub fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    match disk::names_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        names => names,
    }
}

/// Returns the time of a file's last change by the file system's clock, in seconds and nanoseconds.
pub fn changed_at(metadata: &std::fs::Metadata) -> (i64, i64) {
    (metadata.ctime(), metadata.ctime_nsec())
}
