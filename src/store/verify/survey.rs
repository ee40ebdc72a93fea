//! What names, records and index say, held against each other. No object is read for this.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;

use super::{Flaw, Flawed, Pace};
use crate::model::{Key, Record, RecordError, Sha256};
use crate::store::{Shared, Store, StoreError, blocking, folders, pins, publish, quarantine, records};

/// What reading one record counts as in the pace, in bytes.
const RECORD_BYTES: u64 = 4096;

/// How many rows of the index are looked at in one go.
const BATCH: usize = 1000;

/// The bits of a mode by which a file can be written to.
const WRITABLE: u32 = 0o222;

/// A look through the folder, one of its 256 parts after the other.
pub struct Survey {
    store: Store,
    /// What was changed since may be named by a record that was read before it.
    began: (i64, i64),
    /// Damaged ones count too: their objects are not orphans as long as they can be restored.
    recorded: HashSet<Sha256>,
    /// Some records were not seen. Then nothing is known to be an orphan.
    is_incomplete: bool,
    /// How many records were read.
    pub records: u64,
    /// Objects of another length than a record says. One of the two is wrong.
    pub of_other_length: HashMap<Sha256, Vec<String>>,
}

/// What a part of the records has shown.
#[derive(Default)]
struct Records {
    named: Vec<Sha256>,
    flawed: Vec<Flawed>,
    of_other_length: Vec<(Sha256, String)>,
    /// Folders that could not be looked into.
    unread: u64,
}

impl Store {
    /// Begins a look through the folder.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn survey(&self) -> Result<Survey, StoreError> {
        let store = self.clone();
        let began = blocking(move || {
            let shared = &store.shared;
            // The time of the file system's own clock, whose steps are larger than ours.
            let (_, path) = shared.instance.next_file();
            fs::write(&path, b"survey")?;
            let metadata = fs::metadata(&path)?;
            fs::remove_file(&path)?;
            // Whoever had placed an object before has made its record now.
            for folder in 0..=u8::MAX {
                drop(shared.layout.lock_object(Sha256::from_bytes([folder; 32]))?);
            }
            Ok((metadata.ctime(), metadata.ctime_nsec()))
        });
        Ok(Survey {
            store: self.clone(),
            began: began.await?,
            recorded: HashSet::new(),
            is_incomplete: false,
            records: 0,
            of_other_length: HashMap::new(),
        })
    }
}

impl Survey {
    /// Looks through one part of the records. To be called for all of them before [`Survey::objects`].
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn records(&mut self, folder: u8, pace: &mut Pace) -> Result<Vec<Flawed>, StoreError> {
        let store = self.store.clone();
        let found = blocking(move || look_at_records(&store.shared, folder)).await?;
        self.records += found.named.len() as u64;
        pace.rest(found.named.len() as u64 * RECORD_BYTES).await;
        self.recorded.extend(found.named);
        self.is_incomplete |= found.unread > 0;
        for (sha256, name) in found.of_other_length {
            self.of_other_length.entry(sha256).or_default().push(name);
        }
        Ok(found.flawed)
    }

    /// Looks at the names in one part of the objects.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn objects(&self, folder: u8) -> Result<Vec<Flawed>, StoreError> {
        let (store, began) = (self.store.clone(), self.began);
        let is_orphan = |one: &Sha256| !self.is_incomplete && !self.recorded.contains(one);
        let unnamed = |(_, sha256): &(Flawed, Option<Sha256>)| sha256.as_ref().is_none_or(is_orphan);
        let found = blocking(move || look_at_objects(&store.shared, folder, began)).await?;
        Ok(found.into_iter().filter(unnamed).map(|(flawed, _)| flawed).collect())
    }

    /// What the folder holds besides.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn folders(&self) -> Result<Vec<Flawed>, StoreError> {
        let store = self.store.clone();
        blocking(move || look_at_folders(&store.shared)).await
    }

    /// What the index lists and is not there. It is struck, unless this is a rehearsal.
    ///
    /// # Errors
    /// [`StoreError`] if index or disk refuse.
    pub async fn missing(&self, is_rehearsal: bool) -> Result<Vec<Flawed>, StoreError> {
        let store = self.store.clone();
        blocking(move || missing(&store.shared, is_rehearsal)).await
    }

    /// The records of what operators keep.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn pinned(&self) -> Result<Vec<Arc<Record>>, StoreError> {
        let store = self.store.clone();
        blocking(move || {
            let layout = &store.shared.layout;
            let mut pinned = Vec::new();
            for folder in 0..=u8::MAX {
                let folder = folder_of(&layout.pins(), folder);
                for key in names_in(&folder)?.iter().filter_map(|name| name.parse::<Key>().ok()) {
                    for pin in pins::of(layout, key)? {
                        pinned.extend(records::read_one(layout, key, pin.sha256)?.map(Arc::new));
                    }
                }
            }
            Ok(pinned)
        })
        .await
    }

    /// Puts a damaged record into quarantine, and gets it back from the bucket if that has it. False if it has not. Of an
    /// object that is right `right_bytes` says how long it is.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses, or the bucket does not answer.
    pub async fn mend_record(&self, name: &str, right_bytes: Option<u64>) -> Result<bool, StoreError> {
        let Some((key, sha256)) = record_named(name) else { return Ok(false) };
        let store = self.store.clone();
        let is_damaged = blocking(move || {
            let shared = &store.shared;
            let _lock = shared.layout.lock_object(sha256)?;
            let is_damaged = damage_of(shared, key, sha256, right_bytes)?.is_some();
            if is_damaged {
                quarantine::take_in(shared, &shared.layout.record(key, sha256), &format!("{key}.{sha256}.json"))?;
            }
            Ok(is_damaged)
        });
        if !is_damaged.await? {
            return Ok(true);
        }
        self.store.shared.map.forget(key).await;
        let Some(tier) = &self.store.shared.tier else { return Ok(false) };
        let Some(record) = tier.bucket.record(key, sha256).await? else { return Ok(false) };
        let store = self.store.clone();
        blocking(move || publish::create_record(&store.shared, &record, &store.shared.layout.record(key, sha256)))
            .await?;
        Ok(true)
    }

    /// Puts an orphan into quarantine, unless somebody keeps it or has published it again meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn set_orphan_aside(&self, name: &str) -> Result<bool, StoreError> {
        let Some(sha256) = name.rsplit('/').next().and_then(|name| name.parse::<Sha256>().ok()) else {
            return Ok(false);
        };
        let (store, began) = (self.store.clone(), self.began);
        blocking(move || {
            let shared = &store.shared;
            let _lock = shared.layout.lock_object(sha256)?;
            let path = shared.layout.object(sha256);
            let is_old = fs::metadata(&path).is_ok_and(|metadata| (metadata.ctime(), metadata.ctime_nsec()) < began);
            if !is_old || pins::are_kept(&shared.layout, sha256)? {
                return Ok(false);
            }
            quarantine::take_in(shared, &path, &sha256.to_string())?;
            shared.index.strike(sha256)?;
            Ok(true)
        })
        .await
    }
}

fn look_at_records(shared: &Shared, folder: u8) -> Result<Records, StoreError> {
    let (layout, mut found) = (&shared.layout, Records::default());
    let folder = folder_of(&layout.records(), folder);
    for target in names_in(&folder)? {
        let path = folder.join(&target);
        let is_folder = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Whatever lies in it is not known, and so no object is known to be an orphan.
            Err(error) => {
                found.unread += 1;
                found.flawed.push(flaw(shared, Flaw::Unreadable, &path, error.to_string()));
                continue;
            }
        };
        let Some(key) = target.parse::<Key>().ok().filter(|key| is_folder && layout.records_of(*key) == path) else {
            found.flawed.push(foreign(shared, &path));
            continue;
        };
        let names = match names_in(&path) {
            Ok(names) => names,
            Err(error) => {
                found.unread += 1;
                found.flawed.push(flaw(shared, Flaw::Unreadable, &path, error.to_string()));
                continue;
            }
        };
        for name in names {
            let path = path.join(&name);
            let Some(sha256) = name.strip_suffix(".json").and_then(|name| name.parse::<Sha256>().ok()) else {
                found.flawed.push(foreign(shared, &path));
                continue;
            };
            found.named.push(sha256);
            let held_bytes = fs::metadata(layout.object(sha256)).ok().map(|metadata| metadata.len());
            match damage_of(shared, key, sha256, held_bytes) {
                Ok(None) => {}
                Err(error) => found.flawed.push(flaw(shared, Flaw::Unreadable, &path, error.to_string())),
                Ok(Some(Damage::Length)) => found.of_other_length.push((sha256, within(shared, &path))),
                Ok(Some(Damage::Text(why))) => found.flawed.push(flaw(shared, Flaw::DamagedRecord, &path, why)),
            }
        }
    }
    Ok(found)
}

/// What is wrong with a record.
enum Damage {
    /// It says another length than the object has.
    Length,
    Text(String),
}

/// What is wrong with a record, where its object has this length. A version that is not known here is somebody's who knows
/// more.
fn damage_of(shared: &Shared, key: Key, sha256: Sha256, held_bytes: Option<u64>) -> Result<Option<Damage>, StoreError> {
    let damaged = |why: &str| Some(Damage::Text(why.to_owned()));
    Ok(match records::parse_one(&shared.layout, key, sha256)? {
        None | Some(Err(RecordError::Version(_))) => None,
        Some(Err(error)) => damaged(&error.to_string()),
        Some(Ok(record)) if record.key() != key => damaged("it is of another target"),
        Some(Ok(record)) if record.sha256 != sha256 => damaged("it is of other bytes"),
        Some(Ok(record)) => held_bytes.filter(|held_bytes| *held_bytes != record.size_bytes).map(|_| Damage::Length),
    })
}

/// What is wrong with the names in one part of the objects; where no record may name one, its digest.
fn look_at_objects(
    shared: &Shared,
    folder: u8,
    began: (i64, i64),
) -> Result<Vec<(Flawed, Option<Sha256>)>, StoreError> {
    let (layout, mut found) = (&shared.layout, Vec::new());
    let folder = folder_of(&layout.objects(), folder);
    for name in names_in(&folder)? {
        let path = folder.join(&name);
        // It may be evicted at this moment.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let Some(sha256) = name.parse().ok().filter(|sha256| layout.object(*sha256) == path && metadata.is_file())
        else {
            found.push((foreign(shared, &path), None));
            continue;
        };
        if metadata.mode() & WRITABLE != 0 {
            found.push((
                flaw(shared, Flaw::Writable, &path, format!("its mode is {:o}", metadata.mode() & 0o7777)),
                None,
            ));
        }
        if (metadata.ctime(), metadata.ctime_nsec()) < began {
            found.push((flaw(shared, Flaw::Orphan, &path, "no record names it".to_owned()), Some(sha256)));
        }
    }
    Ok(found)
}

/// What neither lies in a folder of objects or records nor is one.
fn look_at_folders(shared: &Shared) -> Result<Vec<Flawed>, StoreError> {
    let mut found = Vec::new();
    for root in [shared.layout.objects(), shared.layout.records()] {
        for name in names_in(&root)? {
            let is_ours = (0..=u8::MAX).any(|folder| format!("{folder:02x}") == name);
            if !is_ours || !root.join(&name).is_dir() {
                found.push(foreign(shared, &root.join(&name)));
            }
        }
    }
    Ok(found)
}

/// Strikes from the index what is not there, unless `is_rehearsal`.
fn missing(shared: &Shared, is_rehearsal: bool) -> Result<Vec<Flawed>, StoreError> {
    let (mut found, mut last) = (Vec::new(), Vec::new());
    loop {
        let listed = shared.index.after(&last, BATCH)?;
        let Some(end) = listed.last() else { return Ok(found) };
        last = end.as_bytes().to_vec();
        for sha256 in listed {
            let path = shared.layout.object(sha256);
            if !is_absent(&path) {
                continue;
            }
            // Whoever evicts removes it from both under this lock.
            let _lock = shared.layout.lock_object(sha256)?;
            if is_absent(&path) && shared.index.size_of(sha256)?.is_some() {
                if !is_rehearsal {
                    shared.index.strike(sha256)?;
                }
                found.push(flaw(shared, Flaw::Missing, &path, "the index lists it".to_owned()));
            }
        }
    }
}

/// An error says nothing of whether it is there.
fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn flaw(shared: &Shared, flaw: Flaw, path: &Path, detail: String) -> Flawed {
    Flawed { flaw, name: within(shared, path), detail }
}

fn foreign(shared: &Shared, path: &Path) -> Flawed {
    flaw(shared, Flaw::Foreign, path, "it is of no kind that is known".to_owned())
}

/// The name of a file within the folder.
fn within(shared: &Shared, path: &Path) -> String {
    path.strip_prefix(shared.layout.root()).unwrap_or(path).display().to_string()
}

/// `records/ab/<key>/<sha256>.json`, taken apart.
fn record_named(name: &str) -> Option<(Key, Sha256)> {
    let mut parts = name.rsplit('/');
    let sha256 = parts.next()?.strip_suffix(".json")?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, sha256))
}

pub(super) fn folder_of(root: &Path, folder: u8) -> PathBuf {
    root.join(format!("{folder:02x}"))
}

/// As [`folders::names_in`], also empty if the path is not a folder.
pub(super) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    match folders::names_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        names => names,
    }
}
