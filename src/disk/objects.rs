//! Access to objects by their digest, without a target. The main type is [`ObjectHandle`].

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;

use super::{DiskError, DiskIo, IoClass, Layout, OpenFile};
use crate::model::Sha256;

/// An open object.
#[derive(Debug, Clone)]
pub struct ObjectHandle {
    pub sha256: Sha256,
    pub size_bytes: u64,
    file: OpenFile,
}

impl ObjectHandle {
    /// Opens an object. Returns `None` if it is not on the disk.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub async fn open(
        io: &DiskIo,
        class: IoClass,
        sha256: Sha256,
    ) -> Result<Option<Self>, DiskError> {
        let opened = io
            .run(class, move |disk| open(&disk.layout, sha256))
            .await?;
        Ok(opened.map(|(file, size_bytes)| Self {
            sha256,
            size_bytes,
            file: OpenFile::new(file, io.clone()),
        }))
    }

    /// Returns the open file of the object.
    #[must_use]
    pub fn file(&self) -> &OpenFile {
        &self.file
    }

    /// Reads at most `size_bytes` from `offset`, and at least one byte unless `size_bytes` is 0.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] at the end of the object, otherwise the error of the disk.
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let piece = self.file.read_some(offset, size_bytes).await?;
        if piece.is_empty() && size_bytes > 0 {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(piece)
        }
    }
}

/// Opens an object. Returns its file and its size in bytes, or `None` if it is not on the disk.
fn open(layout: &Layout, sha256: Sha256) -> Result<Option<(Arc<std::fs::File>, u64)>, DiskError> {
    match fs::File::open(layout.object(sha256)) {
        Ok(file) => {
            let size_bytes = file.metadata()?.len();
            Ok(Some((Arc::new(file.into_parts().0), size_bytes)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
