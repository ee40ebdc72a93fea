//! Staging of bodies: reserving space, writing and hashing a body until it can be published.
//!
//! [`Staging`] becomes [`Finished`] once the body is complete, and [`Sealed`] once it is durable.
//! This file must not know where the bytes come from.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fs_err as fs;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use super::caller::{Caller, CallerObserver};
use super::index::{ObjectClass, Reservation, is_damage};
use super::layout::StagedName;
use super::{DiskError, DiskIo, DiskStore, IoClass, OpenFile, evict};
use crate::model::{Digests, ExpectedDigests, Hasher, lock};

/// Step in which space is reserved for a body of unknown length, in bytes.
const RESERVATION_STEP_BYTES: u64 = 64 << 20;

/// A body that is being written. Dropping it before it is sealed removes its file and reservation.
pub struct Staging {
    file: Arc<StagedFile>,
    handle: Arc<File>,
    reserved_bytes: u64,
    /// Shared with the write in progress, which may hang.
    hash_state: Arc<Mutex<HashState>>,
    /// Number of appended bytes, including those that the disk did not take.
    written_bytes: u64,
    /// Set if a part of the body is not on the disk.
    failure: Option<StagingFailure>,
}

/// Facts about a body before its first byte.
struct NewBody {
    class: ObjectClass,
    /// Length in bytes, if the origin stated it.
    length: Option<u64>,
    hasher: Hasher,
}

/// Hasher of a body, and the number of bytes that it has hashed.
struct HashState {
    hasher: Hasher,
    hashed_bytes: u64,
}

/// Reason why the disk does not take a body.
#[derive(Debug, Clone, Copy)]
enum StagingFailure {
    /// No space is left.
    Full,
    /// A write failed or hung.
    WriteError,
}

/// A file in the slot of this process, and the space that is reserved for it.
pub(super) struct StagedFile {
    io: DiskIo,
    pub(super) id: u64,
    pub(super) class: ObjectClass,
    pub(super) path: PathBuf,
    /// Set once the file was moved into the objects folder. Dropping it then removes nothing.
    pub(super) is_published: AtomicBool,
}

/// A complete body that is hashed and durable. Only [`Finished::seal`] creates one.
pub struct Sealed {
    pub(super) file: Arc<StagedFile>,
    pub digests: Digests,
    pub size_bytes: u64,
}

impl Staging {
    /// Creates a staged file and reserves space for it, `length` bytes if the length is known.
    /// Evicts if there is too little space. `class` says what will name the object.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the body does not fit, otherwise the error of the index or the
    /// disk.
    pub async fn begin(
        io: &DiskIo,
        class: ObjectClass,
        length: Option<u64>,
        hasher: Hasher,
    ) -> Result<Self, DiskError> {
        let caller = Caller::new();
        let (own_io, waiting) = (io.clone(), caller.observe());
        let body = NewBody {
            class,
            length,
            hasher,
        };
        io.run(IoClass::Request, move |disk| {
            Self::create(disk, own_io, body, &waiting)
        })
        .await
    }

    fn create(
        disk: &DiskStore,
        io: DiskIo,
        body: NewBody,
        waiting: &CallerObserver,
    ) -> Result<Self, DiskError> {
        let NewBody {
            class,
            length,
            hasher,
        } = body;
        let (id, path) = disk.slot.next_file();
        let file = Arc::new(StagedFile {
            io,
            id,
            class,
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
        reserve(disk, &file, &handle, reserved_bytes, waiting)?;
        let hash_state = HashState {
            hasher,
            hashed_bytes: 0,
        };
        Ok(Self {
            file,
            handle,
            reserved_bytes,
            hash_state: Arc::new(Mutex::new(hash_state)),
            written_bytes: 0,
            failure: None,
        })
    }

    /// Returns the staged file, for readers of an in-flight fetch.
    #[must_use]
    pub fn file(&self) -> OpenFile {
        OpenFile::new(Arc::clone(&self.handle), self.file.io.clone())
    }

    /// Returns the name by which other processes find the file while it grows.
    #[must_use]
    pub fn name(&self) -> StagedName {
        StagedName {
            process: self.file.io.store().slot.name.clone(),
            id: self.file.id,
        }
    }

    /// Returns the number of appended bytes, including those that the disk did not take.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Hashes and writes the next bytes. After an error further bytes are only hashed, and the body
    /// cannot be sealed any more.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the bytes do not fit, another error if the disk fails or hangs.
    /// The error is returned once, and later calls succeed.
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), DiskError> {
        let offset = self.written_bytes;
        let end = offset + bytes.len() as u64;
        let mut written = Ok(());
        if self.failure.is_none() && end > self.reserved_bytes {
            written = self.reserve_to(end).await;
        }
        if self.failure.is_none() && written.is_ok() {
            let (handle, hash_state, piece) = (
                Arc::clone(&self.handle),
                Arc::clone(&self.hash_state),
                bytes.clone(),
            );
            let write = move |_: &DiskStore| {
                hash(&hash_state, offset, &piece);
                Ok(handle.write_all_at(&piece, offset)?)
            };
            written = self.file.io.run(IoClass::Request, write).await;
        }
        if self.failure.is_some() || written.is_err() {
            let hash_state = Arc::clone(&self.hash_state);
            // Runs on no disk thread, because all of those may hang.
            let hashed = spawn_blocking(move || hash(&hash_state, offset, &bytes)).await;
            hashed.map_err(|panic| DiskError::Io(std::io::Error::other(panic)))?;
        }
        self.written_bytes = end;
        if let Err(error) = &written {
            self.failure = Some(if matches!(error, DiskError::NoSpace) {
                StagingFailure::Full
            } else {
                StagingFailure::WriteError
            });
        }
        written
    }

    /// Reserves a total of at least `end` bytes, in steps.
    async fn reserve_to(&mut self, end: u64) -> Result<(), DiskError> {
        let wanted_bytes = end.div_ceil(RESERVATION_STEP_BYTES) * RESERVATION_STEP_BYTES;
        // The operation owns the file, so that it does not reserve for a file that was dropped.
        let (file, handle) = (Arc::clone(&self.file), Arc::clone(&self.handle));
        let caller = Caller::new();
        let waiting = caller.observe();
        self.file
            .io
            .run(IoClass::Request, move |disk| {
                reserve(disk, &file, &handle, wanted_bytes, &waiting)
            })
            .await?;
        self.reserved_bytes = wanted_bytes;
        Ok(())
    }

    /// Ends the body and computes its digests.
    ///
    /// # Errors
    /// [`DiskError::Io`] if a part of the body was not hashed.
    pub fn finish(self) -> Result<Finished, DiskError> {
        let digests = {
            let mut hash_state = lock(&self.hash_state);
            if hash_state.hashed_bytes != self.written_bytes {
                return Err(broken_staging());
            }
            let unused = Hasher::new(&ExpectedDigests::nothing());
            std::mem::replace(&mut hash_state.hasher, unused).finish()
        };
        Ok(Finished {
            staging: self,
            digests,
        })
    }
}

/// A complete body that is hashed but not durable yet.
pub struct Finished {
    staging: Staging,
    pub digests: Digests,
}

impl Finished {
    /// Returns the length of the body in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.staging.written_bytes
    }

    /// Returns the staged file.
    #[must_use]
    pub fn file(&self) -> OpenFile {
        self.staging.file()
    }

    /// Makes the body durable.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails, or did not take a part of the body before.
    pub async fn seal(self) -> Result<Sealed, DiskError> {
        match self.staging.failure {
            None => {}
            Some(StagingFailure::Full) => return Err(DiskError::NoSpace),
            Some(StagingFailure::WriteError) => return Err(broken_staging()),
        }
        let io = self.staging.file.io.clone();
        let class = IoClass::Durable {
            size_bytes: self.staging.written_bytes,
        };
        let sealed = io.run(class, move |_| {
            // Releases blocks that were allocated beyond the end.
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

/// Reserves a total of `wanted_bytes` for one body, first in the index, then on the file system.
/// Evicts if there is too little space, and keeps `min_free_bytes` free.
fn reserve(
    disk: &DiskStore,
    file: &StagedFile,
    handle: &File,
    wanted_bytes: u64,
    waiting: &CallerObserver,
) -> Result<(), DiskError> {
    let class = file.class;
    let limit_bytes = disk.config.max_size_bytes;
    let reserve = || {
        waiting.check()?;
        disk.index
            .reserve(&disk.slot.name, file.id, wanted_bytes, limit_bytes)
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
        Reservation::Short(_) => evict::make_space(disk, class, reserve)?,
    }
    let min_free_bytes = disk.config.min_free_bytes;
    if let Err(DiskError::NoSpace) = allocate(handle, wanted_bytes) {
        let needed_bytes = wanted_bytes.saturating_add(min_free_bytes);
        let missing_bytes = needed_bytes.saturating_sub(free_bytes(handle)?);
        evict::make_disk_space(disk, class, missing_bytes)?;
        allocate(handle, wanted_bytes)?;
    }
    let missing_bytes = min_free_bytes.saturating_sub(free_bytes(handle)?);
    if missing_bytes > 0 {
        evict::make_disk_space(disk, class, missing_bytes)?;
        if free_bytes(handle)? < min_free_bytes {
            return Err(DiskError::NoSpace);
        }
    }
    Ok(())
}

impl Drop for StagedFile {
    /// Removes the file and releases its space on a disk thread, unless the file was published.
    fn drop(&mut self) {
        if self.is_published.load(Ordering::Acquire) {
            return;
        }
        let (id, path) = (self.id, std::mem::take(&mut self.path));
        let remove = move |disk: &DiskStore| {
            // A file that cannot be removed here is removed with the slot of this process.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "staged file could not be removed");
                }
                _ => {}
            }
            if let Err(error) = disk.index.release(&disk.slot.name, id) {
                tracing::warn!(%error, "reservation could not be released");
            }
        };
        self.io.spawn_cleanup(remove);
    }
}

/// Allocates blocks without changing the length of the file. Does nothing if the file system does
/// not support it.
fn allocate(handle: &File, size_bytes: u64) -> Result<(), DiskError> {
    if size_bytes == 0 {
        return Ok(());
    }
    match fallocate(handle, FallocateFlags::KEEP_SIZE, 0, size_bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

/// Returns the free space of the file system that an unprivileged process can use, in bytes.
fn free_bytes(handle: &File) -> Result<u64, DiskError> {
    let state = fstatvfs(handle).map_err(std::io::Error::from)?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}

/// Hashes a piece, unless it is hashed already. A hung write may hash its piece after it was
/// abandoned.
fn hash(hash_state: &Mutex<HashState>, offset: u64, bytes: &[u8]) {
    let mut hash_state = lock(hash_state);
    if hash_state.hashed_bytes == offset {
        hash_state.hasher.update(bytes);
        hash_state.hashed_bytes += bytes.len() as u64;
    }
}

fn broken_staging() -> DiskError {
    DiskError::Io(std::io::Error::other(
        "an earlier write to this body failed",
    ))
}
