//! Reading of open files, and of hits, which are open objects with their record.
//!
//! Bytes in the kernel's page cache are read on the calling thread, all others on a disk thread.
//! The main types are [`OpenFile`] and [`FileHit`].

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::io::{ReadWriteFlags, preadv2};

use super::layout::{self, StagedName};
use super::{DiskError, DiskIo, DiskStore, IoClass, read_buffers};
use crate::model::{Algorithm, ByteRange, Digest, ExpectedDigests, Hasher, Record};

/// Length of the pieces in which a complete file is read, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// The bytes of an open file. They stay readable when the file is renamed or removed.
#[derive(Debug, Clone)]
pub struct OpenFile {
    file: Arc<File>,
    io: DiskIo,
}

impl OpenFile {
    /// Wraps a file whose reads `io` runs.
    #[must_use]
    pub fn new(file: Arc<File>, io: DiskIo) -> Self {
        Self { file, io }
    }

    /// Returns the executor of the reads.
    pub(super) fn io(&self) -> &DiskIo {
        &self.io
    }

    /// Returns the file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads `size_bytes` from `offset`, and fewer only at the end of the file.
    ///
    /// # Errors
    /// The error of the disk, or [`io::ErrorKind::TimedOut`].
    pub async fn read(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let file = Arc::clone(&self.file);
        let read = move |_: &DiskStore| Ok::<_, DiskError>(read_now(&file, offset, size_bytes)?);
        Ok(self.io.run(IoClass::Request, read).await?)
    }

    /// Reads up to `size_bytes` from `offset`. Returns only the bytes in the kernel's cache if
    /// there are any, because they need no wait for the disk.
    ///
    /// # Errors
    /// As [`OpenFile::read`].
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        match self.read_from_memory(offset, size_bytes) {
            Some(bytes) => Ok(bytes),
            None => self.read(offset, size_bytes).await,
        }
    }

    /// Copies up to `size_bytes` from the kernel's cache, without another thread. Returns `None` if
    /// nothing is cached, or the file system does not support the query.
    fn read_from_memory(&self, offset: u64, size_bytes: usize) -> Option<Bytes> {
        read_cached(&self.file, offset, size_bytes)
    }

    /// Reads up to `size_bytes` on this thread, from the kernel's cache if possible. It takes no
    /// permit and has no time limit, so it is for threads of [`DiskIo`].
    ///
    /// # Errors
    /// The error of the disk.
    pub fn read_blocking(&self, offset: u64, size_bytes: usize) -> io::Result<(Bytes, ReadFrom)> {
        match read_cached(&self.file, offset, size_bytes) {
            Some(bytes) => Ok((bytes, ReadFrom::KernelCache)),
            None => Ok((read_now(&self.file, offset, size_bytes)?, ReadFrom::Disk)),
        }
    }

    /// Returns the current length of the file in bytes.
    ///
    /// # Errors
    /// The error of the disk.
    pub fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Returns whether both files have the same first `size_bytes`. Returns false if one is
    /// shorter.
    ///
    /// # Errors
    /// The error of the disk, or [`io::ErrorKind::TimedOut`].
    pub async fn prefix_eq(&self, other: &Self, size_bytes: u64) -> io::Result<bool> {
        let (first, second) = (Arc::clone(&self.file), Arc::clone(&other.file));
        let compare =
            move |_: &DiskStore| Ok::<_, DiskError>(prefix_eq_now(&first, &second, size_bytes)?);
        Ok(self
            .io
            .run(IoClass::Durable { size_bytes }, compare)
            .await?)
    }

    /// Runs a check that may read all of a body of `size_bytes`, on a disk thread.
    ///
    /// # Errors
    /// The error of the check, or [`io::ErrorKind::TimedOut`].
    pub async fn inspect<T: Send + 'static>(
        &self,
        size_bytes: u64,
        check: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = Arc::clone(&self.file);
        let inspect = move |_: &DiskStore| Ok::<_, DiskError>(check(&file)?);
        Ok(self
            .io
            .run(IoClass::Durable { size_bytes }, inspect)
            .await?)
    }
}

/// Place from which bytes were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    KernelCache,
    Disk,
}

/// Copies up to `size_bytes` from the kernel's cache. Returns `None` if nothing is cached, or the
/// file system does not support the query.
pub(super) fn read_cached(file: &File, offset: u64, size_bytes: usize) -> Option<Bytes> {
    read_buffers::fill(size_bytes, |buffer| {
        let mut slices = [IoSliceMut::new(buffer)];
        match preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => None,
            Ok(read_bytes) => Some(read_bytes),
        }
    })
}

/// Reads `size_bytes` from `offset` on this thread, and fewer only at the end of the file.
pub(super) fn read_now(file: &File, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(size_bytes);
    while buffer.len() < size_bytes {
        let at = offset + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // An allocator may return more capacity than was requested.
    buffer.truncate(size_bytes);
    Ok(buffer.into())
}

/// Returns whether both files have the same first `size_bytes`. Blocks.
fn prefix_eq_now(first: &File, second: &File, size_bytes: u64) -> io::Result<bool> {
    let (first_metadata, second_metadata) = (first.metadata()?, second.metadata()?);
    if first_metadata.len().min(second_metadata.len()) < size_bytes {
        return Ok(false);
    }
    // A published object is the staged file under another name.
    let is_same_file = (first_metadata.dev(), first_metadata.ino())
        == (second_metadata.dev(), second_metadata.ino());
    let mut offset = 0;
    while !is_same_file && offset < size_bytes {
        let left_bytes = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX);
        let piece = read_now(first, offset, left_bytes.min(PIECE_BYTES))?;
        if piece.is_empty() || piece != read_now(second, offset, piece.len())? {
            return Ok(false);
        }
        offset += piece.len() as u64;
    }
    Ok(true)
}

/// Computes a digest of a complete file. Blocks.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn digest_of(file: &File, algorithm: Algorithm) -> Result<Digest, DiskError> {
    // The hasher computes only the algorithms of expected digests.
    let expected = Digest::parse(algorithm, &"0".repeat(algorithm.size_bytes() * 2))
        .expect("zeros are a digest");
    let mut hasher = Hasher::new(&ExpectedDigests::from_iter([expected]));
    let mut offset = 0;
    loop {
        let piece = read_now(file, offset, PIECE_BYTES)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        offset += piece.len() as u64;
    }
    let digests = hasher.finish();
    Ok(match digests.others.get(&algorithm) {
        Some(hex) => Digest::parse(algorithm, hex).expect("the hasher writes digests"),
        None => digests.sha256.into(),
    })
}

/// A hit on the disk. Its object is open, so it can be read to the end even after an eviction.
#[derive(Debug, Clone)]
pub struct FileHit {
    pub record: Arc<Record>,
    file: OpenFile,
    /// The complete object, if it is small.
    content: Option<Bytes>,
}

impl FileHit {
    pub(super) fn new(record: Arc<Record>, file: OpenFile, content: Option<Bytes>) -> Self {
        Self {
            record,
            file,
            content,
        }
    }

    /// Returns the size of the object in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.record.size_bytes
    }

    /// Returns the name of the object under the objects folder: `ab/abcdef...`
    #[must_use]
    pub fn object_name(&self) -> String {
        layout::object_name(self.record.sha256)
    }

    /// Returns the open object.
    #[must_use]
    pub fn file(&self) -> &OpenFile {
        &self.file
    }

    /// Returns the bytes `range` if the object was read when it was opened.
    #[must_use]
    pub fn content(&self, range: ByteRange) -> Option<Bytes> {
        let content = self.content.as_ref()?;
        let first = usize::try_from(range.first).ok()?;
        let last = usize::try_from(range.last).ok()?;
        (first <= last && last < content.len()).then(|| content.slice(first..=last))
    }

    /// Reads at most `size_bytes` from `offset`, and at least one byte before the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the object is shorter than its record says, otherwise
    /// the error of the disk.
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let left_bytes = self.size_bytes().saturating_sub(offset);
        let size_bytes = usize::try_from(left_bytes)
            .unwrap_or(usize::MAX)
            .min(size_bytes);
        if let (Some(content), Ok(offset)) = (&self.content, usize::try_from(offset)) {
            return Ok(content.slice(offset..offset + size_bytes));
        }
        let mut read = self.file.read_some(offset, size_bytes).await;
        if size_bytes > 0 && read.as_ref().is_ok_and(Bytes::is_empty) {
            read = Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.io.store().record_read(self.record.sha256, &read);
        read
    }
}

impl DiskIo {
    /// Opens a body that another process is staging. Returns `None` if it does not exist or is a
    /// symbolic link.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub async fn open_staged(&self, name: StagedName) -> Result<Option<OpenFile>, DiskError> {
        let opened = self.run(IoClass::Request, move |disk| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            match open(disk.layout.staged(name), flags, Mode::empty()) {
                Ok(file) => Ok(Some(file)),
                Err(Errno::NOENT | Errno::LOOP) => Ok(None),
                Err(error) => Err(DiskError::from(io::Error::from(error))),
            }
        });
        Ok(opened
            .await?
            .map(|file| OpenFile::new(Arc::new(file.into()), self.clone())))
    }
}
