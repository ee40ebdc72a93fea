use std::io;

use crate::bucket::BucketError;
use crate::disk::DiskError;

/// Error of the cache: one of its tiers failed.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bucket did not give or take an object.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl CacheError {
    /// Whether the object does not fit. The caller passes it through instead.
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
