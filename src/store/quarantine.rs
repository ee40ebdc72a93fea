//! What was found to be damaged, or belongs to nothing, lies in `quarantine/` for a while: nobody is answered with it, and an
//! operator can still look at it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::index::since_epoch;
use super::{Shared, StoreError, folders};
use crate::model::Sha256;

/// How many files are kept. Beyond it, and beyond the next two, the oldest goes. Also how many lost objects are tried again.
const MAX_FILES: usize = 1000;

/// The share of `cache.max_size` that they may hold besides what is stored.
const MAX_SHARE: u64 = 20;

/// How long they are kept.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// A file here.
struct Held {
    name: String,
    /// When it came in, in milliseconds since 1970.
    since: i64,
    size_bytes: u64,
}

/// Takes a file away from its place, by its name alone: whoever has it open reads on. What is replaced meanwhile must not be
/// taken, so the caller holds the lock under which it would be.
pub fn take_in(shared: &Shared, path: &Path, name: &str) -> Result<(), StoreError> {
    let folder = shared.layout.quarantine();
    shared.folders.make(&folder)?;
    let now = since_epoch(SystemTime::now());
    fs::rename(path, folder.join(format!("{name}.{now}")))?;
    folders::sync(path.parent().expect("what is stored lies in a folder"))?;
    Ok(folders::sync(&folder)?)
}

/// Writes down that an object has to be had again. Before it is taken from its place: whoever takes it may die.
pub fn await_again(shared: &Shared, sha256: Sha256) -> Result<(), StoreError> {
    let path = shared.layout.lost(sha256);
    let folder = path.parent().expect("a marker lies in a folder");
    shared.folders.make(folder)?;
    fs::File::create(&path)?;
    Ok(folders::sync(folder)?)
}

/// An object is here again, or nobody lacks it.
pub fn await_no_more(shared: &Shared, sha256: Sha256) -> Result<(), StoreError> {
    folders::remove_if_there(&shared.layout.lost(sha256))?;
    Ok(())
}

/// The objects that have to be had again, up to a bound.
pub fn awaited(shared: &Shared) -> Result<Vec<Sha256>, StoreError> {
    let names = folders::names_in(&shared.layout.quarantine().join("lost"))?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).take(MAX_FILES).collect())
}

/// Removes what is too old, and the oldest of what is too much.
pub fn tidy(shared: &Shared) -> Result<(), StoreError> {
    let folder = shared.layout.quarantine();
    let mut held = list(&folder)?;
    held.sort_by_key(|file| std::cmp::Reverse(file.since));
    let horizon = since_epoch(SystemTime::now() - MAX_AGE);
    let limit_bytes = shared.config.max_size.bytes / MAX_SHARE;
    let mut kept_bytes: u64 = 0;
    for (at, file) in held.iter().enumerate() {
        kept_bytes = kept_bytes.saturating_add(file.size_bytes);
        if at >= MAX_FILES || file.since < horizon || kept_bytes > limit_bytes {
            tracing::info!(name = file.name, "a file has left the quarantine");
            fs::remove_file(folder.join(&file.name))?;
        }
    }
    Ok(())
}

/// What was put here by name and time. Anything else is somebody's own.
fn list(folder: &Path) -> Result<Vec<Held>, StoreError> {
    let mut held = Vec::new();
    for name in folders::names_in(folder)? {
        let Some(since) = name.rsplit_once('.').and_then(|(_, since)| since.parse().ok()) else { continue };
        // Another process may tidy too.
        let Ok(metadata) = fs::symlink_metadata(folder.join(&name)) else { continue };
        held.push(Held { name, since, size_bytes: metadata.len() });
    }
    Ok(held)
}
