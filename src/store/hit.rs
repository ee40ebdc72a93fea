//! Where a target's bytes can be had.

use std::sync::Arc;

use super::{Bucket, BucketBody, BucketError, FileHit};
use crate::model::{ByteRange, Record};

/// A target's bytes, found.
#[derive(Debug, Clone)]
pub enum Hit {
    OnDisk(FileHit),
    InBucket(BucketHit),
}

/// An object that the bucket had when it was last looked at.
#[derive(Debug, Clone)]
pub struct BucketHit {
    pub record: Arc<Record>,
    pub(super) bucket: Bucket,
}

impl BucketHit {
    /// Where a client can get it by itself.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn address(&self) -> Result<String, BucketError> {
        self.bucket.address(&self.record).await
    }

    /// Opens a part of it, so far that its first bytes are on their way.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn open(&self, range: ByteRange) -> Result<BucketBody, BucketError> {
        self.bucket.open(self.record.sha256, self.record.size_bytes, range).await
    }
}
