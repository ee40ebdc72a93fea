//! Hashing of complete files in pieces, for [`OpenFile`].

use std::io;

use super::{DiskError, DiskStore, FileStamp, IoClass, OpenFile};
use crate::model::{Digests, Hasher};

/// Length of the pieces in which a file is hashed, in bytes. A caller that goes away ends the
/// hashing after one piece.
const PIECE_BYTES: usize = 1 << 20;

impl OpenFile {
    /// Returns the identity of the file.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn stamp(&self) -> io::Result<FileStamp> {
        Ok((&self.file().metadata()?).into())
    }

    /// Hashes the complete file. Dropping the future ends the hashing after the current piece.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub async fn hash(&self, mut hasher: Hasher) -> Result<Digests, DiskError> {
        let mut offset = 0;
        loop {
            let file = self.clone();
            let piece = move |_: &DiskStore| {
                let (bytes, _) = file.read_blocking(offset, PIECE_BYTES)?;
                hasher.update(&bytes);
                Ok::<_, DiskError>((hasher, bytes.len() as u64))
            };
            let (updated, read_bytes) = self.io().run(IoClass::Request, piece).await?;
            hasher = updated;
            if read_bytes == 0 {
                return Ok(hasher.finish());
            }
            offset += read_bytes;
        }
    }
}
