//! The place of one process in a folder that several may share.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;

use super::index::Index;
use super::layout::Layout;
use super::{OpenError, StoreError};

/// Held by a living process on the file of this name in its staging folder.
const LOCK_NAME: &str = ".lock";

/// What a probe of the disk writes.
const PROBE_NAME: &str = ".probe";

/// Held on the file of this name in the staging root while somebody enters or sweeps, so that nobody sweeps a folder whose
/// owner has made it but not locked it yet.
const DOOR_NAME: &str = ".door";

pub struct Instance {
    /// Random, and new for every process: a restarted one never takes up what an earlier one left.
    pub name: String,
    folder: PathBuf,
    _lock: fs::File,
    found_dead: bool,
    is_alone: bool,
    next_id: AtomicU64,
}

impl Instance {
    /// Makes and locks a staging folder for this process. Before anything else: a process that dies while it starts leaves it
    /// behind, as the reason for the next one to look through the folder.
    pub fn enter(layout: &Layout) -> Result<Self, OpenError> {
        Self::try_enter(layout).map_err(|why| OpenError::Folder { path: layout.staging(), why })
    }

    fn try_enter(layout: &Layout) -> io::Result<Self> {
        let door = fs::File::create(layout.staging().join(DOOR_NAME))?;
        door.file().lock()?;
        let name = format!("{:016x}", rand::random::<u64>());
        let folder = layout.staging().join(&name);
        fs::create_dir(&folder)?;
        let lock = fs::File::create(folder.join(LOCK_NAME))?;
        lock.file().lock()?;
        Ok(Self { name, folder, _lock: lock, found_dead: false, is_alone: false, next_id: AtomicU64::new(1) })
    }

    /// Removes what others have left that died, and sees who else is here.
    pub fn look_around(&mut self, layout: &Layout, index: &Index) -> Result<(), OpenError> {
        let living = sweep_all(layout, index).map_err(|error| match error {
            StoreError::Io(why) => OpenError::Folder { path: layout.staging(), why },
            other => OpenError::Store(other),
        })?;
        self.found_dead = living.found_dead;
        self.is_alone = living.names == [self.name.as_str()];
        Ok(())
    }

    /// Whether a process had died in this folder before.
    pub fn found_dead(&self) -> bool {
        self.found_dead
    }

    /// Whether no other process was in this folder when this one came.
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// A number that this process has not used yet, and the path of a file of that number.
    pub fn next_file(&self) -> (u64, PathBuf) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        (id, self.folder.join(id.to_string()))
    }

    /// Tries whether what is written reaches the disk. A kernel takes a few bytes also for one that is dead.
    pub fn probe(&self) -> Result<(), StoreError> {
        let path = self.folder.join(PROBE_NAME);
        let mut file = fs::File::create(&path)?;
        let written = file.write_all(b"probe").and_then(|()| file.sync_data());
        // Also what was not written whole.
        fs::remove_file(&path)?;
        Ok(written?)
    }

    /// Leaves the folder. As one who died, if `in_order` is false: then the next who looks finds reason to look through it.
    pub fn leave(&self, index: &Index, in_order: bool) -> Result<(), StoreError> {
        index.release_all_of(&self.name)?;
        if in_order {
            return Ok(fs::remove_dir_all(&self.folder)?);
        }
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name() != LOCK_NAME {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what processes have left that died. True if there was one.
    pub fn sweep(layout: &Layout, index: &Index) -> Result<bool, StoreError> {
        Ok(sweep_all(layout, index)?.found_dead)
    }
}

struct Living {
    names: Vec<String>,
    found_dead: bool,
}

/// Removes what dead processes have left in staging, and gives back what they had reserved.
fn sweep_all(layout: &Layout, index: &Index) -> Result<Living, StoreError> {
    let door = fs::File::create(layout.staging().join(DOOR_NAME))?;
    door.file().lock()?;
    let living = sweep(layout)?;
    index.release_all_but(&living.names)?;
    Ok(living)
}

/// Removes the staging folders that nobody holds any more.
fn sweep(layout: &Layout) -> Result<Living, StoreError> {
    let mut living = Living { names: Vec::new(), found_dead: false };
    for entry in fs::read_dir(layout.staging())? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let held = match fs::OpenOptions::new().write(true).open(entry.path().join(LOCK_NAME)) {
            Ok(lock) => lock.file().try_lock().is_err(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        if held {
            living.names.push(name);
        } else {
            fs::remove_dir_all(entry.path())?;
            living.found_dead = true;
        }
    }
    Ok(living)
}
