use std::io;
use std::path::PathBuf;

use super::BucketError;

/// Why something could not be kept or found. The texts name paths: they are for logs, never for clients.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not fit. Whoever wanted to keep it passes it through instead.
    #[error("there is no space left in the cache")]
    NoSpace,
    /// The disk refuses.
    #[error(transparent)]
    Io(io::Error),
    /// The disk does not answer in time, or did not when it was asked last.
    #[error("the disk of the cache does not answer")]
    Silent,
    /// The index refuses. The files are not touched by that.
    #[error("the index cannot be used: {0}")]
    Index(#[from] rusqlite::Error),
    /// The bucket does not give or take it.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

impl StoreError {
    /// For those who read a file and know no other errors.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            Self::Silent => io::Error::new(io::ErrorKind::TimedOut, self),
            Self::NoSpace | Self::Index(_) | Self::Bucket(_) => io::Error::other(self),
        }
    }
}

/// Why a folder cannot be a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cache.dir: the folder {} cannot be used: {why}", path.display())]
    Folder { path: PathBuf, why: io::Error },
    #[error("cache.dir: {0}")]
    Store(#[from] StoreError),
    /// Names its key.
    #[error("{0}")]
    Bucket(String),
}
