//! Stages a file of the folder: with shared blocks, as a link, or as a copy.
//!
//! The bytes are hashed again where they were staged, so the digest is that of the stored bytes.
//! The main function is [`stage_source`].

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;

use bytes::Bytes;
use rustix::process::geteuid;
use tokio::task::spawn_blocking;

use super::error::AdoptError;
use super::folder_walk::FoundFile;
use super::open_writers::OpenWriters;
use super::read_source::stamp_of;
use super::report::StoredHow;
use super::stop_flag::StopFlag;
use crate::cache::{Cache, Sealed, Staging};
use crate::model::{ExpectedDigests, Hasher, Sha256};

/// Size of the pieces in which a file is copied, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Write permissions of the group and of all users.
const SHARED_WRITE: u32 = 0o022;

/// The parts that staging a file needs.
#[derive(Clone, Copy)]
pub struct StageServices<'a> {
    pub cache: &'a Cache,
    pub writers: &'a Arc<OpenWriters>,
    pub stop: &'a StopFlag,
    /// Whether a link is tried, if the file system cannot share blocks.
    pub link: bool,
}

/// Stages a file whose bytes have this digest.
///
/// # Errors
/// [`AdoptError::Changed`] if they do not have it any more, or another error of the file or the
/// cache. Then the file has its old mode.
pub async fn stage_source(
    services: StageServices<'_>,
    found: &FoundFile,
    sha256: Sha256,
) -> Result<(Sealed, StoredHow), AdoptError> {
    let link = services.link && may_link(found);
    let hasher = Hasher::new(&ExpectedDigests::nothing());
    let size_bytes = found.stamp.size_bytes;
    let staged = services.cache.stage(Some(size_bytes), hasher).await;
    let mut staging = match staged.map_err(AdoptError::from) {
        Ok(staging) => Some(staging),
        // A link takes no space.
        Err(AdoptError::NoSpace) if link => None,
        Err(error) => return Err(error),
    };
    let mut is_cloned = false;
    if let Some(staging) = &mut staging {
        let file = Arc::clone(&found.file);
        is_cloned = staging.share_blocks(file, size_bytes).await?;
    }
    if link && !is_cloned {
        let linked = stage_link(services, found, sha256).await;
        if linked.is_err() {
            restore_mode(found);
        }
        if let Some(sealed) = linked? {
            return Ok((sealed, StoredHow::Linked));
        }
    }
    let mut staging = staging.ok_or(AdoptError::NoSpace)?;
    let how = if is_cloned {
        hash_all(&mut staging, size_bytes, services.stop).await?;
        StoredHow::Cloned
    } else {
        copy_all(&mut staging, found, services.stop).await?;
        StoredHow::Copied
    };
    let is_same = stamp_of(&found.file)? == found.stamp;
    Ok((seal(staging, sha256, is_same).await?, how))
}

/// Returns whether only this user can change the file. Another user's file could change under its
/// other name.
fn may_link(found: &FoundFile) -> bool {
    found.owner == geteuid().as_raw() && found.mode & SHARED_WRITE == 0
}

/// Stages a link. Returns `None` if the file system allows none.
async fn stage_link(
    services: StageServices<'_>,
    found: &FoundFile,
    sha256: Sha256,
) -> Result<Option<Sealed>, AdoptError> {
    let hasher = Hasher::new(&ExpectedDigests::nothing());
    let (file, size_bytes) = (Arc::clone(&found.file), found.stamp.size_bytes);
    let files = services.cache.own_files();
    let Some(mut staging) = files.link(file, size_bytes, hasher).await? else {
        return Ok(None);
    };
    // The mode of the file is that of an object now, so no other writer can come.
    let (writers, stamp) = (Arc::clone(services.writers), found.stamp);
    let has_writer = spawn_blocking(move || writers.has_now(&stamp)).await;
    if has_writer.unwrap_or(true) {
        return Err(AdoptError::BeingWritten);
    }
    hash_all(&mut staging, size_bytes, services.stop).await?;
    let is_same = stamp_of(&found.file)?.has_same_bytes(&found.stamp);
    seal(staging, sha256, is_same).await.map(Some)
}

/// Gives a file that was not stored its old mode.
fn restore_mode(found: &FoundFile) {
    let mode = Permissions::from_mode(found.mode);
    if let Err(error) = found.file.set_permissions(mode) {
        tracing::warn!(%error, path = %found.path.display(), "mode of a file was not restored");
    }
}

/// Hashes a file that was placed as a whole.
async fn hash_all(
    staging: &mut Staging,
    size_bytes: u64,
    stop: &StopFlag,
) -> Result<(), AdoptError> {
    while staging.hash_placed().await? > 0 {
        if stop.is_set() {
            return Err(AdoptError::Stopped);
        }
        if staging.written_bytes() > size_bytes {
            return Err(AdoptError::Changed);
        }
    }
    Ok(())
}

/// Copies the bytes of a file.
async fn copy_all(
    staging: &mut Staging,
    found: &FoundFile,
    stop: &StopFlag,
) -> Result<(), AdoptError> {
    loop {
        if stop.is_set() {
            return Err(AdoptError::Stopped);
        }
        let (file, offset) = (Arc::clone(&found.file), staging.written_bytes());
        let piece = spawn_blocking(move || read_piece(&file, offset)).await;
        let piece = piece.map_err(|panic| AdoptError::Unreadable(std::io::Error::other(panic)))?;
        let piece = piece.map_err(AdoptError::Unreadable)?;
        if piece.is_empty() {
            return Ok(());
        }
        if offset + piece.len() as u64 > found.stamp.size_bytes {
            return Err(AdoptError::Changed);
        }
        staging.append(piece).await?;
    }
}

fn read_piece(file: &File, offset: u64) -> std::io::Result<Bytes> {
    let mut piece = vec![0; PIECE_BYTES];
    let count = file.read_at(&mut piece, offset)?;
    piece.truncate(count);
    Ok(piece.into())
}

/// Makes staged bytes durable, if they are those that were read first.
async fn seal(staging: Staging, sha256: Sha256, is_same: bool) -> Result<Sealed, AdoptError> {
    let finished = staging.finish()?;
    if !is_same || finished.digests.sha256 != sha256 {
        return Err(AdoptError::Changed);
    }
    Ok(finished.seal().await?)
}
