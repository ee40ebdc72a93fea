//! Making room: the least recently used objects go first, their records stay.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use fs_err as fs;

use super::index::Room;
use super::markers::Markers;
use super::{Role, Shared, StoreError, pins};
use crate::model::{Event, Sha256};

/// How many candidates are fetched from the index at a time.
const BATCH: usize = 64;

/// How many objects that cannot be removed are passed over in one go.
const MAX_STUCK: usize = 16;

/// How often room is made for one body: another process may take it before it is reserved.
const MAX_TRIES: usize = 3;

/// What became of an object that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    Gone {
        size_bytes: u64,
    },
    /// It was not there.
    Absent,
    /// An operator keeps it.
    Pinned,
}

/// Leave to make room, of one thread of one process of the folder at a time: what two make for the same need is twice as much.
struct Turn<'a> {
    _of_process: MutexGuard<'a, ()>,
    _of_folder: fs::File,
}

impl<'a> Turn<'a> {
    fn take(shared: &'a Shared) -> Result<Self, StoreError> {
        let of_process = shared.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { _of_process: of_process, _of_folder: shared.layout.lock_eviction()? })
    }
}

/// Evicts down to the low watermark if the high one is passed.
pub fn to_low_watermark(shared: &Shared) -> Result<(), StoreError> {
    let _turn = Turn::take(shared)?;
    shared.index.flush_touches()?;
    let held = shared.index.held_bytes()?;
    if held > shared.config.high_watermark_bytes() {
        free(shared, held - shared.config.low_watermark_bytes())?;
    }
    Ok(())
}

/// Asks for room until there is some, and evicts what is missing. Those who want room take turns: what one of them has made
/// and not needed is the next one's.
pub fn make_room(shared: &Shared, ask: impl Fn() -> Result<Room, StoreError>) -> Result<(), StoreError> {
    let _turn = Turn::take(shared)?;
    shared.index.flush_touches()?;
    for _ in 0..MAX_TRIES {
        match ask()? {
            Room::Reserved => return Ok(()),
            Room::Missing(missing_bytes) => free(shared, missing_bytes)?,
        }
    }
    match ask()? {
        Room::Reserved => Ok(()),
        Room::Missing(_) => Err(StoreError::NoSpace),
    }
}

/// Evicts what the file system lacks.
pub fn make_disk_space(shared: &Shared, missing_bytes: u64) -> Result<(), StoreError> {
    let _turn = Turn::take(shared)?;
    shared.index.flush_touches()?;
    free(shared, missing_bytes)
}

/// Evicts at least `size_bytes`. If all that may go is less, nothing goes: it would go in vain.
fn free(shared: &Shared, size_bytes: u64) -> Result<(), StoreError> {
    if shared.role == Role::Guest || size_bytes > shared.index.evictable_bytes()? {
        return Ok(());
    }
    let markers = markers_in_force(shared)?;
    let mut freed_bytes = 0;
    let mut stuck = 0;
    while freed_bytes < size_bytes && stuck < MAX_STUCK {
        let batch = shared.index.oldest(BATCH)?;
        if batch.is_empty() {
            return Ok(());
        }
        for sha256 in batch {
            if freed_bytes >= size_bytes || stuck >= MAX_STUCK {
                break;
            }
            match evict(shared, sha256, markers.as_ref()) {
                Ok(Some(Eviction::Gone { size_bytes })) => freed_bytes += size_bytes,
                Ok(Some(Eviction::Absent | Eviction::Pinned) | None) => {}
                Err(StoreError::Io(error)) => {
                    tracing::warn!(%error, %sha256, "an object could not be removed");
                    // It goes to the end of the row, so that it does not stand in the way of the others.
                    shared.index.use_now(sha256)?;
                    stuck += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The markers that say what may go. A process that knows of no bucket may share the folder with others that do.
fn markers_in_force(shared: &Shared) -> Result<Option<Markers>, StoreError> {
    match &shared.tier {
        Some(tier) => Ok(Some(tier.markers.clone())),
        None => Ok(shared.index.bucket()?.map(|id| Markers::new(shared.layout.root(), &id))),
    }
}

/// Removes one object, unless somebody has pinned it. `None` if the bucket does not have it yet. Readers that hold it open
/// read on to its end.
fn evict(shared: &Shared, sha256: Sha256, markers: Option<&Markers>) -> Result<Option<Eviction>, StoreError> {
    let _lock = shared.layout.lock_object(sha256)?;
    if markers.is_some_and(|markers| !markers.has_object(sha256)) {
        // It should be in the queue, and is not. Once it is up it comes back into the row.
        shared.index.set_aside(sha256)?;
        shared.unreconciled.store(true, Ordering::Release);
        return Ok(None);
    }
    remove_locked(shared, sha256).map(Some)
}

/// Removes one object, unless somebody has pinned it.
pub fn remove(shared: &Shared, sha256: Sha256) -> Result<Eviction, StoreError> {
    let _lock = shared.layout.lock_object(sha256)?;
    remove_locked(shared, sha256)
}

fn remove_locked(shared: &Shared, sha256: Sha256) -> Result<Eviction, StoreError> {
    if pins::are_kept(&shared.layout, sha256)? {
        // Out of the row, so that it is not looked at again and again.
        shared.index.set_aside(sha256)?;
        return Ok(Eviction::Pinned);
    }
    let path = shared.layout.object(sha256);
    let removed = fs::metadata(&path).and_then(|metadata| fs::remove_file(&path).map(|()| metadata.len()));
    let eviction = match removed {
        Ok(size_bytes) => Eviction::Gone { size_bytes },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Eviction::Absent,
        Err(error) => return Err(error.into()),
    };
    shared.index.strike(sha256)?;
    if let Eviction::Gone { size_bytes } = eviction {
        shared.events.tell(Event::Evicted { sha256, size_bytes });
    }
    Ok(eviction)
}
