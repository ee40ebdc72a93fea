//! Hits: stored objects that a request can be answered with.

use std::sync::Arc;

use bytes::Bytes;

use super::bucket_findings;
use super::handle::Cache;
use crate::bucket::{Bucket, BucketBody, BucketError};
use crate::disk::FileHit;
use crate::model::{ByteRange, Record};

/// A stored object of a target.
#[derive(Debug, Clone)]
pub enum Hit {
    OnDisk(FileHit),
    InBucket(BucketHit),
}

/// An object that only the bucket has, according to its last listing.
#[derive(Debug, Clone)]
pub struct BucketHit {
    pub record: Arc<Record>,
    bucket: Bucket,
    cache: Cache,
}

/// A body that is read from the bucket. If it fails, the object is marked as suspect.
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
    pub(super) fn new(record: Arc<Record>, bucket: Bucket, cache: Cache) -> Self {
        Self {
            record,
            bucket,
            cache,
        }
    }

    /// Returns a URL from which a client can fetch the object.
    ///
    /// # Errors
    /// [`BucketError::Refused`] if the URL cannot be signed.
    pub async fn presigned_url(&self) -> Result<String, BucketError> {
        let url = self.bucket.object_url(&self.record).await?;
        self.record_hit();
        Ok(url)
    }

    /// Opens a range of the object, and waits for the response head.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket could not be read, or has another length.
    pub async fn open(&self, range: ByteRange) -> Result<BucketStream, BucketError> {
        match self
            .bucket
            .open_object(self.record.sha256, self.record.size_bytes, range)
            .await
        {
            Ok(body) => {
                self.record_hit();
                Ok(BucketStream {
                    hit: self.clone(),
                    body,
                })
            }
            Err(error) => {
                bucket_findings::mark_suspect(&self.cache, &self.record, &error).await;
                Err(error)
            }
        }
    }

    fn record_hit(&self) {
        if let Some(state) = &self.cache.inner.bucket {
            state.record_bucket_hit(&self.record);
        }
    }
}

impl BucketStream {
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.body.size_bytes()
    }

    /// Returns the next bytes, or `None` at the end. The last bytes of a whole object are returned
    /// only if its digest is right.
    ///
    /// # Errors
    /// [`BucketError`] if the body broke too often, or the bucket has other bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        let next = self.body.next().await;
        if let Err(error) = &next {
            bucket_findings::mark_suspect(&self.hit.cache, &self.hit.record, error).await;
        }
        next
    }
}
