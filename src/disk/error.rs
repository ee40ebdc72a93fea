//! Errors of the cache folder.

use std::io;
use std::path::PathBuf;

use super::index_error::{is_busy, is_refused};
use crate::model::{ConfigError, disk_fault};

/// Error of an operation on the cache folder. The texts contain paths, so they are for logs and
/// never for clients.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The object does not fit. The caller passes the response through instead.
    #[error("no space is left in the cache")]
    NoSpace,
    /// The clients of a body have their share of the space for unfinished bodies. The caller does
    /// the same as for [`DiskError::NoSpace`].
    #[error("the clients have no more space for unfinished bodies")]
    OverShare,
    /// The target has too many other bytes on record.
    #[error("the target has too many records")]
    TooManyRecords,
    /// The imported lists have too many entries. The operator must remove a list first.
    #[error("the imported lists have too many entries")]
    TooManyEntries,
    /// The disk refused an operation.
    #[error(transparent)]
    Io(io::Error),
    /// The disk did not answer in time, or did not answer the last probe.
    #[error("the cache disk does not answer")]
    Timeout,
    /// The index refused an operation. The files are not affected.
    #[error("the index cannot be used: {0}")]
    Index(#[from] rusqlite::Error),
    /// Another process holds the lock of the index.
    #[error("another process holds the lock of the index")]
    IndexBusy,
}

impl DiskError {
    /// Returns whether the index cannot be written now, although its file may be intact. Changes of
    /// it can wait.
    #[must_use]
    pub fn is_index_unavailable(&self) -> bool {
        match self {
            Self::IndexBusy => true,
            Self::Index(error) => is_busy(error) || is_refused(error),
            _ => false,
        }
    }
}

impl From<io::Error> for DiskError {
    fn from(error: io::Error) -> Self {
        if disk_fault::is_full(&error) {
            Self::NoSpace
        } else {
            Self::Io(error)
        }
    }
}

impl From<DiskError> for io::Error {
    /// Converts the error for readers of a file, which know only I/O errors.
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Io(error) => error,
            DiskError::Timeout => Self::new(io::ErrorKind::TimedOut, error),
            DiskError::NoSpace
            | DiskError::OverShare
            | DiskError::TooManyRecords
            | DiskError::TooManyEntries
            | DiskError::IndexBusy
            | DiskError::Index(_) => Self::other(error),
        }
    }
}

impl From<OpenError> for DiskError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Folder { why, .. } => why.into(),
            OpenError::Disk(error) => error,
            other => Self::Io(io::Error::other(other)),
        }
    }
}

/// Error of opening the cache. The texts begin with the configuration key at fault.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be created, read or written.
    #[error(
        "cache.dir: the folder {} cannot be used: {}",
        path.display(),
        disk_fault::with_advice(why)
    )]
    Folder { path: PathBuf, why: io::Error },
    /// A newer Millpond wrote the folder.
    #[error(
        "cache.dir: the folder has layout {found}, and this program knows layouts up to {known}; \
         use a newer Millpond"
    )]
    NewerLayout { found: u32, known: u32 },
    /// The folder must be migrated, which no other process may see.
    #[error(
        "cache.dir: the folder has an older layout, and other processes have it open ({}); \
         stop them first",
        processes.join(", ")
    )]
    LayoutInUse { processes: Vec<String> },
    /// Another operation on the folder failed.
    #[error("cache.dir: {0}")]
    Disk(#[from] DiskError),
    /// The bucket cannot be used. The text names the configuration key.
    #[error(transparent)]
    Bucket(ConfigError),
}

impl OpenError {
    /// Returns whether the disk may accept writes later: it is full or read-only.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Folder { why, .. } => disk_fault::is_passing(why),
            Self::Disk(error) => matches!(error, DiskError::NoSpace),
            _ => false,
        }
    }
}
