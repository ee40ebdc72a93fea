//! Objects by their digest alone, whatever targets gave them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;

use super::disk::Disk;
use super::layout::Layout;
use super::{Contents, StoreError};
use crate::model::Sha256;

/// Stored bytes, held open.
#[derive(Debug, Clone)]
pub struct Object {
    pub sha256: Sha256,
    pub size_bytes: u64,
    contents: Contents,
}

impl Object {
    /// Reads at most `size_bytes` from `offset`, and at least one if there is one.
    ///
    /// # Errors
    /// What the disk says; [`io::ErrorKind::UnexpectedEof`] behind the end.
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let piece = self.contents.read_some(offset, size_bytes).await?;
        if piece.is_empty() && size_bytes > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(piece) }
    }
}

/// Opens an object, if it is held.
pub fn open(layout: &Layout, disk: &Disk, sha256: Sha256) -> Result<Option<Object>, StoreError> {
    let Some(contents) = open_contents(layout, disk, sha256)? else { return Ok(None) };
    let size_bytes = contents.size_bytes()?;
    Ok(Some(Object { sha256, size_bytes, contents }))
}

/// As [`open`], the bytes alone.
pub fn open_contents(layout: &Layout, disk: &Disk, sha256: Sha256) -> Result<Option<Contents>, StoreError> {
    match fs::File::open(layout.object(sha256)) {
        Ok(file) => Ok(Some(Contents::new(Arc::new(file.into_parts().0), disk.clone()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
