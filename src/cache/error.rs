//! Errors of the cache.

use std::io;

use crate::bucket::BucketError;
use crate::disk::DiskError;

/// Error returned when a tier of the cache failed.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A request to the bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl CacheError {
    /// Whether the object does not fit on the disk. The caller then passes the body through.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Disk(DiskError::NoSpace))
    }

    /// Whether the imported lists of the catalog have too many entries.
    #[must_use]
    pub fn is_too_many_entries(&self) -> bool {
        matches!(self, Self::Disk(DiskError::TooManyEntries))
    }

    /// Whether the clients of a body have no more space for unfinished bodies.
    #[must_use]
    pub fn is_over_share(&self) -> bool {
        matches!(self, Self::Disk(DiskError::OverShare))
    }
}

impl From<io::Error> for CacheError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.into())
    }
}
