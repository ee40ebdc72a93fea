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

use super::layout::{self, StagedName};
use super::{DiskError, DiskIo, DiskStore, IoClass};
use crate::model::{Algorithm, Digest, ExpectedDigests, Hasher, Record};

/// A hit up to this size is read when it is opened: one trip to the disk instead of two.
const READ_AT_OPEN_BYTES: u64 = 64 * 1024;

/// The piece in which a whole file is read, in bytes.
const WHOLE_PIECE_BYTES: usize = 256 * 1024;

thread_local! {
    /// What this thread reads into. Its memory is used again once the last piece is gone; one for
    /// each reader would be held by all those whose client does not read.
    static SCRATCH: RefCell<BytesMut> = RefCell::default();
}

/// The bytes of an open file. They stay readable when the file is renamed or removed.
#[derive(Debug, Clone)]
pub struct OpenFile {
    file: Arc<File>,
    io: DiskIo,
}

impl OpenFile {
    #[must_use]
    pub fn new(file: Arc<File>, io: DiskIo) -> Self {
        Self { file, io }
    }

    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads `size_bytes` from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn read(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let file = Arc::clone(&self.file);
        let read = move |_: &DiskStore| Ok::<_, DiskError>(read_now(&file, offset, size_bytes)?);
        Ok(self.io.run(IoClass::Request, read).await?)
    }

    /// As [`OpenFile::read`], but may return fewer bytes before the end too: what is in memory
    /// needs no wait for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        match self.read_from_memory(offset, size_bytes) {
            Some(bytes) => Ok(bytes),
            None => self.read(offset, size_bytes).await,
        }
    }

    /// What of it the kernel has in memory, up to `size_bytes`: a copy, for which no other thread
    /// need be woken. `None` if that is nothing, or the file system cannot tell.
    fn read_from_memory(&self, offset: u64, size_bytes: usize) -> Option<Bytes> {
        SCRATCH.with_borrow_mut(|scratch| read_cached(&self.file, scratch, offset, size_bytes))
    }

    /// Reads up to `size_bytes` on this thread, from the kernel's cache if they are there.
    ///
    /// # Errors
    /// As the disk has it.
    pub fn read_uncounted(&self, offset: u64, size_bytes: usize) -> io::Result<(Bytes, ReadFrom)> {
        match read_cached(&self.file, &mut BytesMut::new(), offset, size_bytes) {
            Some(bytes) => Ok((bytes, ReadFrom::KernelCache)),
            None => Ok((read_now(&self.file, offset, size_bytes)?, ReadFrom::Disk)),
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
    pub async fn prefix_eq(&self, other: &Self, size_bytes: u64) -> io::Result<bool> {
        let (one, other) = (Arc::clone(&self.file), Arc::clone(&other.file));
        let compare =
            move |_: &DiskStore| Ok::<_, DiskError>(prefix_eq_now(&one, &other, size_bytes)?);
        Ok(self
            .io
            .run(IoClass::Durable { size_bytes }, compare)
            .await?)
    }

    /// Computes a digest of the whole file.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refuses.
    pub async fn digest(&self, algorithm: Algorithm) -> Result<Digest, DiskError> {
        let file = Arc::clone(&self.file);
        let class = IoClass::Durable {
            size_bytes: file.metadata()?.len(),
        };
        self.io
            .run(class, move |_| digest_of(&file, algorithm))
            .await
    }
}

/// Whether bytes came from the kernel's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    KernelCache,
    Disk,
}

/// Copies what the kernel has in memory, up to `size_bytes`. `None` if that is nothing, or the file
/// system cannot tell.
fn read_cached(
    file: &File,
    scratch: &mut BytesMut,
    offset: u64,
    size_bytes: usize,
) -> Option<Bytes> {
    scratch.resize(size_bytes, 0);
    let mut slices = [IoSliceMut::new(scratch)];
    match preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        Ok(0) | Err(_) => None,
        Ok(read_bytes) => Some(scratch.split_to(read_bytes).freeze()),
    }
}

/// Reads `size_bytes` from `offset`; fewer only at the end of the file.
fn read_now(file: &File, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(size_bytes);
    while buffer.len() < size_bytes {
        let at = offset + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // An allocator may give more capacity than was asked for.
    buffer.truncate(size_bytes);
    Ok(buffer.into())
}

/// Whether both files have the same first `size_bytes`.
fn prefix_eq_now(one: &File, other: &File, size_bytes: u64) -> io::Result<bool> {
    let (own, others) = (one.metadata()?, other.metadata()?);
    if own.len().min(others.len()) < size_bytes {
        return Ok(false);
    }
    // A published object is the staged file by another name.
    let is_same_file = (own.dev(), own.ino()) == (others.dev(), others.ino());
    let mut offset = 0;
    while !is_same_file && offset < size_bytes {
        let left_bytes = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX);
        let piece = read_now(one, offset, left_bytes.min(WHOLE_PIECE_BYTES))?;
        if piece.is_empty() || piece != read_now(other, offset, piece.len())? {
            return Ok(false);
        }
        offset += piece.len() as u64;
    }
    Ok(true)
}

/// Computes a digest of a whole file.
///
/// # Errors
/// [`DiskError`] if the disk refuses.
pub fn digest_of(file: &File, algorithm: Algorithm) -> Result<Digest, DiskError> {
    // The hasher computes the algorithms of the digests that are expected.
    let wanted = Digest::parse(algorithm, &"0".repeat(algorithm.size_bytes() * 2))
        .expect("zeros are a digest");
    let mut hasher = Hasher::new(&ExpectedDigests::from_iter([wanted]));
    let mut offset = 0;
    loop {
        let piece = read_now(file, offset, WHOLE_PIECE_BYTES)?;
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

/// A target's bytes, held open: whatever happens to the file's name now, they can be read to the
/// end.
#[derive(Debug, Clone)]
pub struct FileHit {
    pub record: Arc<Record>,
    file: OpenFile,
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
    pub fn file(&self) -> &OpenFile {
        &self.file
    }

    /// Reads at most `size_bytes` from `offset`, and at least one if there is one.
    ///
    /// # Errors
    /// What the disk says; [`io::ErrorKind::UnexpectedEof`] if there is less than the record
    /// promises.
    pub async fn read_some(&self, offset: u64, size_bytes: usize) -> io::Result<Bytes> {
        let left_bytes = self.size_bytes().saturating_sub(offset);
        let size_bytes = usize::try_from(left_bytes)
            .unwrap_or(usize::MAX)
            .min(size_bytes);
        if let (Some(whole), Ok(offset)) = (&self.whole, usize::try_from(offset)) {
            return Ok(whole.slice(offset..offset + size_bytes));
        }
        let mut read = self.file.read_some(offset, size_bytes).await;
        if size_bytes > 0 && read.as_ref().is_ok_and(Bytes::is_empty) {
            read = Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.io.store().record_read(self.record.sha256, &read);
        read
    }
}

/// An object that was opened for a record, and all of it if it is small.
type OpenedObject = (Arc<File>, Option<Bytes>);

impl DiskIo {
    /// Opens the object of a record, if it is on the disk in its full length. Takes no other thread
    /// if the kernel has it in memory.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refuses.
    pub async fn open_hit(&self, record: Arc<Record>) -> Result<Option<FileHit>, DiskError> {
        let opened = if let Some(opened) = open_cached(self.store(), &record) {
            Some(opened)
        } else {
            let record = Arc::clone(&record);
            self.run(IoClass::Request, move |disk| open_object(disk, &record))
                .await?
        };
        Ok(opened.map(|(file, whole)| FileHit {
            record,
            file: OpenFile::new(file, self.clone()),
            whole,
        }))
    }

    /// Opens a body that another process is staging. `None` if it is gone, or is a link to another
    /// place.
    ///
    /// # Errors
    /// [`DiskError`] if the disk refuses.
    pub async fn open_staged(&self, name: StagedName) -> Result<Option<OpenFile>, DiskError> {
        let opened = self.run(IoClass::Request, move |disk| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            match open(disk.layout.staged(&name), flags, Mode::empty()) {
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

/// Opens the object of a record, if it is there in its full length.
///
/// # Errors
/// [`DiskError`] if the disk refuses.
pub fn open_object(disk: &DiskStore, record: &Record) -> Result<Option<OpenedObject>, DiskError> {
    let file = match fs::File::open(disk.layout.object(record.sha256)) {
        Ok(file) => file.into_parts().0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size_bytes = file.metadata()?.len();
    if size_bytes != record.size_bytes {
        tracing::error!(
            sha256 = %record.sha256,
            size_bytes,
            recorded_bytes = record.size_bytes,
            "object has the wrong length and is not served"
        );
        return Ok(None);
    }
    let whole = match usize::try_from(size_bytes) {
        Ok(size) if size_bytes <= READ_AT_OPEN_BYTES => Some(read_now(&file, 0, size)?),
        // A client that gets a head gets a body: a disk that gives no byte is noticed before.
        _ => read_now(&file, 0, 1).map(|_| None)?,
    };
    if whole
        .as_ref()
        .is_some_and(|whole| whole.len() as u64 != size_bytes)
    {
        return Ok(None);
    }
    Ok(Some((Arc::new(file), whole)))
}

/// As [`open_object`], but only if the kernel can do it from memory. `None` means nothing.
fn open_cached(disk: &DiskStore, record: &Record) -> Option<OpenedObject> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = disk.layout.object(record.sha256);
    let file: File = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)
        .ok()?
        .into();
    let known = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    if statx(&file, c"", known, StatxFlags::SIZE).ok()?.stx_size != record.size_bytes {
        return None;
    }
    let read =
        |size_bytes| SCRATCH.with_borrow_mut(|scratch| read_cached(&file, scratch, 0, size_bytes));
    let whole = match usize::try_from(record.size_bytes) {
        Ok(size) if record.size_bytes <= READ_AT_OPEN_BYTES => {
            Some(read(size).filter(|bytes| bytes.len() == size)?)
        }
        // As in `open_object`.
        _ => read(1).map(|_| None)?,
    };
    Some((Arc::new(file), whole))
}
