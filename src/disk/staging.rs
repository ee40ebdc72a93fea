//! Staging of bodies: reserving space, writing and hashing a body until it can be published.
//!
//! [`Staging`] becomes [`Finished`] once the body is complete, and [`Sealed`] once it is durable.
//! This file must not know where the bytes come from.

mod existing;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fs_err as fs;
use tokio::task::spawn_blocking;

use super::caller::{Caller, CallerObserver};
use super::index::ObjectClass;
use super::layout::StagedName;
use super::space_reservation::{self, ReservingBody, Space};
use super::space_use::SpaceUse;
use super::{DiskError, DiskIo, DiskStore, IoClass, OpenFile, free_inodes};
use crate::model::{Digests, ExpectedDigests, Hasher, lock};

/// A body that is being written. Dropping it before it is sealed removes its file and reservation.
pub struct Staging {
    file: Arc<StagedFile>,
    handle: Arc<File>,
    space: Space,
    /// Shared with the write in progress, which may hang.
    hash_state: Arc<Mutex<HashState>>,
    /// Number of appended bytes, including those that the disk did not take.
    written_bytes: u64,
    /// Set if a part of the body is not on the disk.
    failure: Option<StagingFailure>,
}

/// Facts about a body before its first byte.
pub struct NewBody {
    /// Kind of the files that will name the object.
    pub class: ObjectClass,
    /// Length in bytes, if the origin stated it.
    pub length: Option<u64>,
    pub hasher: Hasher,
    pub space_use: SpaceUse,
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
    /// No space is left for the clients of the body.
    OverShare,
    /// A write failed or hung.
    WriteError,
}

/// A file in the slot of this process, and the space that is reserved for it.
pub(super) struct StagedFile {
    io: DiskIo,
    pub(super) id: u64,
    pub(super) class: ObjectClass,
    pub(super) path: PathBuf,
    space_use: SpaceUse,
    pub(super) placed: Placed,
    /// Set once the file was moved into the objects folder. Dropping it then removes nothing.
    pub(super) is_published: AtomicBool,
}

/// How the bytes of a staged file came to their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// This process writes the file, which has no other name.
    Written,
    /// The file has another name, outside of the cache folder.
    Linked,
}

/// A complete body that is hashed and durable. Only [`Finished::seal`] creates one.
pub struct Sealed {
    pub(super) file: Arc<StagedFile>,
    pub digests: Digests,
    pub size_bytes: u64,
}

impl Staging {
    /// Creates a staged file and reserves space for its first bytes. Evicts nothing yet, because
    /// the length is only a claim.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the body does not fit, otherwise the error of the index or the
    /// disk.
    pub async fn begin(io: &DiskIo, body: NewBody) -> Result<Self, DiskError> {
        let caller = Caller::new();
        let (own_io, waiting) = (io.clone(), caller.observe());
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
            space_use,
        } = body;
        free_inodes::ensure(disk, class)?;
        let (id, path) = disk.slot.next_file();
        let file = Arc::new(StagedFile {
            io,
            id,
            class,
            path,
            space_use,
            placed: Placed::Written,
            is_published: AtomicBool::new(false),
        });
        let mut space = Space::of_length(length);
        let handle = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&file.path)?;
        let handle = Arc::new(handle.into_parts().0);
        let body = file.reserving(&handle);
        space_reservation::reject_oversized(disk, body, length)?;
        space.reserved_bytes = file.reserve(disk, &handle, space, waiting)?;
        let hash_state = HashState {
            hasher,
            hashed_bytes: 0,
        };
        Ok(Self {
            file,
            handle,
            space,
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
            process: self.file.io.store().slot.number,
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
        if self.failure.is_none() && end > self.space.reserved_bytes {
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
            self.failure = Some(match error {
                DiskError::NoSpace => StagingFailure::Full,
                DiskError::OverShare => StagingFailure::OverShare,
                _ => StagingFailure::WriteError,
            });
        }
        written
    }

    /// Reserves a total of at least `end` bytes, which have arrived.
    async fn reserve_to(&mut self, end: u64) -> Result<(), DiskError> {
        self.space.arrived_bytes = end;
        let space = self.space;
        // The operation owns the file, so that it does not reserve for a file that was dropped.
        let (file, handle) = (Arc::clone(&self.file), Arc::clone(&self.handle));
        let caller = Caller::new();
        let waiting = caller.observe();
        let reserved = self.file.io.run(IoClass::Request, move |disk| {
            file.reserve(disk, &handle, space, &waiting)
        });
        self.space.reserved_bytes = reserved.await?;
        Ok(())
    }

    /// Returns the digests of the bytes that are hashed so far.
    #[must_use]
    pub fn digests(&self) -> Digests {
        lock(&self.hash_state).hasher.clone().finish()
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
            Some(StagingFailure::OverShare) => return Err(DiskError::OverShare),
            Some(StagingFailure::WriteError) => return Err(broken_staging()),
        }
        let io = self.staging.file.io.clone();
        let class = IoClass::Durable {
            size_bytes: self.staging.written_bytes,
        };
        let sealed = io.run(class, move |_| {
            if self.staging.file.placed == Placed::Written {
                // Releases blocks that were allocated beyond the end.
                self.staging.handle.set_len(self.staging.written_bytes)?;
            }
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

impl StagedFile {
    /// Returns what a reservation needs to know of the body.
    fn reserving<'a>(&self, handle: &'a File) -> ReservingBody<'a> {
        ReservingBody {
            id: self.id,
            class: self.class,
            handle,
        }
    }

    /// Reserves space for the body, as far as its clients may have it. Returns the reserved bytes.
    fn reserve(
        &self,
        disk: &DiskStore,
        handle: &File,
        mut space: Space,
        waiting: &CallerObserver,
    ) -> Result<u64, DiskError> {
        if self.space_use.resize(space.ahead_bytes()).is_err() {
            self.space_use.resize(space.arrived_bytes)?;
            space.max_bytes = space.arrived_bytes;
        }
        let body = self.reserving(handle);
        let reserved_bytes = space_reservation::reserve(disk, body, space, waiting)?;
        self.space_use.resize(reserved_bytes)?;
        Ok(reserved_bytes)
    }
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
            if let Err(error) = disk.index.ledger().release(&disk.slot.name, id) {
                tracing::warn!(%error, "reservation could not be released");
            }
        };
        self.io.spawn_cleanup(remove);
    }
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
