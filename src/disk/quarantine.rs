//! What was found to be damaged, or belongs to nothing, lies in `quarantine/` for a while: nobody
//! is answered with it, and an operator can still look at it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::index::since_epoch;
use super::{DiskError, DiskStore, durable_dirs};

/// How many files are kept. Beyond it, and beyond the next two, the oldest goes. Also how many lost
/// objects are tried again.
const MAX_FILES: usize = 1000;

/// The share of `cache.max_size` that they may hold besides what is stored.
const MAX_SHARE: u64 = 20;

/// How long they are kept.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// A file here.
struct QuarantinedFile {
    name: String,
    /// When it came in, in milliseconds since 1970.
    since: i64,
    size_bytes: u64,
}

/// Takes a file away from its place, by its name alone: whoever has it open reads on. What is
/// replaced meanwhile must not be taken, so the caller holds the lock under which it would be.
pub fn move_in(disk: &DiskStore, path: &Path, name: &str) -> Result<(), DiskError> {
    let folder = disk.layout.quarantine();
    disk.dirs.make(&folder)?;
    let now = since_epoch(SystemTime::now());
    fs::rename(path, folder.join(format!("{name}.{now}")))?;
    durable_dirs::sync(path.parent().expect("what is stored lies in a folder"))?;
    Ok(durable_dirs::sync(&folder)?)
}

/// Removes what is too old, and the oldest of what is too much.
pub fn expire(disk: &DiskStore) -> Result<(), DiskError> {
    let folder = disk.layout.quarantine();
    let mut held = list(&folder)?;
    held.sort_by_key(|file| std::cmp::Reverse(file.since));
    let horizon = since_epoch(SystemTime::now() - MAX_AGE);
    let limit_bytes = disk.config.max_size_bytes / MAX_SHARE;
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
fn list(folder: &Path) -> Result<Vec<QuarantinedFile>, DiskError> {
    let mut held = Vec::new();
    for name in durable_dirs::names_in(folder)? {
        let Some(since) = name
            .rsplit_once('.')
            .and_then(|(_, since)| since.parse().ok())
        else {
            continue;
        };
        // Another process may tidy too.
        let Ok(metadata) = fs::symlink_metadata(folder.join(&name)) else {
            continue;
        };
        held.push(QuarantinedFile {
            name,
            since,
            size_bytes: metadata.len(),
        });
    }
    Ok(held)
}
