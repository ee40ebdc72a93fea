//! Locks on files of the cache folder. All processes of the folder share them.
//!
//! A process that hangs may hold a lock for ever, so every wait has a bound. This file must not
//! know what a lock protects. Its main function is [`acquire`].

use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fs_err as fs;

/// Bound on the wait for a lock. An operation under a lock writes and syncs a few small files.
/// It is longer than the end of a body waits for its record, so that a slow disk stores the body.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(4);

/// Delay before the second attempt. Each delay is twice the previous one.
const MIN_POLL_DELAY: Duration = Duration::from_millis(1);

/// Longest delay between two attempts.
const MAX_POLL_DELAY: Duration = Duration::from_millis(20);

/// Opens the file at `path` and locks it. Creates the file and its folder if they are missing.
/// Dropping the file releases the lock.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] if another process holds the lock for the whole `timeout`,
/// otherwise the error of the disk.
pub fn acquire(path: &Path, timeout: Duration) -> io::Result<fs::File> {
    let file = open(path)?;
    let is_locked = poll(timeout, || match file.file().try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    })?;
    match is_locked {
        Some(()) => Ok(file),
        None => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!(
                "another process has held the lock {} for {timeout:?}",
                path.display(),
            ),
        )),
    }
}

/// Calls `attempt` until it returns a value or an error. Returns `None` after `timeout`.
///
/// # Errors
/// The error of `attempt`.
pub fn poll<T>(
    timeout: Duration,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let began = Instant::now();
    let mut delay = MIN_POLL_DELAY;
    loop {
        if let Some(value) = attempt()? {
            return Ok(Some(value));
        }
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        sleep(delay.min(left));
        delay = (delay * 2).min(MAX_POLL_DELAY);
    }
}

/// Opens a lock file. Creates the file and its folder if they are missing, because the folder may
/// be removed while the process runs.
///
/// # Errors
/// The error of the disk.
pub fn open(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            options.open(path)
        }
        opened => opened,
    }
}

/// Returns whether the path still names this file.
///
/// # Errors
/// The error of the disk.
pub fn has_name(file: &std::fs::File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
