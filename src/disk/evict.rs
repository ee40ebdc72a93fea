//! Eviction. The least recently used objects are removed first, and their records stay.
//!
//! This file must not know the bucket. It knows only markers that say whether a replica has an
//! object. Its main functions are [`make_space`] and [`evict_to_low_watermark`].

use std::io;
use std::sync::{MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::statvfs;

use super::eviction_turn::EvictionTurn;
use super::folder_lock::{self, LOCK_TIMEOUT};
use super::index::{ObjectClass, Reservation};
use super::metadata_ledger::{BLOCK_BYTES, object_disk_bytes};
use super::replica_markers::ReplicaMarkers;
use super::{DiskError, DiskStore, OpenMode, observations, pieces, pins};
use crate::model::{Event, EvictionReason, Sha256, disk_fault};

/// Number of candidates that are read from the index at a time.
const BATCH: usize = 64;

/// Number of objects that cannot be removed after which one eviction stops.
const MAX_STUCK: usize = 16;

/// Number of evictions for one reservation. Another process may take the freed space before it is
/// reserved.
const MAX_TRIES: usize = 3;

/// Space for the slot of a process, its locks and the index, in bytes.
const SLOT_BYTES: u64 = 1 << 20;

/// Inodes for the same files.
const SLOT_INODES: u64 = 16;

/// Time for which the lock of the folder is not awaited after a wait that did not get it.
const HUNG_LOCK_PAUSE: Duration = Duration::from_secs(30);

/// Outcome of evicting one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictResult {
    /// The object was removed.
    Evicted { size_bytes: u64 },
    /// The object is not on the disk.
    NotFound,
    /// An operator pinned the object.
    Pinned,
}

/// Lock of the only thread, among all processes of the folder, that evicts. Two evictions for the
/// same need would free twice as much.
struct EvictionLock<'a> {
    _in_process: MutexGuard<'a, EvictionTurn>,
    /// `None` if a hanging process holds the lock.
    _in_folder: Option<fs::File>,
}

impl<'a> EvictionLock<'a> {
    /// Waits for the other threads of this process, then for other processes. Without the lock of
    /// the folder, two processes may evict more than they need, and no object is lost.
    fn acquire(disk: &'a DiskStore) -> Result<Self, DiskError> {
        let in_process =
            folder_lock::poll(disk.config.timeout, || match disk.evicting.try_lock() {
                Ok(turn) => Ok(Some(turn)),
                Err(TryLockError::Poisoned(poisoned)) => Ok(Some(poisoned.into_inner())),
                Err(TryLockError::WouldBlock) => Ok(None),
            })?;
        let mut turn = in_process.ok_or(DiskError::Timeout)?;
        let now = Instant::now();
        let is_skipped = turn.skips_lock_until.is_some_and(|until| now < until);
        let timeout = if is_skipped {
            Duration::ZERO
        } else {
            LOCK_TIMEOUT
        };
        let in_folder = match folder_lock::acquire(&disk.layout.eviction_lock(), timeout) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                if !is_skipped {
                    tracing::warn!(%error, "evicting without the lock of eviction");
                    turn.skips_lock_until = Some(now + HUNG_LOCK_PAUSE);
                }
                None
            }
            Err(error) if disk_fault::is_full(&error) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            _in_process: turn,
            _in_folder: in_folder,
        })
    }
}

/// Evicts down to the low watermark if the bytes on the disk exceed the high watermark.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn evict_to_low_watermark(disk: &DiskStore) -> Result<(), DiskError> {
    let _lock = EvictionLock::acquire(disk)?;
    disk.flush()?;
    let counted_bytes = disk.counted_bytes()?;
    if counted_bytes > disk.config.high_watermark_bytes {
        let surplus_bytes = counted_bytes - disk.config.low_watermark_bytes;
        let surplus_bytes = surplus_bytes.min(evictable_bytes(disk)?);
        free(disk, ObjectClass::Recorded, surplus_bytes)?;
    }
    Ok(())
}

/// Calls `reserve` until it succeeds, up to `MAX_TRIES` + 1 times, and evicts the missing bytes in
/// between. Callers wait for each other, so that each caller first tries the space that the
/// previous one freed and did not need. `class` is the class of the body that needs the space.
///
/// # Errors
/// [`DiskError::NoSpace`] if too little can be evicted, otherwise the error of the index or the
/// disk.
pub fn make_space(
    disk: &DiskStore,
    class: ObjectClass,
    reserve: impl Fn() -> Result<Reservation, DiskError>,
) -> Result<(), DiskError> {
    let _lock = EvictionLock::acquire(disk)?;
    disk.flush()?;
    for _ in 0..MAX_TRIES {
        match reserve()? {
            Reservation::Granted => return Ok(()),
            Reservation::Short(missing_bytes) => free(disk, class, missing_bytes)?,
        }
    }
    match reserve()? {
        Reservation::Granted => Ok(()),
        Reservation::Short(_) => Err(DiskError::NoSpace),
    }
}

/// Evicts `missing_bytes` because the file system has too little free space for a body of `class`.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn make_disk_space(
    disk: &DiskStore,
    class: ObjectClass,
    missing_bytes: u64,
) -> Result<(), DiskError> {
    let _lock = EvictionLock::acquire(disk)?;
    disk.flush()?;
    free(disk, class, missing_bytes)
}

/// Evicts `objects` objects because the file system has too few free inodes for a body of `class`.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn make_inodes(disk: &DiskStore, class: ObjectClass, objects: u64) -> Result<(), DiskError> {
    if disk.mode == OpenMode::Maintenance {
        return Ok(());
    }
    let _lock = EvictionLock::acquire(disk)?;
    disk.flush()?;
    let goal = Goal { bytes: 0, objects };
    let candidates = match class {
        ObjectClass::Recorded => Candidates::All,
        ObjectClass::Observed => Candidates::Observed,
    };
    free_from(disk, candidates, goal).map(drop)
}

/// Returns whether the file system has too little space for the files of a process.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn lacks_space_for_slot(disk: &DiskStore) -> Result<bool, DiskError> {
    let state = statvfs(disk.layout.root()).map_err(io::Error::from)?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize) < SLOT_BYTES)
}

/// Evicts as little as this process needs for its own files, on a disk without space or inodes.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn free_space_for_slot(disk: &DiskStore) -> Result<(), DiskError> {
    if disk.mode == OpenMode::Maintenance {
        return Ok(());
    }
    let _lock = EvictionLock::acquire(disk)?;
    let state = statvfs(disk.layout.root()).map_err(io::Error::from)?;
    let free_bytes = state.f_bavail.saturating_mul(state.f_frsize);
    let mut goal = Goal::bytes(SLOT_BYTES.saturating_sub(free_bytes));
    // Some file systems have no fixed number of inodes, and state none.
    if state.f_files > 0 {
        goal.objects = SLOT_INODES.saturating_sub(state.f_favail);
    }
    if goal == Goal::bytes(0) {
        // Only a quota can be used up. The file system does not state it.
        goal.objects = 1;
    }
    free_from(disk, Candidates::All, goal).map(drop)
}

/// Returns the number of bytes that an eviction could free.
///
/// # Errors
/// [`DiskError::Index`] if the index fails.
pub fn evictable_bytes(disk: &DiskStore) -> Result<u64, DiskError> {
    match disk.mode {
        OpenMode::Serve => disk.index.lru().evictable_bytes(),
        OpenMode::Maintenance => Ok(0),
    }
}

/// Evicts observed objects until they have no more than their share of the cache. Evicts nothing
/// while changes of the index wait.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn evict_observed_surplus(disk: &DiskStore) -> Result<(), DiskError> {
    // Until the changes are written, the index states neither what was evicted nor what is new.
    let surplus = |observed_bytes: u64| {
        observed_bytes > disk.config.max_observed_bytes && !disk.index.has_deferred()
    };
    if !surplus(disk.index.ledger().observed_bytes()?) {
        return Ok(());
    }
    let _lock = EvictionLock::acquire(disk)?;
    disk.flush()?;
    let observed_bytes = disk.index.ledger().observed_bytes()?;
    if surplus(observed_bytes) {
        let surplus_bytes = observed_bytes - disk.config.max_observed_bytes;
        free_from(disk, Candidates::Observed, Goal::bytes(surplus_bytes))?;
    }
    Ok(())
}

/// Objects that an eviction may remove, in LRU order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidates {
    Observed,
    All,
}

/// Evicts at least `size_bytes` for a body of `class`. Evicts nothing if less than that can be
/// evicted. Observed bodies replace observed objects first, and others only within their share.
fn free(disk: &DiskStore, class: ObjectClass, size_bytes: u64) -> Result<(), DiskError> {
    if disk.mode == OpenMode::Maintenance || size_bytes > evictable_bytes(disk)? {
        return Ok(());
    }
    let observed_bytes = disk.index.ledger().observed_bytes()?;
    let freed_bytes = if class == ObjectClass::Observed {
        free_from(disk, Candidates::Observed, Goal::bytes(size_bytes))?
    } else {
        0
    };
    let missing_bytes = size_bytes.saturating_sub(freed_bytes);
    let is_within_share = class == ObjectClass::Recorded
        || observed_bytes.saturating_add(missing_bytes) <= disk.config.max_observed_bytes;
    if missing_bytes > 0 && is_within_share {
        free_from(disk, Candidates::All, Goal::bytes(missing_bytes))?;
    }
    Ok(())
}

/// Bytes and objects that an eviction must free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Goal {
    bytes: u64,
    objects: u64,
}

impl Goal {
    fn bytes(bytes: u64) -> Self {
        Self { bytes, objects: 0 }
    }
}

/// Evicts candidates until the goal is reached. Returns how many bytes it evicted.
fn free_from(disk: &DiskStore, candidates: Candidates, goal: Goal) -> Result<u64, DiskError> {
    let markers = disk.active_markers()?;
    let mut freed = Goal::bytes(0);
    let mut stuck = 0;
    // The index may show objects that were evicted, if it cannot be written.
    let mut handled = disk.index.deferred_evictions();
    // If removals are lost, the account does not show what was freed.
    let is_over = |freed: Goal, stuck: usize| {
        (freed.bytes >= goal.bytes && freed.objects >= goal.objects)
            || stuck >= MAX_STUCK
            || disk.index.has_lost_changes()
    };
    while !is_over(freed, stuck) {
        let count = BATCH + handled.len();
        let mut batch = match candidates {
            Candidates::Observed => disk.index.lru().observed_candidates(count)?,
            Candidates::All => disk.index.lru().candidates(count)?,
        };
        batch.retain(|sha256| !handled.contains(sha256));
        if batch.is_empty() {
            break;
        }
        for sha256 in batch.into_iter().take(BATCH) {
            if is_over(freed, stuck) {
                break;
            }
            // Only these can occur again.
            if disk.index.has_deferred() || stuck > 0 {
                handled.insert(sha256);
            }
            match evict_replicated(disk, sha256, markers.as_ref()) {
                Ok(Some(EvictResult::Evicted { size_bytes })) => {
                    freed.bytes += size_bytes.next_multiple_of(BLOCK_BYTES);
                    freed.objects += 1;
                }
                Ok(Some(EvictResult::NotFound | EvictResult::Pinned) | None) => {}
                Err(DiskError::Io(error)) => {
                    tracing::warn!(%error, %sha256, "object could not be evicted");
                    // Moves the object to the end of the LRU order, so that it does not block
                    // others.
                    disk.index.lru().set_accessed_now(sha256)?;
                    stuck += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(freed.bytes)
}

/// Removes one object, unless it is pinned. Returns `None` if the replica does not have the object
/// yet. Readers with the object open can read it to its end.
fn evict_replicated(
    disk: &DiskStore,
    sha256: Sha256,
    markers: Option<&ReplicaMarkers>,
) -> Result<Option<EvictResult>, DiskError> {
    let _lock = lock_for_removal(disk, sha256)?;
    let is_unreplicated = markers.is_some_and(|markers| !markers.has_object(sha256));
    if is_unreplicated && disk.index.class_of(sha256)? != Some(ObjectClass::Observed) {
        // The object should be held until its upload, and is not. The upload releases the hold.
        disk.index.lru().hold(sha256)?;
        disk.request_reindex();
        return Ok(None);
    }
    remove_locked(disk, sha256, EvictionReason::Space).map(Some)
}

/// Removes one object for an operator, unless it is pinned, also if no replica has it.
///
/// # Errors
/// [`DiskError`] if the index or the disk fails.
pub fn evict(disk: &DiskStore, sha256: Sha256) -> Result<EvictResult, DiskError> {
    let _lock = lock_for_removal(disk, sha256)?;
    remove_locked(disk, sha256, EvictionReason::Operator)
}

/// Acquires the lock of an object. Returns `None` if the disk has no space for the file of the
/// lock: nothing can be published then, and only a removal makes space.
fn lock_for_removal(disk: &DiskStore, sha256: Sha256) -> Result<Option<fs::File>, DiskError> {
    match disk.layout.lock_object(sha256) {
        Err(error) if disk_fault::is_full(&error) => Ok(None),
        locked => Ok(locked.map(Some)?),
    }
}

/// Removes one object, unless it is pinned. The caller holds the object's lock.
fn remove_locked(
    disk: &DiskStore,
    sha256: Sha256,
    reason: EvictionReason,
) -> Result<EvictResult, DiskError> {
    if pins::is_pinned(&disk.layout, sha256)? {
        // Holds the object, so that it is no candidate of the next evictions.
        disk.index.lru().hold(sha256)?;
        return Ok(EvictResult::Pinned);
    }
    let path = disk.layout.object(sha256);
    let remove = |metadata| fs::remove_file(&path).map(|()| metadata);
    let (result, freed_bytes) = match fs::metadata(&path).and_then(remove) {
        Ok(metadata) => {
            let size_bytes = metadata.len();
            let freed_bytes = object_disk_bytes(&metadata);
            (EvictResult::Evicted { size_bytes }, freed_bytes)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (EvictResult::NotFound, 0),
        Err(error) => return Err(error.into()),
    };
    let observed_key = disk.index.observed_key(sha256)?;
    disk.index.ledger().remove_evicted(sha256, freed_bytes)?;
    pieces::remove_with_digests(disk, sha256)?;
    if let Some(key) = observed_key {
        observations::remove_of_object(disk, key, sha256)?;
    }
    if let EvictResult::Evicted { size_bytes } = result {
        disk.events.emit(Event::Evicted {
            sha256,
            size_bytes,
            reason,
        });
    }
    Ok(result)
}
