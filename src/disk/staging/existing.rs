//! Staging of a file that exists outside of the cache folder: by a hard link, or by shared blocks.
//!
//! The bytes are hashed where they were placed. This file must not know why the file is stored.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, CWD, ioctl_ficlone, linkat};
use rustix::io::Errno;

use super::{HashState, NewBody, Placed, StagedFile, Staging};
use crate::disk::caller::Caller;
use crate::disk::move_object::OBJECT_MODE;
use crate::disk::space_reservation::{self, Space};
use crate::disk::{DiskError, DiskIo, DiskStore, IoClass, free_inodes};

/// Bytes that one operation reads and hashes.
const PIECE_BYTES: usize = 1 << 20;

impl Staging {
    /// Stages a hard link to an open file, which then has the mode of objects under all its names.
    /// Returns `None` if the file system allows no link. The caller hashes it with
    /// [`Staging::hash_placed`].
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the body does not fit, otherwise the error of the index or the
    /// disk.
    pub async fn link(
        io: &DiskIo,
        source: Arc<File>,
        body: NewBody,
    ) -> Result<Option<Self>, DiskError> {
        let caller = Caller::new();
        let (own_io, waiting) = (io.clone(), caller.observe());
        io.run(IoClass::Request, move |disk| {
            free_inodes::ensure(disk, body.class)?;
            let (id, path) = disk.slot.next_file();
            if !link_open_file(&source, &path)? {
                return Ok(None);
            }
            let file = Arc::new(StagedFile {
                io: own_io,
                id,
                class: body.class,
                path,
                space_use: body.space_use,
                placed: Placed::Linked,
                is_published: AtomicBool::new(false),
            });
            let size_bytes = source.metadata()?.len();
            let reserving = file.reserving(&source);
            space_reservation::reserve_existing(disk, reserving, size_bytes, &waiting)?;
            source.set_permissions(std::fs::Permissions::from_mode(OBJECT_MODE))?;
            let mut space = Space::of_length(Some(size_bytes));
            space.reserved_bytes = size_bytes;
            Ok(Some(Self {
                file,
                handle: source,
                space,
                hash_state: Arc::new(Mutex::new(HashState {
                    hasher: body.hasher,
                    hashed_bytes: 0,
                })),
                written_bytes: 0,
                failure: None,
            }))
        })
        .await
    }

    /// Makes the staged file share the blocks of another file, whose later changes do not affect
    /// it. Returns false if the file system cannot do so. The caller then appends the bytes,
    /// otherwise it hashes them with [`Staging::hash_placed`].
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the body does not fit, otherwise the error of the index or the
    /// disk.
    pub async fn share_blocks(
        &mut self,
        source: Arc<File>,
        size_bytes: u64,
    ) -> Result<bool, DiskError> {
        let handle = Arc::clone(&self.handle);
        let share = move |_: &DiskStore| match ioctl_ficlone(&*handle, &*source) {
            Ok(()) => Ok(true),
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => {
                Err(DiskError::from(std::io::Error::from(error)))
            }
            Err(_) => Ok(false),
        };
        if !self.file.io.run(IoClass::Request, share).await? {
            return Ok(false);
        }
        if size_bytes > self.space.reserved_bytes {
            self.reserve_to(size_bytes).await?;
        }
        Ok(true)
    }

    /// Hashes the next bytes of a file that was placed as a whole. Returns their number, which is
    /// 0 at the end of the file.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails or hangs.
    pub async fn hash_placed(&mut self) -> Result<usize, DiskError> {
        let (handle, hash_state) = (Arc::clone(&self.handle), Arc::clone(&self.hash_state));
        let offset = self.written_bytes;
        let read = move |_: &DiskStore| {
            let mut piece = vec![0; PIECE_BYTES];
            let count = handle.read_at(&mut piece, offset)?;
            super::hash(&hash_state, offset, &piece[..count]);
            Ok::<_, DiskError>(count)
        };
        let count = self.file.io.run(IoClass::Request, read).await?;
        self.written_bytes += count as u64;
        Ok(count)
    }
}

/// Links an open file under a new name, whatever its old name stands for meanwhile. Returns false
/// if the file system allows no link.
fn link_open_file(source: &File, path: &Path) -> Result<bool, DiskError> {
    use std::os::fd::AsRawFd as _;
    let opened = format!("/proc/self/fd/{}", source.as_raw_fd());
    match linkat(CWD, opened, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        // Another file system, a file that this user must not link, too many links, or no names.
        Err(Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::MLINK | Errno::OPNOTSUPP) => {
            Ok(false)
        }
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}
