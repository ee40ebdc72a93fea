//! Bytes in an open file, and hits on the disk, which are such files with their record.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fs_err as fs;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, open, openat2, statx};
use rustix::io::Errno;
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::spawn_blocking;

use super::StoreError;
use super::disk::Disk;
use super::layout::{self, Layout, StagedName};
use crate::model::{Algorithm, Digest, Expected, Hasher, Record};

/// A hit up to this size is read when it is opened: one trip to the disk instead of two.
const READ_AT_OPEN_BYTES: u64 = 64 * 1024;

/// The piece in which a whole file is read, in bytes.
const WHOLE_PIECE_BYTES: usize = 256 * 1024;

thread_local! {
    /// What this thread reads into. Its memory is used again once the last piece is gone; one for each reader would be held by
    /// all those whose client does not read.
    static SCRATCH: RefCell<BytesMut> = RefCell::default();
}

/// The bytes of an open file. They stay readable when the file is renamed or removed.
#[derive(Debug, Clone)]
pub struct Contents {
    file: Arc<File>,
    disk: Disk,
}

impl Contents {
    pub(super) fn new(file: Arc<File>, disk: Disk) -> Self {
        Self { file, disk }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reads `size_bytes` from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn read(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let contents = self.clone();
        self.disk.ask(move || contents.read_now(offset, size_bytes)).await.map_err(StoreError::into_io)
    }

    /// As [`Contents::read`], but may return fewer bytes before the end too: what is in memory needs no wait for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        match self.read_from_memory(offset, size_bytes) {
            Some(bytes) => Ok(bytes),
            None => self.read(offset, size_bytes).await,
        }
    }

    /// What of it the kernel has in memory, up to `size_bytes`: a copy, for which no other thread need be woken. `None` if
    /// that is nothing, or the file system cannot tell.
    fn read_from_memory(&self, offset: u64, size_bytes: usize) -> Option<Bytes> {
        SCRATCH.with_borrow_mut(|scratch| self.read_into(scratch, offset, size_bytes))
    }

    /// As [`Contents::read_from_memory`], into a buffer of the caller's.
    pub(super) fn read_into(&self, scratch: &mut BytesMut, offset: u64, size_bytes: usize) -> Option<Bytes> {
        scratch.resize(size_bytes, 0);
        let mut slices = [IoSliceMut::new(scratch)];
        match preadv2(&*self.file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => None,
            Ok(read_bytes) => Some(scratch.split_to(read_bytes).freeze()),
        }
    }

    /// How long the file is now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether the first `size_bytes` of both are there and the same.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn agrees_with(&self, other: &Self, size_bytes: u64) -> io::Result<bool> {
        let (one, other) = (self.clone(), other.clone());
        spawn_blocking(move || one.agrees_now(&other, size_bytes))
            .await
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    fn agrees_now(&self, other: &Self, size_bytes: u64) -> io::Result<bool> {
        let (own, others) = (self.file.metadata()?, other.file.metadata()?);
        if own.len().min(others.len()) < size_bytes {
            return Ok(false);
        }
        // A published object is the staged file by another name.
        let is_same_file = (own.dev(), own.ino()) == (others.dev(), others.ino());
        let mut offset = 0;
        while !is_same_file && offset < size_bytes {
            let left_bytes = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX);
            let piece = self.read_now(offset, left_bytes.min(WHOLE_PIECE_BYTES))?;
            if piece.is_empty() || piece != other.read_now(offset, piece.len())? {
                return Ok(false);
            }
            offset += piece.len() as u64;
        }
        Ok(true)
    }

    /// As [`Contents::read`], on this thread.
    pub(super) fn read_now(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let mut buffer = Vec::with_capacity(size_bytes);
        while buffer.len() < size_bytes {
            let at = offset + buffer.len() as u64;
            match rustix::io::pread(&*self.file, spare_capacity(&mut buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // An allocator may give more room than was asked for.
        buffer.truncate(size_bytes);
        Ok(buffer.into())
    }

    pub(super) fn digest(&self, algorithm: Algorithm) -> Result<Digest, StoreError> {
        // Asking for any digest of an algorithm makes the hasher compute it.
        let wanted = Digest::parse(algorithm, &"0".repeat(algorithm.size_bytes() * 2)).expect("zeros are a digest");
        let mut hasher = Hasher::new(&Expected::from_iter([wanted]));
        let mut offset = 0;
        loop {
            let piece = self.read_now(offset, WHOLE_PIECE_BYTES)?;
            if piece.is_empty() {
                break;
            }
            hasher.update(&piece);
            offset += piece.len() as u64;
        }
        let digests = hasher.finish();
        let digest = match digests.others.get(&algorithm) {
            Some(hex) => Digest::parse(algorithm, hex).expect("the hasher writes digests"),
            None => digests.sha256.into(),
        };
        Ok(digest)
    }
}

/// A target's bytes, held open: whatever happens to the file's name now, they can be read to the end.
#[derive(Debug, Clone)]
pub struct FileHit {
    pub record: Arc<Record>,
    pub(super) contents: Contents,
    /// All of it, if it is small.
    whole: Option<Bytes>,
}

impl FileHit {
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.record.size_bytes
    }

    /// `ab/abcdef...`, under the objects folder.
    #[must_use]
    pub fn object_name(&self) -> String {
        layout::object_name(self.record.sha256)
    }

    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Reads at most `size_bytes` from `offset`, and at least one if there is one.
    ///
    /// # Errors
    /// What the disk says; [`io::ErrorKind::UnexpectedEof`] if there is less than the record promises.
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let left_bytes = self.size_bytes().saturating_sub(offset);
        let size_bytes = usize::try_from(left_bytes).unwrap_or(usize::MAX).min(size_bytes);
        if let (Some(whole), Ok(offset)) = (&self.whole, usize::try_from(offset)) {
            return Ok(whole.slice(offset..offset + size_bytes));
        }
        let mut read = self.contents.read_some(offset, size_bytes).await;
        if size_bytes > 0 && read.as_ref().is_ok_and(Bytes::is_empty) {
            read = Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.contents.disk.note_read(self.record.sha256, &read);
        read
    }
}

/// Opens the object of a record, if it is there in its full length.
pub fn open_hit(layout: &Layout, disk: &Disk, record: Arc<Record>) -> Result<Option<FileHit>, StoreError> {
    let path = layout.object(record.sha256);
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size_bytes = file.metadata()?.len();
    if size_bytes != record.size_bytes {
        tracing::error!(
            sha256 = %record.sha256,
            size_bytes,
            recorded_bytes = record.size_bytes,
            "an object has the wrong length and is not served"
        );
        return Ok(None);
    }
    let contents = Contents::new(Arc::new(file.into_parts().0), disk.clone());
    let whole = match usize::try_from(size_bytes) {
        Ok(size) if size_bytes <= READ_AT_OPEN_BYTES => Some(contents.read_now(0, size)?),
        // Whoever gets a head gets a body: a disk that gives no byte is found out before.
        _ => contents.read_now(0, 1).map(|_| None)?,
    };
    if whole.as_ref().is_some_and(|whole| whole.len() as u64 != size_bytes) {
        return Ok(None);
    }
    Ok(Some(FileHit { record, contents, whole }))
}

/// As [`open_hit`], but only if the kernel can do it from memory, without a wait for the disk. `None` says nothing.
pub fn open_hit_in_memory(layout: &Layout, disk: &Disk, record: &Arc<Record>) -> Option<FileHit> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat2(CWD, layout.object(record.sha256), flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
    let contents = Contents::new(Arc::new(file.into()), disk.clone());
    let known = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    if statx(&*contents.file, c"", known, StatxFlags::SIZE).ok()?.stx_size != record.size_bytes {
        return None;
    }
    let whole = match usize::try_from(record.size_bytes) {
        Ok(size) if record.size_bytes <= READ_AT_OPEN_BYTES => {
            Some(contents.read_from_memory(0, size).filter(|bytes| bytes.len() == size)?)
        }
        // Whoever gets a head gets a body: a disk that gives no byte is found out before.
        _ => contents.read_from_memory(0, 1).map(|_| None)?,
    };
    Some(FileHit { record: Arc::clone(record), contents, whole })
}

/// Opens a file that another process may be writing. `None` if it is not there any more, or is a link to another place.
pub fn open_staged(layout: &Layout, disk: &Disk, name: &StagedName) -> Result<Option<Contents>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match open(layout.staged(name), flags, Mode::empty()) {
        Ok(file) => Ok(Some(Contents::new(Arc::new(file.into()), disk.clone()))),
        Err(Errno::NOENT | Errno::LOOP) => Ok(None),
        Err(error) => Err(io::Error::from(error).into()),
    }
}
