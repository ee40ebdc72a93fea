//! Bodies on their way in.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use super::index::{Reservation, is_damage};
use super::layout::StagedName;
use super::{DiskError, DiskIo, DiskStore, IoClass, OpenFile, evict};
use crate::model::{Digests, ExpectedDigests, Hasher};

/// The step in which space is reserved for a body of unknown length, in bytes.
const RESERVATION_STEP_BYTES: u64 = 64 << 20;

/// A body that is being written. Dropped before it is sealed, it leaves nothing behind.
pub struct Staging {
    file: Arc<StagedFile>,
    handle: Arc<File>,
    reserved_bytes: u64,
    /// DiskStore with the write that is under way, which may hang.
    hashed: Arc<Mutex<HashState>>,
    /// The whole of what came, in bytes.
    written_bytes: u64,
    /// Some of it is not on the disk.
    failed: Option<StagingFailure>,
}

/// What has been hashed.
struct HashState {
    hasher: Hasher,
    size_bytes: u64,
}

/// Why the disk does not take a body.
#[derive(Debug, Clone, Copy)]
enum StagingFailure {
    Full,
    Refused,
}

/// A file in the staging folder and the space that is reserved for it.
pub(super) struct StagedFile {
    io: DiskIo,
    pub(super) id: u64,
    pub(super) path: PathBuf,
    /// Set once the file lies elsewhere and its reservation has become an entry.
    pub(super) is_published: AtomicBool,
}

/// A whole body: of the right length, hashed, and safe on the disk. Only staging makes one.
pub struct Sealed {
    pub(super) file: Arc<StagedFile>,
    pub digests: Digests,
    pub size_bytes: u64,
}

impl Staging {
    /// Creates a staged file and reserves space for it, of `length` bytes if that is known. Evicts
    /// if there is too little.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the body does not fit.
    pub async fn begin(
        io: &DiskIo,
        length: Option<u64>,
        hasher: Hasher,
    ) -> Result<Self, DiskError> {
        let owned = io.clone();
        io.run(IoClass::Request, move |disk| {
            Self::create(disk, owned, length, hasher)
        })
        .await
    }

    fn create(
        disk: &DiskStore,
        io: DiskIo,
        length: Option<u64>,
        hasher: Hasher,
    ) -> Result<Self, DiskError> {
        let (id, path) = disk.slot.next_file();
        let file = Arc::new(StagedFile {
            io,
            id,
            path,
            is_published: AtomicBool::new(false),
        });
        let reserved_bytes = length.unwrap_or(RESERVATION_STEP_BYTES);
        let handle = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&file.path)?;
        let handle = Arc::new(handle.into_parts().0);
        reserve(disk, file.id, &handle, reserved_bytes)?;
        let nothing = HashState {
            hasher,
            size_bytes: 0,
        };
        Ok(Self {
            file,
            handle,
            reserved_bytes,
            hashed: Arc::new(Mutex::new(nothing)),
            written_bytes: 0,
            failed: None,
        })
    }

    /// What has been written so far, for readers who follow.
    #[must_use]
    pub fn file(&self) -> OpenFile {
        OpenFile::new(Arc::clone(&self.handle), self.file.io.clone())
    }

    /// By which other processes find the file while it grows.
    #[must_use]
    pub fn name(&self) -> StagedName {
        StagedName {
            process: self.file.io.store().slot.name.clone(),
            id: self.file.id,
        }
    }

    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Hashes and writes the next bytes.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if they do not fit, another if the disk refuses or hangs, once: what
    /// comes from then on is hashed only, and the body cannot be sealed any more.
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), DiskError> {
        let offset = self.written_bytes;
        let end = offset + bytes.len() as u64;
        let mut kept = Ok(());
        if self.failed.is_none() && end > self.reserved_bytes {
            kept = self.reserve_to(end).await;
        }
        if self.failed.is_none() && kept.is_ok() {
            let (handle, hashed, piece) = (
                Arc::clone(&self.handle),
                Arc::clone(&self.hashed),
                bytes.clone(),
            );
            let write = move |_: &DiskStore| {
                feed(&hashed, offset, &piece);
                Ok(handle.write_all_at(&piece, offset)?)
            };
            kept = self.file.io.run(IoClass::Request, write).await;
        }
        if self.failed.is_some() || kept.is_err() {
            let hashed = Arc::clone(&self.hashed);
            // No disk work: the threads of the disk may all hang.
            let fed = spawn_blocking(move || feed(&hashed, offset, &bytes)).await;
            fed.map_err(|panic| DiskError::Io(std::io::Error::other(panic)))?;
        }
        self.written_bytes = end;
        if let Err(error) = &kept {
            self.failed = Some(if matches!(error, DiskError::NoSpace) {
                StagingFailure::Full
            } else {
                StagingFailure::Refused
            });
        }
        kept
    }

    async fn reserve_to(&mut self, end: u64) -> Result<(), DiskError> {
        let wanted = end.div_ceil(RESERVATION_STEP_BYTES) * RESERVATION_STEP_BYTES;
        // The job keeps the file: it must not reserve for one that has been given up meanwhile.
        let (file, handle) = (Arc::clone(&self.file), Arc::clone(&self.handle));
        self.file
            .io
            .run(IoClass::Request, move |disk| {
                reserve(disk, file.id, &handle, wanted)
            })
            .await?;
        self.reserved_bytes = wanted;
        Ok(())
    }

    /// The digests of all that was written. Nothing can be appended afterwards.
    ///
    /// # Errors
    /// [`DiskError::Io`] if a write had failed before.
    pub fn finish(self) -> Result<Finished, DiskError> {
        let digests = {
            let mut hashed = lock(&self.hashed);
            if hashed.size_bytes != self.written_bytes {
                return Err(broken_staging());
            }
            std::mem::replace(&mut hashed.hasher, Hasher::new(&ExpectedDigests::nothing())).finish()
        };
        Ok(Finished {
            staging: self,
            digests,
        })
    }
}

/// A body that is all there, but not yet safe on the disk.
pub struct Finished {
    staging: Staging,
    pub digests: Digests,
}

impl Finished {
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.staging.written_bytes
    }

    #[must_use]
    pub fn file(&self) -> OpenFile {
        self.staging.file()
    }

    /// Makes the body safe on the disk.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refuses, or has refused a part of it before.
    pub async fn seal(self) -> Result<Sealed, DiskError> {
        match self.staging.failed {
            None => {}
            Some(StagingFailure::Full) => return Err(DiskError::NoSpace),
            Some(StagingFailure::Refused) => return Err(broken_staging()),
        }
        let io = self.staging.file.io.clone();
        let class = IoClass::Durable {
            size_bytes: self.staging.written_bytes,
        };
        let sealed = io.run(class, move |_| {
            // Space that was set aside beyond the end is given back.
            self.staging.handle.set_len(self.staging.written_bytes)?;
            self.staging.handle.sync_all()?;
            Ok(Sealed {
                file: self.staging.file,
                digests: self.digests,
                size_bytes: self.staging.written_bytes,
            })
        });
        sealed.await
    }
}

/// Reserves `wanted_bytes` in all for one body: in the ledger first, then on the file system. Makes
/// room once if there is none.
fn reserve(disk: &DiskStore, id: u64, handle: &File, wanted_bytes: u64) -> Result<(), DiskError> {
    let limit_bytes = disk.config.max_size_bytes;
    let reserve = || {
        disk.index
            .reserve(&disk.slot.name, id, wanted_bytes, limit_bytes)
    };
    let reservation = match reserve() {
        Err(DiskError::Index(error)) if is_damage(&error) => {
            disk.index.replace_if_lost(&disk.layout)?;
            disk.request_reindex();
            disk.low_space.notify_one();
            reserve()?
        }
        other => other?,
    };
    match reservation {
        Reservation::Granted => {}
        Reservation::Short(_) if wanted_bytes > limit_bytes => return Err(DiskError::NoSpace),
        Reservation::Short(_) => evict::make_space(disk, reserve)?,
    }
    let min_free_bytes = disk.config.min_free_bytes;
    if let Err(DiskError::NoSpace) = allocate(handle, wanted_bytes) {
        let needed_bytes = wanted_bytes.saturating_add(min_free_bytes);
        evict::make_disk_space(disk, needed_bytes.saturating_sub(free_bytes(handle)?))?;
        allocate(handle, wanted_bytes)?;
    }
    let missing_bytes = min_free_bytes.saturating_sub(free_bytes(handle)?);
    if missing_bytes > 0 {
        evict::make_disk_space(disk, missing_bytes)?;
        if free_bytes(handle)? < min_free_bytes {
            return Err(DiskError::NoSpace);
        }
    }
    Ok(())
}

impl Drop for StagedFile {
    /// Gives file and space back, off the event loop where there is one.
    fn drop(&mut self) {
        if self.is_published.load(Ordering::Acquire) {
            return;
        }
        let (id, path) = (self.id, std::mem::take(&mut self.path));
        let give_back = move |disk: &DiskStore| {
            // What cannot be removed here is swept when the next process enters the folder.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a staged file was not removed");
                }
                _ => {}
            }
            if let Err(error) = disk.index.release(&disk.slot.name, id) {
                tracing::warn!(%error, "a reservation was not released");
            }
        };
        self.io.spawn_cleanup(give_back);
    }
}

/// Sets blocks aside without changing the length, where the file system can.
fn allocate(handle: &File, size_bytes: u64) -> Result<(), DiskError> {
    if size_bytes == 0 {
        return Ok(());
    }
    match fallocate(handle, FallocateFlags::KEEP_SIZE, 0, size_bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

fn free_bytes(handle: &File) -> Result<u64, DiskError> {
    let state = fstatvfs(handle).map_err(std::io::Error::from)?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}

/// Hashes a piece, unless that was done already: a write that hangs may go on after it was given
/// up.
fn feed(hashed: &Mutex<HashState>, offset: u64, bytes: &[u8]) {
    let mut hashed = lock(hashed);
    if hashed.size_bytes == offset {
        hashed.hasher.update(bytes);
        hashed.size_bytes += bytes.len() as u64;
    }
}

fn lock(hashed: &Mutex<HashState>) -> MutexGuard<'_, HashState> {
    // After a panic the length says how far it is.
    hashed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken_staging() -> DiskError {
    DiskError::Io(std::io::Error::other(
        "an earlier write to this body had failed",
    ))
}
