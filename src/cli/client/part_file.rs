//! The unfinished file of a download, beside the output file.
//!
//! A later download of the same file resumes it. The file knows no gateway. Its main type is
//! [`PartFile`].

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::failure::Failure;
use crate::model::Hasher;

/// End of the name of an unfinished file.
const SUFFIX: &str = ".millpond.part";

/// Mode of a new file, less the bits of the umask. A file that its group may write is not resumed.
const FILE_MODE: u32 = 0o644;

/// Mode bits by which other users than the owner may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Size of the chunks in which a file is hashed, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Unfinished file, locked by this process. When it is dropped, it is removed unless a later
/// download can resume it.
pub struct PartFile {
    file: File,
    path: PathBuf,
    size_bytes: u64,
    end: PartEnd,
}

/// Fate of an unfinished file when it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartEnd {
    Remove,
    /// A later download resumes it.
    Keep,
    /// It has its final name.
    Renamed,
}

impl PartFile {
    /// Opens or creates the unfinished file of an output file.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written, or if another process writes it.
    pub fn open(output: &Path) -> Result<Self, Failure> {
        let mut path = output.as_os_str().to_owned();
        path.push(SUFFIX);
        let path = PathBuf::from(path);
        let describe = |why: io::Error| Failure::failed(format!("{}: {why}", path.display()));
        let file = open_own(&path).map_err(describe)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("{}: another download writes this file", path.display());
                return Err(Failure::failed(text));
            }
            Err(TryLockError::Error(error)) => return Err(describe(error)),
        }
        let (opened, named) = (
            file.metadata().map_err(describe)?,
            fs::symlink_metadata(&path).map_err(describe)?,
        );
        // The other download may have finished, and renamed the file, before the lock was taken.
        if !opened.is_file() || (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            let text = format!("{}: another process has replaced this file", path.display());
            return Err(Failure::failed(text));
        }
        Ok(Self {
            size_bytes: opened.len(),
            end: PartEnd::Keep,
            file,
            path,
        })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Sets whether a later download can continue with the present bytes.
    pub fn set_resumable(&mut self, is_resumable: bool) {
        self.end = if is_resumable {
            PartEnd::Keep
        } else {
            PartEnd::Remove
        };
    }

    /// Removes all bytes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.size_bytes = 0;
        Ok(())
    }

    /// Adds the present bytes to `hasher`. The next bytes are written behind them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn hash_present(&mut self, hasher: &mut Hasher) -> io::Result<()> {
        self.file.rewind()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match self.file.read(&mut chunk)? {
                0 => break,
                count => hasher.update(&chunk[..count]),
            }
        }
        self.file.seek(SeekFrom::Start(self.size_bytes))?;
        Ok(())
    }

    /// Reads `length` bytes from `offset`.
    ///
    /// # Errors
    /// If the file cannot be read, or is shorter.
    pub fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Writes bytes at `offset`. Bytes before them may be missing.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.size_bytes = self.size_bytes.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// Removes the bytes behind the first `size_bytes`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn truncate(&mut self, size_bytes: u64) -> io::Result<()> {
        if size_bytes < self.size_bytes {
            self.file.set_len(size_bytes)?;
            self.size_bytes = size_bytes;
        }
        Ok(())
    }

    /// Gives the complete file its final name. The bytes are on the disk before that.
    ///
    /// # Errors
    /// [`Failure`] if the file cannot be renamed.
    pub fn persist_to(mut self, output: &Path) -> Result<(), Failure> {
        self.file.sync_all()?;
        fs::rename(&self.path, output)
            .map_err(|why| Failure::failed(format!("{}: {why}", output.display())))?;
        self.end = PartEnd::Renamed;
        Ok(())
    }
}

/// Opens the file at `path` for reading and writing, or creates it. A file that another user can
/// change is replaced.
fn open_own(path: &Path) -> io::Result<File> {
    // In a folder of several users, the name may be a link that another user created, or a pipe,
    // which would block.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags).expect("flags are small"));
    match options.open(path) {
        Ok(file) if is_own(&file.metadata()?) => return Ok(file),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::remove_file(path)?,
        Err(error) => return Err(error),
    }
    options.create_new(true).mode(FILE_MODE).open(path)
}

/// Whether only this user can change the file, and only by this name.
fn is_own(file: &Metadata) -> bool {
    let is_private = file.mode() & WRITABLE_BY_OTHERS == 0;
    file.is_file() && file.uid() == geteuid().as_raw() && file.nlink() == 1 && is_private
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.size_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        let is_removed = match self.end {
            PartEnd::Remove => true,
            PartEnd::Keep => self.size_bytes == 0,
            PartEnd::Renamed => false,
        };
        if is_removed {
            // If the removal fails, the next download overwrites the file.
            drop(fs::remove_file(&self.path));
        }
    }
}
