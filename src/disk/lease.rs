//! Claims: leave to fetch a target, held by one of the processes that share the folder.
//!
//! A claim is a lock on a file named after the key, so that the kernel takes it from a process that
//! dies. While it is held, the file carries a note for those who wait. Whoever has locked must look
//! whether the file still has its name: the holder removes it when he lets go.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::{DiskError, DiskIo, IoClass, Layout};
use crate::model::{ExpectedDigests, Hasher, Key};

/// The longest note, in bytes.
const MAX_LEASE_RECORD_BYTES: usize = 16 * 1024;

/// A note begins with its SHA-256 in hexadecimal and a line feed: a reader that comes while it is
/// written sees that it is not whole.
const RECORD_PREFIX_BYTES: usize = 65;

/// How often a claim is tried anew whose file was removed between opening and locking it.
const MAX_TRIES: usize = 8;

/// Leave to fetch a target. Dropping it releases the lock file on another thread, so that the next
/// fetch does not wait.
#[derive(Debug)]
pub struct Lease {
    io: DiskIo,
    /// `None` once it was let go.
    held: Mutex<Option<LeaseFile>>,
}

#[derive(Debug)]
struct LeaseFile {
    file: Arc<File>,
    path: PathBuf,
}

/// Another process that holds a claim, or held it a moment ago.
#[derive(Debug)]
pub struct LeaseHolder {
    io: DiskIo,
    file: Arc<File>,
}

#[derive(Debug)]
pub enum Acquire {
    Acquired(Lease),
    HeldBy(LeaseHolder),
}

/// What a rival does, and the note that it has left last.
#[derive(Debug)]
pub enum LeaseState {
    Held(Option<Bytes>),
    /// It let go, or died.
    Released(Option<Bytes>),
}

/// Acquires the lease of a target, unless another process holds it.
///
/// # Errors
/// [`DiskError`] if the disk refuses, or knows no locks.
pub async fn acquire(io: &DiskIo, key: Key) -> Result<Acquire, DiskError> {
    let tried = io
        .run(IoClass::Request, move |disk| {
            Ok::<_, DiskError>(try_acquire(&disk.layout, key)?)
        })
        .await?;
    Ok(match tried {
        Ok(held) => Acquire::Acquired(Lease {
            io: io.clone(),
            held: Mutex::new(Some(held)),
        }),
        Err(file) => Acquire::HeldBy(LeaseHolder {
            io: io.clone(),
            file: Arc::new(file),
        }),
    })
}

/// The claim, or the file on which another process holds it.
fn try_acquire(layout: &Layout, key: Key) -> io::Result<Result<LeaseFile, File>> {
    let path = layout.lease(key);
    let open = || {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
    };
    let mut file = open()?.into_parts().0;
    for _ in 0..MAX_TRIES {
        if !acquired(file.try_lock())? {
            break;
        }
        if has_name(&file, &path)? {
            // A note in it was left by a process that died.
            file.set_len(0)?;
            return Ok(Ok(LeaseFile {
                file: Arc::new(file),
                path,
            }));
        }
        file = open()?.into_parts().0;
    }
    Ok(Err(file))
}

/// Whether another process holds the claim on a target.
pub fn is_held(layout: &Layout, key: Key) -> Result<bool, DiskError> {
    match fs::File::open(layout.lease(key)) {
        Ok(file) => Ok(!acquired(file.file().try_lock_shared())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether there is a claim's file, if the kernel knows that without a wait for the disk. A process
/// that died may have left it.
pub fn is_probably_held(layout: &Layout, key: Key) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(
        CWD,
        layout.lease(key),
        flags,
        Mode::empty(),
        ResolveFlags::CACHED,
    )
    .is_ok()
}

/// Removes the claims that dead processes have left.
pub fn remove_stale(layout: &Layout) -> Result<(), DiskError> {
    for entry in fs::read_dir(layout.leases())? {
        let Some(key) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // What can be claimed is nobody's, and goes with the claim.
        if let Ok(held) = try_acquire(layout, key)? {
            held.remove()?;
        }
    }
    Ok(())
}

impl Lease {
    /// Leaves a note for those who wait, in place of the last one.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refuses.
    pub async fn write_record(&self, record: Vec<u8>) -> Result<(), DiskError> {
        let Some(file) = self.held().as_ref().map(|held| Arc::clone(&held.file)) else {
            return Ok(());
        };
        let written = self.io.run(IoClass::Request, move |_| {
            let mut framed = format!("{}\n", sha256_of(&record)).into_bytes();
            framed.extend_from_slice(&record);
            file.write_all_at(&framed, 0)?;
            Ok(file.set_len(framed.len() as u64)?)
        });
        written.await
    }

    /// Lets go, and returns once others can see it.
    pub async fn release(&self) {
        let Some(held) = self.held().take() else {
            return;
        };
        if let Err(error) = self
            .io
            .run(IoClass::Request, move |_| {
                Ok::<_, DiskError>(held.remove()?)
            })
            .await
        {
            // The lock went with the file, so that the next to claim takes it as it lies.
            tracing::warn!(%error, "lease file was not removed");
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<LeaseFile>> {
        // Each change is one call.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    /// Not on this thread, which must not wait for the disk.
    fn drop(&mut self) {
        let Some(held) = self.held().take() else {
            return;
        };
        self.io.spawn_cleanup(move |_| {
            if let Err(error) = held.remove() {
                tracing::warn!(%error, "lease file was not removed");
            }
        });
    }
}

impl LeaseFile {
    /// Removes the file, unless its name is another's by now. The lock goes with it.
    fn remove(self) -> io::Result<()> {
        if has_name(&self.file, &self.path)? {
            fs::remove_file(&self.path)
        } else {
            Ok(())
        }
    }
}

impl LeaseHolder {
    /// Looks whether it still holds its claim.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refuses.
    pub async fn state(&self) -> Result<LeaseState, DiskError> {
        let file = Arc::clone(&self.file);
        let state = self.io.run(IoClass::Request, move |_| {
            // The lock first: a record that is read under it is the last one.
            let is_released = acquired(file.try_lock_shared())?;
            let record = read_record(&file);
            if is_released {
                file.unlock()?;
                return Ok(LeaseState::Released(record?));
            }
            Ok(LeaseState::Held(record?))
        });
        state.await
    }
}

/// Whether a lock was got; not so if somebody else has it.
fn acquired(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The note, if there is a whole one.
fn read_record(file: &File) -> io::Result<Option<Bytes>> {
    let mut framed = vec![0; RECORD_PREFIX_BYTES + MAX_LEASE_RECORD_BYTES + 1];
    let mut read_bytes = 0;
    while read_bytes < framed.len() {
        match file.read_at(&mut framed[read_bytes..], read_bytes as u64)? {
            0 => break,
            count => read_bytes += count,
        }
    }
    if read_bytes > RECORD_PREFIX_BYTES + MAX_LEASE_RECORD_BYTES {
        return Ok(None);
    }
    framed.truncate(read_bytes);
    let framed = Bytes::from(framed);
    let note = framed.slice(RECORD_PREFIX_BYTES.min(read_bytes)..);
    let prefix = format!("{}\n", sha256_of(&note));
    Ok(framed.starts_with(prefix.as_bytes()).then_some(note))
}

fn sha256_of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(bytes);
    hasher.finish().sha256.to_string()
}
