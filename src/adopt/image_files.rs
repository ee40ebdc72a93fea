//! Files of container images on this machine: a layout of OCI, or an archive of `docker save`.
//!
//! Files of a layout are opened by descriptor, and no link is followed. The functions block. The
//! main type is [`ImageFiles`].

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FileType as EntryType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::stop_flag::StopFlag;
use super::tar_entries::{ArchiveError, TarEntries, TarEntryKind};
use crate::model::{Digest, ExpectedDigests, Hasher, Sha256};
use crate::registry::MAX_MANIFEST_BYTES;

/// File that marks a layout (OCI image layout specification 1.1).
const LAYOUT_MARK: &str = "oci-layout";

/// Size of the pieces in which contents are read, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Error returned for files that are no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageFilesError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("{0} has more than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge(String),
    #[error("stopped before all was read")]
    Stopped,
}

impl From<io::Error> for ImageFilesError {
    fn from(error: io::Error) -> Self {
        Self::Archive(error.into())
    }
}

/// The files of one or more images.
pub enum ImageFiles {
    Layout(OwnedFd),
    Archive(ImageArchive),
}

/// An archive whose entries are known.
pub struct ImageArchive {
    file: Arc<File>,
    /// Place and length of each file.
    by_name: HashMap<String, (u64, u64)>,
}

/// Content of a part, within a file.
#[derive(Debug, Clone)]
pub struct FoundPart {
    /// Name in the layout or archive.
    pub name: PathBuf,
    pub file: Arc<File>,
    pub offset: u64,
    pub size_bytes: u64,
}

impl ImageFiles {
    /// Whether a path is that of an image: of a file, or of a folder with the mark of a layout.
    #[must_use]
    pub fn is_image(path: &Path) -> bool {
        path.is_file() || path.join(LAYOUT_MARK).is_file()
    }

    /// Opens a layout or an archive, and reads the headers of the archive.
    ///
    /// # Errors
    /// [`ImageFilesError`].
    pub fn open(path: &Path) -> Result<Self, ImageFilesError> {
        if path.is_dir() {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
            let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
            return Ok(Self::Layout(folder));
        }
        let file = File::open(path)?;
        let (mut entries, mut by_name) = (TarEntries::new(&file)?, HashMap::new());
        while let Some(entry) = entries.next_entry()? {
            if entry.kind == TarEntryKind::File {
                // As for tar, the last entry of a name counts.
                by_name.insert(entry.name, (entry.offset, entry.size_bytes));
            }
        }
        let file = Arc::new(file);
        Ok(Self::Archive(ImageArchive { file, by_name }))
    }

    /// Returns a file by its name, such as `index.json`.
    ///
    /// # Errors
    /// The error of the system.
    pub fn find(&self, name: &str) -> io::Result<Option<FoundPart>> {
        match self {
            Self::Layout(folder) => find_in(folder, name),
            Self::Archive(archive) => Ok(archive.find(name)),
        }
    }

    /// Returns the blob or manifest with a digest, by its name.
    ///
    /// # Errors
    /// The error of the system.
    pub fn blob(&self, digest: &Digest) -> io::Result<Option<FoundPart>> {
        let (algorithm, hex) = (digest.algorithm().as_str(), digest.hex());
        self.find(&format!("blobs/{algorithm}/{hex}"))
    }

    /// Returns the bytes of a small file.
    ///
    /// # Errors
    /// [`ImageFilesError`].
    pub fn document(&self, name: &str) -> Result<Option<Vec<u8>>, ImageFilesError> {
        let found = self.find(name)?;
        found.map(|part| part.document()).transpose()
    }

    /// Returns all files of an archive by their digests. A layout has none.
    ///
    /// # Errors
    /// [`ImageFilesError`].
    pub fn hash_all(
        &self,
        read_bytes: &AtomicU64,
        stop: &StopFlag,
    ) -> Result<HashMap<Sha256, FoundPart>, ImageFilesError> {
        let mut by_digest = HashMap::new();
        if let Self::Archive(archive) = self {
            for part in archive.parts() {
                let mut hasher = Hasher::new(&ExpectedDigests::nothing());
                let mut offset = 0;
                loop {
                    if stop.is_set() {
                        return Err(ImageFilesError::Stopped);
                    }
                    let piece = part.read_piece(offset)?;
                    if piece.is_empty() {
                        break;
                    }
                    hasher.update(&piece);
                    offset += piece.len() as u64;
                    read_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
                by_digest.insert(hasher.finish().sha256, part);
            }
        }
        Ok(by_digest)
    }
}

impl ImageArchive {
    fn find(&self, name: &str) -> Option<FoundPart> {
        let place = self.by_name.get(name)?;
        Some(self.part(name, *place))
    }

    fn parts(&self) -> impl Iterator<Item = FoundPart> {
        let entries = self.by_name.iter();
        entries.map(|(name, place)| self.part(name, *place))
    }

    fn part(&self, name: &str, (offset, size_bytes): (u64, u64)) -> FoundPart {
        FoundPart {
            name: name.into(),
            file: Arc::clone(&self.file),
            offset,
            size_bytes,
        }
    }
}

impl FoundPart {
    /// Reads the next bytes from this offset of the part. There are none at its end.
    ///
    /// # Errors
    /// The error of the system, or [`io::ErrorKind::UnexpectedEof`] if the file became shorter.
    pub fn read_piece(&self, offset: u64) -> io::Result<Vec<u8>> {
        let left_bytes = self.size_bytes.saturating_sub(offset);
        let length = usize::try_from(left_bytes)
            .unwrap_or(usize::MAX)
            .min(PIECE_BYTES);
        let mut piece = vec![0; length];
        self.file.read_exact_at(&mut piece, self.offset + offset)?;
        Ok(piece)
    }

    /// Returns all bytes of a small part.
    ///
    /// # Errors
    /// [`ImageFilesError`].
    pub fn document(&self) -> Result<Vec<u8>, ImageFilesError> {
        let length = usize::try_from(self.size_bytes).unwrap_or(usize::MAX);
        if length > MAX_MANIFEST_BYTES {
            return Err(ImageFilesError::TooLarge(self.name.display().to_string()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        Ok(bytes)
    }
}

/// Opens a file below a folder. A link, a device and a missing file are no file.
fn find_in(folder: &OwnedFd, name: &str) -> io::Result<Option<FoundPart>> {
    // A pipe must not block.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NONBLOCK;
    let mut opened: Option<OwnedFd> = None;
    for segment in name.split('/') {
        let parent = opened.as_ref().unwrap_or(folder);
        opened = match openat(parent, segment, flags, Mode::empty()) {
            Ok(next) => Some(next),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
    }
    let Some(opened) = opened else {
        return Ok(None);
    };
    let stat = fstat(&opened)?;
    if EntryType::from_raw_mode(stat.st_mode) != EntryType::RegularFile {
        return Ok(None);
    }
    Ok(Some(FoundPart {
        name: name.into(),
        file: Arc::new(File::from(opened)),
        offset: 0,
        size_bytes: u64::try_from(stat.st_size).unwrap_or_default(),
    }))
}
