//! Leases. A lease allows one of the processes that share the folder to fetch a target.
//!
//! A lease is a lock on a file named after the key, so the kernel releases it when its holder dies.
//! While the lease is held, the file holds a record for waiting processes. The holder removes the
//! file when it releases the lease. After locking, a process must therefore check that the file
//! still has its name. This file must not know the content of a record. Its main type is [`Lease`].

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::{DiskError, DiskIo, IoClass, Layout, folder_lock};
use crate::model::{ExpectedDigests, Hasher, Key};

/// Bound on a lease record, in bytes.
const MAX_LEASE_RECORD_BYTES: usize = 16 * 1024;

/// Length of the prefix of a lease record: its SHA-256 in hexadecimal and a line feed. With it a
/// concurrent reader detects a record that is only partly written.
const RECORD_PREFIX_BYTES: usize = 65;

/// Number of attempts to acquire a lease whose file is removed between opening and locking.
const MAX_TRIES: usize = 8;

/// Lease of a target. Dropping it removes the lease file on another thread.
#[derive(Debug)]
pub struct Lease {
    io: DiskIo,
    /// `None` after the lease was released.
    lease_file: Mutex<Option<LeaseFile>>,
}

/// The locked file of a lease.
#[derive(Debug)]
struct LeaseFile {
    file: Arc<File>,
    path: PathBuf,
}

/// Another process that holds a lease, or held it until recently.
#[derive(Debug)]
pub struct LeaseHolder {
    io: DiskIo,
    file: Arc<File>,
}

/// Outcome of acquiring a lease.
#[derive(Debug)]
pub enum Acquire {
    /// This process holds the lease now.
    Acquired(Lease),
    /// Another process holds the lease.
    HeldBy(LeaseHolder),
}

/// State of a lease that another process holds or held, with its last complete record.
#[derive(Debug)]
pub enum LeaseState {
    /// The other process holds the lease.
    Held {
        record: Option<Bytes>,
        /// Time of the last write to the file or of [`Lease::touch`]. A holder that hangs does not
        /// change it.
        touched_at: SystemTime,
    },
    /// The other process released the lease, or died.
    Released(Option<Bytes>),
}

/// Acquires the lease of a target, unless another process holds it.
///
/// # Errors
/// [`DiskError`] if the disk fails, or the file system has no locks.
pub async fn acquire(io: &DiskIo, key: Key) -> Result<Acquire, DiskError> {
    let acquired = io
        .run(IoClass::Request, move |disk| {
            Ok::<_, DiskError>(try_acquire(&disk.layout, key)?)
        })
        .await?;
    Ok(match acquired {
        Ok(lease_file) => Acquire::Acquired(Lease {
            io: io.clone(),
            lease_file: Mutex::new(Some(lease_file)),
        }),
        Err(file) => Acquire::HeldBy(LeaseHolder {
            io: io.clone(),
            file: Arc::new(file),
        }),
    })
}

/// Acquires a lease and returns its file. If another process holds the lease, returns that file as
/// the inner error.
fn try_acquire(layout: &Layout, key: Key) -> io::Result<Result<LeaseFile, File>> {
    let path = layout.lease(key);
    let open = || folder_lock::open(&path);
    let mut file = open()?.into_parts().0;
    for _ in 0..MAX_TRIES {
        if !is_locked(file.try_lock())? {
            break;
        }
        if folder_lock::has_name(&file, &path)? {
            // A record in the file was written by a process that died.
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

/// Returns whether another process holds the lease of a target.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn is_held(layout: &Layout, key: Key) -> Result<bool, DiskError> {
    match fs::File::open(layout.lease(key)) {
        Ok(file) => Ok(!is_locked(file.file().try_lock_shared())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether a lease file exists, according to the kernel's cache and without waiting for the
/// disk. A process that died may have left the file.
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

/// Removes the lease files of dead processes.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn remove_stale(layout: &Layout) -> Result<(), DiskError> {
    for entry in fs::read_dir(layout.leases())? {
        let Some(key) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A lease that can be acquired has no holder.
        if let Ok(lease_file) = try_acquire(layout, key)? {
            lease_file.remove()?;
        }
    }
    Ok(())
}

impl Lease {
    /// Writes a record for waiting processes, at most `MAX_LEASE_RECORD_BYTES` long. Replaces the
    /// last record. Does nothing after the release.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub async fn write_record(&self, record: Vec<u8>) -> Result<(), DiskError> {
        let file = self.file().as_ref().map(|held| Arc::clone(&held.file));
        let Some(file) = file else {
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

    /// Shows waiting processes that this process runs. Does nothing after the release.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub async fn touch(&self) -> Result<(), DiskError> {
        let file = self.file().as_ref().map(|held| Arc::clone(&held.file));
        let Some(file) = file else {
            return Ok(());
        };
        let touched = self.io.run(IoClass::Request, move |_| {
            Ok(file.set_modified(SystemTime::now())?)
        });
        touched.await
    }

    /// Releases the lease, and returns once other processes can see that. Does nothing the second
    /// time.
    pub async fn release(&self) {
        let Some(lease_file) = self.file().take() else {
            return;
        };
        if let Err(error) = self
            .io
            .run(IoClass::Request, move |_| {
                Ok::<_, DiskError>(lease_file.remove()?)
            })
            .await
        {
            // Dropping the file released its lock, so the next process can acquire the lease.
            tracing::warn!(%error, "lease file was not removed");
        }
    }

    fn file(&self) -> MutexGuard<'_, Option<LeaseFile>> {
        // Each change is a single call, so a panic leaves no inconsistent state.
        self.lease_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    /// Removes the lease file on a disk thread, because this thread must not wait for the disk.
    fn drop(&mut self) {
        let Some(lease_file) = self.file().take() else {
            return;
        };
        self.io.spawn_cleanup(move |_| {
            if let Err(error) = lease_file.remove() {
                tracing::warn!(%error, "lease file was not removed");
            }
        });
    }
}

impl LeaseFile {
    /// Removes the file, unless its name belongs to another file by now. Releases the lock.
    fn remove(self) -> io::Result<()> {
        if folder_lock::has_name(&self.file, &self.path)? {
            fs::remove_file(&self.path)
        } else {
            Ok(())
        }
    }
}

impl LeaseHolder {
    /// Returns whether the process still holds the lease, and its last record.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub async fn state(&self) -> Result<LeaseState, DiskError> {
        let file = Arc::clone(&self.file);
        let state = self.io.run(IoClass::Request, move |_| {
            // The lock is tried first, because a record that is read under the lock is the last
            // one.
            let is_released = is_locked(file.try_lock_shared())?;
            let record = read_record(&file);
            if is_released {
                file.unlock()?;
                return Ok(LeaseState::Released(record?));
            }
            let touched_at = file.metadata()?.modified()?;
            Ok(LeaseState::Held {
                record: record?,
                touched_at,
            })
        });
        state.await
    }
}

/// Returns whether an attempt to lock succeeded. Returns false if another process has the lock.
fn is_locked(attempt: Result<(), TryLockError>) -> io::Result<bool> {
    match attempt {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Reads the record in a lease file. Returns `None` if there is no complete record.
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
    let record = framed.slice(RECORD_PREFIX_BYTES.min(read_bytes)..);
    let prefix = format!("{}\n", sha256_of(&record));
    Ok(framed.starts_with(prefix.as_bytes()).then_some(record))
}

fn sha256_of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(bytes);
    hasher.finish().sha256.to_string()
}
