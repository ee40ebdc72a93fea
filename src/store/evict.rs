//! Making room: the least recently used objects go first, their records stay.

use fs_err as fs;

use super::index::Entry;
use super::{Shared, StoreError};
use crate::model::Event;

/// How many candidates are fetched from the index at a time.
const BATCH: usize = 64;

/// Evicts down to the low watermark if the high one is passed.
pub fn to_low_watermark(shared: &Shared) -> Result<(), StoreError> {
    shared.index.flush_touches()?;
    let held = shared.index.held_bytes()?;
    if held > shared.config.high_watermark_bytes() {
        free(shared, held - shared.config.low_watermark_bytes())?;
    }
    Ok(())
}

/// Evicts until `wanted_bytes` more fit under `max_size`, and on down to the low watermark so that the next does not wait.
pub fn make_room(shared: &Shared, wanted_bytes: u64) -> Result<(), StoreError> {
    shared.index.flush_touches()?;
    let held = shared.index.held_bytes()?;
    let goal = shared.config.low_watermark_bytes().min(shared.config.max_size.bytes.saturating_sub(wanted_bytes));
    free(shared, held.saturating_sub(goal))
}

/// Evicts at least `size_bytes`, or everything.
pub fn free(shared: &Shared, size_bytes: u64) -> Result<(), StoreError> {
    let mut freed_bytes = 0;
    while freed_bytes < size_bytes {
        let batch = shared.index.oldest(BATCH)?;
        if batch.is_empty() {
            return Ok(());
        }
        for entry in batch {
            if freed_bytes >= size_bytes {
                break;
            }
            freed_bytes += evict(shared, &entry)?;
        }
    }
    Ok(())
}

/// Removes one object. Readers that hold it open read on to its end.
fn evict(shared: &Shared, entry: &Entry) -> Result<u64, StoreError> {
    let _lock = shared.layout.lock_object(entry.sha256)?;
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
