//! Quarantine of corrupt objects, damaged records and files that no record names.
//!
//! Files in `quarantine/` answer no request, and an operator can examine them until they expire.
//! This file must not know why a file was moved there. Its main functions are [`move_in`] and
//! [`expire`].

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::index::since_epoch;
use super::{DiskError, DiskStore, durable_dirs, missing, pieces};
use crate::model::Sha256;

/// Bound on the number of files. Beyond this bound and the next two, the oldest files are removed.
const MAX_FILES: usize = 1000;

/// Divisor of `cache.max_size` for the bound on the total size of the files: 5 %, in addition to
/// the cached bytes.
const SIZE_DIVISOR: u64 = 20;

/// Bound on the time since a file was quarantined.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// A file in quarantine.
struct QuarantinedFile {
    name: String,
    /// Time at which the file was quarantined, in milliseconds since 1970.
    quarantined_at: i64,
    size_bytes: u64,
}

/// Moves a file into quarantine under a name and the current time. Readers with the file open can
/// read it to its end. The caller holds the lock under which the file could be replaced, so that no
/// new file is moved.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn move_in(disk: &DiskStore, path: &Path, name: &str) -> Result<(), DiskError> {
    let folder = disk.layout.quarantine();
    disk.dirs.create(&folder)?;
    let now = since_epoch(SystemTime::now());
    fs::rename(path, folder.join(format!("{name}.{now}")))?;
    durable_dirs::sync(path.parent().expect("a cached file lies in a folder"))?;
    Ok(durable_dirs::sync(&folder)?)
}

/// Adds another name in quarantine for a file that will be replaced. A file that does not exist is
/// skipped.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn copy_in(disk: &DiskStore, path: &Path, name: &str) -> Result<(), DiskError> {
    let folder = disk.layout.quarantine();
    disk.dirs.create(&folder)?;
    let now = since_epoch(SystemTime::now());
    match fs::hard_link(path, folder.join(format!("{name}.{now}"))) {
        Err(error)
            if !matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::AlreadyExists
            ) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// Moves a corrupt object into quarantine, pinned or not, and marks it as missing. Returns false if
/// another file has the object's name by now. `file` is the open file with the wrong bytes, so no
/// other file can have its inode number.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn set_aside(disk: &DiskStore, sha256: Sha256, file: &File) -> Result<bool, DiskError> {
    let _lock = disk.layout.lock_object(sha256)?;
    let path = disk.layout.object(sha256);
    let corrupt = file.metadata()?;
    // Objects are replaced, never modified.
    let is_current = match fs::metadata(&path) {
        Ok(named) => (named.dev(), named.ino()) == (corrupt.dev(), corrupt.ino()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    if is_current {
        missing::mark(disk, sha256)?;
        move_object_in(disk, sha256)?;
    }
    Ok(is_current)
}

/// Moves an object into quarantine, and removes what was stored about its bytes. The caller holds
/// the lock of the object.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn move_object_in(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    move_in(disk, &disk.layout.object(sha256), &sha256.to_string())?;
    pieces::remove_with_digests(disk, sha256)?;
    disk.index.remove(sha256)?;
    Ok(())
}

/// Removes files that are too old, and the oldest files beyond the bounds on number and size.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn expire(disk: &DiskStore) -> Result<(), DiskError> {
    let folder = disk.layout.quarantine();
    let mut files = list(&folder)?;
    files.sort_by_key(|file| std::cmp::Reverse(file.quarantined_at));
    let horizon = since_epoch(SystemTime::now() - MAX_AGE);
    let limit_bytes = disk.config.max_size_bytes / SIZE_DIVISOR;
    let mut total_bytes: u64 = 0;
    for (position, file) in files.iter().enumerate() {
        total_bytes = total_bytes.saturating_add(file.size_bytes);
        if position >= MAX_FILES || file.quarantined_at < horizon || total_bytes > limit_bytes {
            tracing::info!(name = file.name, "removed expired file from quarantine");
            fs::remove_file(folder.join(&file.name))?;
        }
    }
    Ok(())
}

/// Returns the files that [`move_in`] quarantined. Other files belong to an operator.
fn list(folder: &Path) -> Result<Vec<QuarantinedFile>, DiskError> {
    let mut files = Vec::new();
    for name in durable_dirs::names_in(folder)? {
        let Some(quarantined_at) = name
            .rsplit_once('.')
            .and_then(|(_, time)| time.parse().ok())
        else {
            continue;
        };
        // Another process may remove the file at the same time.
        let Ok(metadata) = fs::symlink_metadata(folder.join(&name)) else {
            continue;
        };
        files.push(QuarantinedFile {
            name,
            quarantined_at,
            size_bytes: metadata.len(),
        });
    }
    Ok(files)
}
