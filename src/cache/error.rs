//! Errors of the cache.

use std::io;

use crate::bucket::BucketError;
use crate::disk::DiskError;
use crate::model::Sha256;

/// Error returned when a tier of the cache failed.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A request to the bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The bytes of the object do not have its digest.
    #[error("the stored bytes do not have the digest sha256:{0}")]
    Corrupt(Sha256),
    /// Too many requests wait for an object to be hashed.
    #[error("too many objects are to be hashed")]
    Busy,
}

impl CacheError {
    /// Whether the object does not fit on the disk. The caller then passes the body through.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Disk(DiskError::NoSpace))
    }
}

impl From<io::Error> for CacheError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.into())
    }
}
