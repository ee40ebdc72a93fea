//! Where a target's bytes can be had.

use std::sync::Arc;

use bytes::Bytes;

use super::bucket::BucketBody;
use super::{Bucket, BucketError, FileHit, Store};
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
    pub(super) store: Store,
}

/// Bytes of such an object on their way. What turns out not to be what it should be is not believed in any more.
#[derive(Debug)]
pub struct BucketStream {
    hit: BucketHit,
    body: BucketBody,
}

impl Hit {
    #[must_use]
    pub fn record(&self) -> &Arc<Record> {
        match self {
            Self::OnDisk(hit) => &hit.record,
            Self::InBucket(hit) => &hit.record,
        }
    }
}

impl BucketHit {
    /// Where a client can get it by itself.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn address(&self) -> Result<String, BucketError> {
        let address = self.bucket.address(&self.record).await?;
        self.store.note_bucket_use(&self.record);
        Ok(address)
    }

    /// Opens a part of it, so far that its first bytes are on their way.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn open(&self, range: ByteRange) -> Result<BucketStream, BucketError> {
        match self.bucket.open(self.record.sha256, self.record.size_bytes, range).await {
            Ok(body) => {
                self.store.note_bucket_use(&self.record);
                Ok(BucketStream { hit: self.clone(), body })
            }
            Err(error) => {
                self.store.doubt(&self.record, &error).await;
                Err(error)
            }
        }
    }
}

impl BucketStream {
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.body.size_bytes()
    }

    /// The next bytes, or `None` at the end. The last of a whole object are given only once it is known to be the right one.
    ///
    /// # Errors
    /// [`BucketError`] where the bucket breaks off for good, or has other bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        let next = self.body.next().await;
        if let Err(error) = &next {
            self.hit.store.doubt(&self.hit.record, error).await;
        }
        next
    }
}
