//! Pins: by them an operator says which bytes a target means, and that they stay.
//!
//! `pins/ab/<key>/<sha256>` holds the time at which it was set; the newest of a target counts. To
//! pin again renews the marker, which belongs to that pin alone. `pins/by-digest/ab/<sha256>/<key>`
//! says the same to whoever evicts: it is made first and removed last, so that it may keep an
//! object for nothing, but never lets one go that is pinned.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::layout::Layout;
use super::{DiskError, DiskStore, durable_dirs};
use crate::model::{Key, Sha256};

/// More than a time, in bytes.
const MAX_MARKER_BYTES: u64 = 64;

/// The step between two pins that would be of one time.
const STEP: Duration = Duration::from_millis(1);

/// One target's pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    pub sha256: Sha256,
    pub pinned_at: SystemTime,
}

/// The pins of a target, the one that counts first.
pub fn of(layout: &Layout, key: Key) -> Result<Vec<Pin>, DiskError> {
    let mut pins = Vec::new();
    for name in durable_dirs::names_in(&layout.pins_of(key))? {
        let Ok(sha256) = name.parse::<Sha256>() else {
            continue;
        };
        pins.push(Pin {
            sha256,
            pinned_at: time_of(&layout.pin(key, sha256))?,
        });
    }
    pins.sort_by_key(|pin| std::cmp::Reverse((pin.pinned_at, pin.sha256)));
    Ok(pins)
}

/// Whether somebody has pinned these bytes, for whatever target. To be asked under the digest's
/// lock.
pub fn is_pinned(layout: &Layout, sha256: Sha256) -> Result<bool, DiskError> {
    Ok(!durable_dirs::names_in(&layout.pins_by_digest(sha256))?.is_empty())
}

/// Keeps bytes from being evicted that are about to be pinned.
pub fn protect(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<(), DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    write(disk, &disk.layout.pin_by_digest(sha256, key), "")
}

/// Pins a target to bytes of which it has a record.
pub fn pin(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<(), DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    write(disk, &disk.layout.pin_by_digest(sha256, key), "")?;
    // The newest counts, also where another machine's clock is ahead.
    let after_last = of(&disk.layout, key)?
        .first()
        .map(|pin| pin.pinned_at + STEP);
    let pinned_at = after_last.map_or_else(SystemTime::now, |after| after.max(SystemTime::now()));
    write_time(disk, key, sha256, pinned_at)
}

fn write_time(
    disk: &DiskStore,
    key: Key,
    sha256: Sha256,
    pinned_at: SystemTime,
) -> Result<(), DiskError> {
    let text = format!("{}\n", humantime::format_rfc3339_millis(pinned_at));
    write(disk, &disk.layout.pin(key, sha256), &text)
}

/// Writes down a pin that was set elsewhere.
pub fn import(
    disk: &DiskStore,
    key: Key,
    sha256: Sha256,
    pinned_at: SystemTime,
) -> Result<(), DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    if disk.layout.pin(key, sha256).exists() {
        return Ok(());
    }
    write(disk, &disk.layout.pin_by_digest(sha256, key), "")?;
    write_time(disk, key, sha256, pinned_at)
}

/// Takes a pin away, or what was made of one. False if there was none.
pub fn unpin(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<bool, DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    let was_pinned = durable_dirs::remove_if_there(&disk.layout.pin(key, sha256))?;
    durable_dirs::remove_if_there(&disk.layout.pin_by_digest(sha256, key))?;
    if !is_pinned(&disk.layout, sha256)? {
        disk.index.set_accessed_now(sha256)?;
    }
    Ok(was_pinned)
}

/// A marker that cannot be read counts as the oldest: what it keeps is kept.
fn time_of(path: &Path) -> Result<SystemTime, DiskError> {
    let mut text = String::new();
    match fs::File::open(path)
        .and_then(|file| file.take(MAX_MARKER_BYTES).read_to_string(&mut text))
    {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(humantime::parse_rfc3339(text.trim_end()).unwrap_or(SystemTime::UNIX_EPOCH)),
    }
}

fn write(disk: &DiskStore, path: &Path, text: &str) -> Result<(), DiskError> {
    let folder = path.parent().expect("a marker lies in a folder");
    disk.dirs.make(folder)?;
    let (_, draft) = disk.slot.next_file();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    Ok(durable_dirs::sync(folder)?)
}
