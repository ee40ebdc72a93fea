//! The place of one process in a folder that several may share.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err as fs;

use super::index::Index;
use super::layout::Layout;
use super::{DiskError, OpenError, durable_dirs};

/// Held by a live process on the file of this name in its staging folder.
const LOCK_NAME: &str = ".lock";

/// What a probe of the disk writes.
const PROBE_NAME: &str = ".probe";

/// Held on the file of this name in the staging root while somebody enters or sweeps, so that
/// nobody sweeps a folder whose owner has made it but not locked it yet.
pub(super) const SLOTS_LOCK_NAME: &str = ".slots.lock";

pub struct ProcessSlot {
    /// Random, and new for every process: a restarted one never takes up what an earlier one left.
    pub name: String,
    folder: PathBuf,
    _lock: fs::File,
    found_dead: bool,
    is_alone: bool,
    next_id: AtomicU64,
}

impl ProcessSlot {
    /// Makes and locks a staging folder for this process. Before anything else: a process that dies
    /// while it starts leaves it behind, as the reason for the next one to look through the folder.
    pub fn take(layout: &Layout) -> Result<Self, OpenError> {
        Self::try_take(layout).map_err(|why| OpenError::Folder {
            path: layout.staging(),
            why,
        })
    }

    fn try_take(layout: &Layout) -> io::Result<Self> {
        let slots_lock = fs::File::create(layout.staging().join(SLOTS_LOCK_NAME))?;
        slots_lock.file().lock()?;
        let name = format!("{:016x}", rand::random::<u64>());
        let folder = layout.staging().join(&name);
        fs::create_dir(&folder)?;
        let lock = fs::File::create(folder.join(LOCK_NAME))?;
        lock.file().lock()?;
        Ok(Self {
            name,
            folder,
            _lock: lock,
            found_dead: false,
            is_alone: false,
            next_id: AtomicU64::new(1),
        })
    }

    /// Removes what others have left that died, and sees who else is here.
    pub fn reclaim_dead_processes(
        &mut self,
        layout: &Layout,
        index: &Index,
    ) -> Result<(), OpenError> {
        let live = reclaim_all(layout, index).map_err(|error| match error {
            DiskError::Io(why) => OpenError::Folder {
                path: layout.staging(),
                why,
            },
            other => OpenError::Disk(other),
        })?;
        self.found_dead = live.found_dead;
        self.is_alone = live.names == [self.name.as_str()];
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

    /// Tries whether what is written reaches the disk. A kernel takes a few bytes also for one that
    /// is dead.
    pub fn probe(&self) -> Result<(), DiskError> {
        let path = self.folder.join(PROBE_NAME);
        let mut file = fs::File::create(&path)?;
        let written = file.write_all(b"probe").and_then(|()| file.sync_data());
        // Also what was not written whole.
        fs::remove_file(&path)?;
        Ok(written?)
    }

    /// Leaves the folder. As one who died, if `in_order` is false: then the next who looks finds
    /// reason to look through it.
    pub fn release(&self, index: &Index, is_clean: bool) -> Result<(), DiskError> {
        index.release_all_of(&self.name)?;
        if is_clean {
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
    pub fn reclaim(layout: &Layout, index: &Index) -> Result<bool, DiskError> {
        Ok(reclaim_all(layout, index)?.found_dead)
    }
}

struct LiveProcesses {
    names: Vec<String>,
    found_dead: bool,
}

/// Returns the names of the processes that have a slot. The caller holds the slots' lock.
pub(super) fn live_processes(layout: &Layout) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for name in durable_dirs::names_in(&layout.staging())? {
        let lock = layout.staging().join(&name).join(LOCK_NAME);
        if lock.is_file()
            && fs::OpenOptions::new()
                .write(true)
                .open(lock)?
                .file()
                .try_lock()
                .is_err()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes what dead processes have left in staging, and gives back what they had reserved.
fn reclaim_all(layout: &Layout, index: &Index) -> Result<LiveProcesses, DiskError> {
    let slots_lock = fs::File::create(layout.staging().join(SLOTS_LOCK_NAME))?;
    slots_lock.file().lock()?;
    let live = remove_dead_slots(layout)?;
    index.release_all_but(&live.names)?;
    Ok(live)
}

/// Removes the staging folders that nobody holds any more.
fn remove_dead_slots(layout: &Layout) -> Result<LiveProcesses, DiskError> {
    let mut live = LiveProcesses {
        names: Vec::new(),
        found_dead: false,
    };
    for entry in fs::read_dir(layout.staging())? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let held = match fs::OpenOptions::new()
            .write(true)
            .open(entry.path().join(LOCK_NAME))
        {
            Ok(lock) => lock.file().try_lock().is_err(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        if held {
            live.names.push(name);
        } else {
            fs::remove_dir_all(entry.path())?;
            live.found_dead = true;
        }
    }
    Ok(live)
}
