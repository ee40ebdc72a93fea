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

use super::index::{Room, is_damage};
use super::layout::StagedName;
use super::{Contents, Store, StoreError, evict};
use crate::model::{Digests, Expected, Hasher};

/// The step in which space is reserved for a body of unknown length, in bytes.
const RESERVATION_STEP_BYTES: u64 = 64 << 20;

/// A body that is being written. Dropped before it is sealed, it leaves nothing behind.
pub struct Staging {
    file: Arc<StagedFile>,
    handle: Arc<File>,
    reserved_bytes: u64,
    /// Shared with the write that is under way, which may hang.
    hashed: Arc<Mutex<Hashed>>,
    /// The whole of what came, in bytes.
    written_bytes: u64,
    /// Some of it is not on the disk.
    lost: Option<Loss>,
}

/// What has been hashed.
struct Hashed {
    hasher: Hasher,
    size_bytes: u64,
}

/// Why the disk does not take a body.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Full,
    Refused,
}

/// A file in the staging folder and the space that is reserved for it.
pub(super) struct StagedFile {
    store: Store,
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
    pub(super) fn begin(store: Store, length: Option<u64>, hasher: Hasher) -> Result<Self, StoreError> {
        let (id, path) = store.shared.instance.next_file();
        let file = Arc::new(StagedFile { store, id, path, is_published: AtomicBool::new(false) });
        let reserved_bytes = length.unwrap_or(RESERVATION_STEP_BYTES);
        let handle = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&file.path)?;
        let handle = Arc::new(handle.into_parts().0);
        reserve(&file, &handle, reserved_bytes)?;
        let nothing = Hashed { hasher, size_bytes: 0 };
        Ok(Self { file, handle, reserved_bytes, hashed: Arc::new(Mutex::new(nothing)), written_bytes: 0, lost: None })
    }

    /// What has been written so far, for readers who follow.
    #[must_use]
    pub fn contents(&self) -> Contents {
        Contents::new(Arc::clone(&self.handle), self.file.store.shared.disk.clone())
    }

    /// By which other processes find the file while it grows.
    #[must_use]
    pub fn name(&self) -> StagedName {
        StagedName { instance: self.file.store.shared.instance.name.clone(), id: self.file.id }
    }

    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Hashes and writes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] if they do not fit, another if the disk refuses or hangs, once: what comes from then on is hashed
    /// only, and the body cannot be sealed any more.
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let offset = self.written_bytes;
        let end = offset + bytes.len() as u64;
        let mut kept = Ok(());
        if self.lost.is_none() && end > self.reserved_bytes {
            kept = self.reserve_to(end).await;
        }
        if self.lost.is_none() && kept.is_ok() {
            let (handle, hashed, piece) = (Arc::clone(&self.handle), Arc::clone(&self.hashed), bytes.clone());
            let write = move || {
                feed(&hashed, offset, &piece);
                handle.write_all_at(&piece, offset)
            };
            kept = self.file.store.shared.disk.ask(write).await;
        }
        if self.lost.is_some() || kept.is_err() {
            let hashed = Arc::clone(&self.hashed);
            super::blocking(move || {
                feed(&hashed, offset, &bytes);
                Ok(())
            })
            .await?;
        }
        self.written_bytes = end;
        if let Err(error) = &kept {
            self.lost = Some(if matches!(error, StoreError::NoSpace) { Loss::Full } else { Loss::Refused });
        }
        kept
    }

    async fn reserve_to(&mut self, end: u64) -> Result<(), StoreError> {
        let wanted = end.div_ceil(RESERVATION_STEP_BYTES) * RESERVATION_STEP_BYTES;
        // The job keeps the file: it must not reserve for one that has been given up meanwhile.
        let (file, handle) = (Arc::clone(&self.file), Arc::clone(&self.handle));
        self.file.store.shared.disk.ask(move || reserve(&file, &handle, wanted)).await?;
        self.reserved_bytes = wanted;
        Ok(())
    }

    /// The digests of all that was written. Nothing can be appended afterwards.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a write had failed before.
    pub fn finish(self) -> Result<Finished, StoreError> {
        let digests = {
            let mut hashed = lock(&self.hashed);
            if hashed.size_bytes != self.written_bytes {
                return Err(broken_staging());
            }
            std::mem::replace(&mut hashed.hasher, Hasher::new(&Expected::nothing())).finish()
        };
        Ok(Finished { staging: self, digests })
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
    pub fn contents(&self) -> Contents {
        self.staging.contents()
    }

    /// Makes the body safe on the disk.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses, or has refused a part of it before.
    pub async fn seal(self) -> Result<Sealed, StoreError> {
        match self.staging.lost {
            None => {}
            Some(Loss::Full) => return Err(StoreError::NoSpace),
            Some(Loss::Refused) => return Err(broken_staging()),
        }
        let disk = self.staging.file.store.shared.disk.clone();
        let sealed = disk.persist(self.staging.written_bytes, move || {
            // Space that was set aside beyond the end is given back.
            self.staging.handle.set_len(self.staging.written_bytes)?;
            self.staging.handle.sync_all()?;
            Ok(Sealed { file: self.staging.file, digests: self.digests, size_bytes: self.staging.written_bytes })
        });
        sealed.await
    }
}

/// Reserves `wanted_bytes` in all for one body: in the ledger first, then on the file system. Makes room once if there is
/// none.
fn reserve(file: &StagedFile, handle: &File, wanted_bytes: u64) -> Result<(), StoreError> {
    let shared = &file.store.shared;
    let limit = shared.config.max_size.bytes;
    let ask = || shared.index.reserve(&shared.instance.name, file.id, wanted_bytes, limit);
    let room = match ask() {
        Err(StoreError::Index(error)) if is_damage(&error) => {
            shared.index.replace_if_lost(&shared.layout)?;
            shared.unreconciled.store(true, Ordering::Release);
            shared.pressure.notify_one();
            ask()?
        }
        other => other?,
    };
    match room {
        Room::Reserved => {}
        Room::Missing(_) if wanted_bytes > limit => return Err(StoreError::NoSpace),
        Room::Missing(_) => evict::make_room(shared, ask)?,
    }
    let min_free_bytes = shared.config.min_free.bytes;
    if let Err(StoreError::NoSpace) = set_aside(handle, wanted_bytes) {
        let needed_bytes = wanted_bytes.saturating_add(min_free_bytes);
        evict::make_disk_space(shared, needed_bytes.saturating_sub(free_bytes(handle)?))?;
        set_aside(handle, wanted_bytes)?;
    }
    let missing_bytes = min_free_bytes.saturating_sub(free_bytes(handle)?);
    if missing_bytes > 0 {
        evict::make_disk_space(shared, missing_bytes)?;
        if free_bytes(handle)? < min_free_bytes {
            return Err(StoreError::NoSpace);
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
        let (store, id, path) = (self.store.clone(), self.id, std::mem::take(&mut self.path));
        let disk = store.shared.disk.clone();
        let give_back = move || {
            let shared = &store.shared;
            // What cannot be removed here is swept when the next process enters the folder.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a staged file was not removed");
                }
                _ => {}
            }
            if let Err(error) = shared.index.release(&shared.instance.name, id) {
                tracing::warn!(%error, "a reservation was not released");
            }
        };
        disk.afterwards(give_back);
    }
}

/// Sets blocks aside without changing the length, where the file system can.
fn set_aside(handle: &File, size_bytes: u64) -> Result<(), StoreError> {
    if size_bytes == 0 {
        return Ok(());
    }
    match fallocate(handle, FallocateFlags::KEEP_SIZE, 0, size_bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

fn free_bytes(handle: &File) -> Result<u64, StoreError> {
    let state = fstatvfs(handle).map_err(std::io::Error::from)?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}

/// Hashes a piece, unless that was done already: a write that hangs may go on after it was given up.
fn feed(hashed: &Mutex<Hashed>, offset: u64, bytes: &[u8]) {
    let mut hashed = lock(hashed);
    if hashed.size_bytes == offset {
        hashed.hasher.update(bytes);
        hashed.size_bytes += bytes.len() as u64;
    }
}

fn lock(hashed: &Mutex<Hashed>) -> MutexGuard<'_, Hashed> {
    // After a panic the length says how far it is.
    hashed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken_staging() -> StoreError {
    StoreError::Io(std::io::Error::other("an earlier write to this body had failed"))
}
