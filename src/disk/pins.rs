//! Pins. With a pin an operator decides which object answers a target, and excludes it from
//! eviction.
//!
//! `pins/ab/<key>/<sha256>` contains the time at which the pin was set. The newest pin of a target
//! is the active one. Pinning again renews the time.
//!
//! `pins/by-digest/ab/<sha256>/<key>` protects the object from eviction. This marker is created
//! first and removed last. After a crash it may protect an object without need, but no pinned
//! object is evicted. The main type is [`Pin`].

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::layout::Layout;
use super::{DiskError, DiskStore, durable_dirs};
use crate::model::{Key, Sha256};

/// Bound on the length of a marker, in bytes. A time is shorter.
const MAX_MARKER_BYTES: u64 = 64;

/// Distance in time between two pins of a target that would otherwise have the same time.
const STEP: Duration = Duration::from_millis(1);

/// A pin of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// The object that answers the target.
    pub sha256: Sha256,
    pub pinned_at: SystemTime,
}

/// Returns the pins of a target, the newest first.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn list(layout: &Layout, key: Key) -> Result<Vec<Pin>, DiskError> {
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

/// Returns whether an object is pinned for any target. The caller holds the object's lock.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn is_pinned(layout: &Layout, sha256: Sha256) -> Result<bool, DiskError> {
    Ok(!durable_dirs::names_in(&layout.pins_by_digest(sha256))?.is_empty())
}

/// Protects an object that will be pinned from eviction.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn protect(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<(), DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    write(disk, &disk.layout.pin_by_digest(sha256, key), "")
}

/// Pins a target to an object. The target must have a record of it.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn pin(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<(), DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    write(disk, &disk.layout.pin_by_digest(sha256, key), "")?;
    // The new pin must be the newest one, even if another machine's clock is ahead.
    let after_last = list(&disk.layout, key)?
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

/// Creates a pin that was set on another node, with its time. Does nothing if the pin exists.
///
/// # Errors
/// [`DiskError`] if the disk fails.
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

/// Removes a pin, or the part of it that a crash left. Returns false if there was no complete pin.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn unpin(disk: &DiskStore, key: Key, sha256: Sha256) -> Result<bool, DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    let was_pinned = durable_dirs::remove_if_exists(&disk.layout.pin(key, sha256))?;
    durable_dirs::remove_if_exists(&disk.layout.pin_by_digest(sha256, key))?;
    if !is_pinned(&disk.layout, sha256)? {
        disk.index.lru().set_accessed_now(sha256)?;
    }
    Ok(was_pinned)
}

/// Reads the time of a pin. An invalid time counts as the oldest, and the pin stays in force.
fn time_of(path: &Path) -> Result<SystemTime, DiskError> {
    let mut text = String::new();
    match fs::File::open(path)
        .and_then(|file| file.take(MAX_MARKER_BYTES).read_to_string(&mut text))
    {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(humantime::parse_rfc3339(text.trim_end()).unwrap_or(SystemTime::UNIX_EPOCH)),
    }
}

/// Writes a marker to a draft, and renames the draft. The marker is durable afterwards.
fn write(disk: &DiskStore, path: &Path, text: &str) -> Result<(), DiskError> {
    let folder = path.parent().expect("a marker lies in a folder");
    disk.dirs.create(folder)?;
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
