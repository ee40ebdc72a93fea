//! Making room: the least recently used objects go first, their records stay.

use std::sync::PoisonError;

use fs_err as fs;

use super::index::{Entry, Room};
use super::{Role, Shared, StoreError};
use crate::model::Event;

/// How many candidates are fetched from the index at a time.
const BATCH: usize = 64;

/// How many objects that cannot be removed are passed over in one go.
const MAX_STUCK: usize = 16;

/// How often room is made for one body: another process may take it before it is reserved.
const MAX_TRIES: usize = 3;

/// Evicts down to the low watermark if the high one is passed.
pub fn to_low_watermark(shared: &Shared) -> Result<(), StoreError> {
    let _turn = shared.evicting.lock().unwrap_or_else(PoisonError::into_inner);
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
    let _turn = shared.evicting.lock().unwrap_or_else(PoisonError::into_inner);
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
    let _turn = shared.evicting.lock().unwrap_or_else(PoisonError::into_inner);
    shared.index.flush_touches()?;
    free(shared, missing_bytes)
}

/// Evicts at least `size_bytes`. If all that is held is less, nothing goes: it would go in vain.
fn free(shared: &Shared, size_bytes: u64) -> Result<(), StoreError> {
    if shared.role == Role::Guest || size_bytes > shared.index.held_bytes()? {
        return Ok(());
    }
    let mut freed_bytes = 0;
    let mut stuck = 0;
    while freed_bytes < size_bytes && stuck < MAX_STUCK {
        let batch = shared.index.oldest(BATCH)?;
        if batch.is_empty() {
            return Ok(());
        }
        for entry in batch {
            if freed_bytes >= size_bytes || stuck >= MAX_STUCK {
                break;
            }
            match evict(shared, &entry) {
                Ok(bytes) => freed_bytes += bytes,
                Err(StoreError::Io(error)) => {
                    tracing::warn!(%error, sha256 = %entry.sha256, "an object could not be removed");
                    // It goes to the end of the row, so that it does not stand in the way of the others.
                    shared.index.use_now(entry.sha256)?;
                    stuck += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Removes one object. Readers that hold it open read on to its end.
fn evict(shared: &Shared, entry: &Entry) -> Result<u64, StoreError> {
    let _lock = shared.layout.lock_object(entry.sha256)?;
    if shared.tier.as_ref().is_some_and(|tier| !tier.markers.has_object(entry.sha256)) {
        return Err(StoreError::Io(std::io::Error::other("it is not in the bucket yet")));
    }
    let freed_bytes = match fs::remove_file(shared.layout.object(entry.sha256)) {
        Ok(()) => entry.size_bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    shared.index.strike(entry.sha256)?;
    if freed_bytes > 0 {
        shared.events.tell(Event::Evicted { sha256: entry.sha256, size_bytes: freed_bytes });
    }
    Ok(freed_bytes)
}
