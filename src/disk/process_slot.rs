//! The slot of one process in a cache folder that several processes may share.
//!
//! A slot is a locked folder in `staging/`. If a slot is not locked, its process died without
//! releasing it. The main type is [`ProcessSlot`].

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fs_err as fs;

use super::index::Index;
use super::layout::{Layout, slot_name};
use super::{DiskError, durable_dirs, folder_lock};
use crate::model::lock;

/// Name of the file in its slot that a live process keeps locked.
const LOCK_NAME: &str = ".lock";

/// Name of the file that a probe of the disk writes.
const PROBE_NAME: &str = ".probe";

/// Name of the file in `staging/` that is locked while a process takes a slot or removes dead
/// slots. Otherwise a slot could be removed between its creation and its locking.
pub(super) const SLOTS_LOCK_NAME: &str = ".slots.lock";

/// Bound on the wait for that lock. A process holds it for milliseconds, unless it hangs.
const SLOTS_LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// The slot of this process.
pub struct ProcessSlot {
    /// Random, new for every process, so a restarted process never reuses an old slot.
    pub number: u64,
    pub name: String,
    folder: PathBuf,
    /// The locked file. `None` until the slot could be created.
    lock_file: Mutex<Option<fs::File>>,
    found_dead: bool,
    next_id: AtomicU64,
}

impl ProcessSlot {
    /// Chooses the name of a slot for this process. [`ProcessSlot::ensure`] creates it.
    pub fn new(layout: &Layout) -> Self {
        let number = rand::random();
        let name = slot_name(number);
        Self {
            folder: layout.staging().join(&name),
            number,
            name,
            lock_file: Mutex::default(),
            found_dead: false,
            next_id: AtomicU64::new(1),
        }
    }

    /// Creates and locks the slot, if it does not exist or was removed. Returns true if it did. A
    /// process does so before any other work on the folder. If it dies during its start, the slot
    /// makes the next process reindex.
    ///
    /// # Errors
    /// The system's error if the slot cannot be created.
    pub fn ensure(&self, layout: &Layout) -> io::Result<bool> {
        if self.is_in_place() {
            return Ok(false);
        }
        let mut lock_file = lock(&self.lock_file);
        let path = self.folder.join(LOCK_NAME);
        let _slots_lock = lock_slots(layout)?;
        fs::create_dir_all(&self.folder)?;
        let created = fs::File::create(path)?;
        created.file().try_lock()?;
        *lock_file = Some(created);
        Ok(true)
    }

    /// Returns whether the slot exists and was not removed.
    pub fn is_in_place(&self) -> bool {
        let path = self.folder.join(LOCK_NAME);
        lock(&self.lock_file)
            .as_ref()
            .is_some_and(|held| folder_lock::has_name(held.file(), &path).unwrap_or(false))
    }

    /// Returns whether the slot could be created.
    pub fn is_taken(&self) -> bool {
        lock(&self.lock_file).is_some()
    }

    /// Removes the slots of dead processes, and records whether there was one.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the disk fails.
    pub fn reclaim_dead_processes(
        &mut self,
        layout: &Layout,
        index: &Index,
    ) -> Result<(), DiskError> {
        self.found_dead = reclaim_all(layout, index)?.found_dead;
        Ok(())
    }

    /// Returns whether this process found the slot of a dead process.
    pub fn found_dead(&self) -> bool {
        self.found_dead
    }

    /// Returns the lock of the slots if no other process has a slot. While it is held, no process
    /// takes one. If the disk fails, others count as alive.
    pub fn lock_if_alone(&self, layout: &Layout) -> Option<fs::File> {
        let slots_lock = lock_slots(layout).ok().flatten()?;
        let live = live_processes(layout).ok()?;
        (live == [self.name.as_str()]).then_some(slots_lock)
    }

    /// Returns a number that this process has not used yet, and the path of its file in the slot.
    pub fn next_file(&self) -> (u64, PathBuf) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        (id, self.folder.join(id.to_string()))
    }

    /// Checks whether written bytes reach the disk. The file is synced, because the kernel buffers
    /// a few bytes even for a dead disk.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub fn probe(&self) -> Result<(), DiskError> {
        let path = self.folder.join(PROBE_NAME);
        let mut file = fs::File::create(&path)?;
        let written = file.write_all(b"probe").and_then(|()| file.sync_data());
        // Removes an incomplete file too.
        fs::remove_file(&path)?;
        Ok(written?)
    }

    /// Releases the slot and the reservations, and removes the staged files. If `is_clean` is
    /// false, the slot looks like that of a dead process, so that another process reindexes.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the disk fails.
    pub fn release(&self, index: &Index, is_clean: bool) -> Result<(), DiskError> {
        // The next process releases what remains, as this one does not live any more.
        let released = index.release_process(&self.name);
        if !self.is_taken() {
            return released;
        }
        if is_clean && released.is_ok() {
            return Ok(fs::remove_dir_all(&self.folder)?);
        }
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name() != LOCK_NAME {
                fs::remove_file(entry.path())?;
            }
        }
        released
    }

    /// Removes the slots and reservations of dead processes. Returns true if there was one.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the disk fails.
    pub fn reclaim(layout: &Layout, index: &Index) -> Result<bool, DiskError> {
        Ok(reclaim_all(layout, index)?.found_dead)
    }
}

/// Processes that have a slot, and whether dead slots were removed.
struct LiveProcesses {
    names: Vec<String>,
    found_dead: bool,
}

/// Returns the names of the live processes that have a slot. The caller holds the lock of the
/// slots.
///
/// # Errors
/// The system's error if the disk fails.
pub(super) fn live_processes(layout: &Layout) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for name in durable_dirs::names_in(&layout.staging())? {
        let lock = layout.staging().join(&name).join(LOCK_NAME);
        let is_locked = match fs::OpenOptions::new().write(true).open(lock) {
            Ok(lock) => lock.file().try_lock().is_err(),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        };
        if is_locked {
            names.push(name);
        }
    }
    Ok(names)
}

/// Acquires the lock of the slots. Returns `None` if a hanging process holds it.
fn lock_slots(layout: &Layout) -> io::Result<Option<fs::File>> {
    let path = layout.staging().join(SLOTS_LOCK_NAME);
    match folder_lock::acquire(&path, SLOTS_LOCK_TIMEOUT) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            tracing::warn!(%error, "going on without the lock of the slots");
            Ok(None)
        }
        locked => locked.map(Some),
    }
}

/// Removes the slots of dead processes, and releases their reservations. Removes nothing while a
/// hanging process holds the lock of the slots.
fn reclaim_all(layout: &Layout, index: &Index) -> Result<LiveProcesses, DiskError> {
    let Some(_slots_lock) = lock_slots(layout)? else {
        return Ok(LiveProcesses {
            names: live_processes(layout)?,
            found_dead: false,
        });
    };
    let live = remove_dead_slots(layout)?;
    match index.release_dead_processes(&live.names) {
        // The next call releases them.
        Err(error) if error.is_index_unavailable() => {
            tracing::debug!(%error, "reservations of dead processes were not released yet");
        }
        released => released?,
    }
    Ok(live)
}

/// Removes the slots that are not locked. The caller holds the lock of the slots.
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
        let is_locked = match fs::OpenOptions::new()
            .write(true)
            .open(entry.path().join(LOCK_NAME))
        {
            Ok(lock) => lock.file().try_lock().is_err(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // The slot of another user counts as alive.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => true,
            Err(error) => return Err(error.into()),
        };
        if is_locked {
            live.names.push(name);
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => live.found_dead = true,
            Err(error) => tracing::warn!(%error, "slot of a dead process could not be removed"),
        }
    }
    Ok(live)
}
