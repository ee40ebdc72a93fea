//! Reader that hashes a stored object while it is sent. This file must not know requests. Its main
//! type is [`VerifyingReader`].

use std::io;

use bytes::Bytes;

use super::handle::Cache;
use crate::disk::{FileStamp, OpenFile};
use crate::model::{ExpectedDigests, Hasher, Sha256, Target};

/// Reader of a whole object that hashes what it returns. The last piece is returned only if the
/// object is intact.
pub struct VerifyingReader {
    cache: Cache,
    sha256: Sha256,
    file: OpenFile,
    /// Identity of the file before it was read.
    stamp: Option<FileStamp>,
    /// Target that had the object, for the event about a corrupt one.
    target: Option<Target>,
    /// `None` after the last piece.
    hasher: Option<Hasher>,
    offset: u64,
}

impl std::fmt::Debug for VerifyingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingReader")
            .field("sha256", &self.sha256)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl VerifyingReader {
    pub(super) fn new(
        cache: Cache,
        sha256: Sha256,
        file: OpenFile,
        target: Option<Target>,
    ) -> Self {
        Self {
            cache,
            sha256,
            stamp: file.stamp().ok(),
            file,
            target,
            hasher: Some(Hasher::new(&ExpectedDigests::nothing())),
            offset: 0,
        }
    }

    /// Returns the next bytes, at most `limit_bytes`, or `None` at the end. A corrupt object is
    /// moved to quarantine.
    ///
    /// # Errors
    /// The error of the disk, or [`io::ErrorKind::InvalidData`] in place of the last bytes of a
    /// corrupt object.
    pub async fn next(&mut self, limit_bytes: usize) -> io::Result<Option<Bytes>> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(None);
        };
        let size_bytes = self.file.size_bytes()?;
        let bytes = self.file.read_some(self.offset, limit_bytes).await?;
        if bytes.is_empty() && self.offset < size_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&bytes);
        self.offset += bytes.len() as u64;
        if self.offset >= size_bytes {
            self.finish().await?;
        }
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    async fn finish(&mut self) -> io::Result<()> {
        let found = self.hasher.take().map(|hasher| hasher.finish().sha256);
        if found == Some(self.sha256) {
            if let Some(stamp) = self.stamp {
                let verifier = &self.cache.inner.verifier;
                verifier.mark_intact(self.sha256, stamp).await;
            }
            return Ok(());
        }
        let (file, target) = (&self.file, self.target.as_ref());
        let verification = self.cache.verification();
        verification.set_aside(self.sha256, file, target).await;
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the stored object has other bytes",
        ))
    }
}
