//! Bytes out of the bucket.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::timeout;

use super::{Bucket, BucketError};
use crate::model::{ByteRange, ExpectedDigests, Hasher, Sha256};

/// How long the bucket may be silent within a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a body that breaks off is gone on with.
const MAX_RESUMES: u32 = 3;

/// A part of an object on its way. Its length is known before: what comes is exactly that, or an
/// error.
#[derive(Debug)]
pub struct BucketBody {
    bucket: Bucket,
    sha256: Sha256,
    range: ByteRange,
    /// Of the whole object; nothing checks a part.
    hasher: Option<Hasher>,
    stream: ByteStream,
    offset: u64,
    resumes: u32,
}

impl Bucket {
    /// Opens `range` of an object of `size_bytes`, so far that its first bytes are on their way.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn open(
        &self,
        sha256: Sha256,
        size_bytes: u64,
        range: ByteRange,
    ) -> Result<BucketBody, BucketError> {
        let is_whole = range.size_bytes() == size_bytes;
        let stream = self.get(sha256, range).await?;
        let hasher = is_whole.then(|| Hasher::new(&ExpectedDigests::nothing()));
        Ok(BucketBody {
            bucket: self.clone(),
            sha256,
            range,
            hasher,
            stream,
            offset: range.first,
            resumes: 0,
        })
    }

    async fn get(&self, sha256: Sha256, range: ByteRange) -> Result<ByteStream, BucketError> {
        let request = self
            .client()
            .get_object()
            .bucket(self.name())
            .key(self.keys().object(sha256));
        let request = request.range(format!("bytes={}-{}", range.first, range.last));
        let output = self.read(request.send()).await?;
        // A store that does not know ranges sends all of it.
        if output
            .content_length()
            .and_then(|length| u64::try_from(length).ok())
            != Some(range.size_bytes())
        {
            return Err(BucketError::Damaged);
        }
        Ok(output.body)
    }
}

impl BucketBody {
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.range.size_bytes()
    }

    /// The next bytes, or `None` at the end. Those that make a whole object complete are given only
    /// once it is known to be the right one.
    ///
    /// # Errors
    /// [`BucketError`] where the bucket breaks off for good, or has other bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        while self.offset <= self.range.last {
            let piece = match timeout(IDLE_TIMEOUT, self.stream.try_next()).await {
                Ok(Ok(Some(piece))) if piece.is_empty() => continue,
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => {
                    self.resume("it ended too early".to_owned()).await?;
                    continue;
                }
                Ok(Err(error)) => {
                    self.resume(error.to_string()).await?;
                    continue;
                }
                Err(_) => {
                    self.resume("it fell silent".to_owned()).await?;
                    continue;
                }
            };
            self.offset += piece.len() as u64;
            if self.offset > self.range.last + 1 {
                return Err(BucketError::Damaged);
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            if self.offset > self.range.last
                && let Some(hasher) = self.hasher.take()
                && hasher.finish().sha256 != self.sha256
            {
                tracing::error!(sha256 = %self.sha256, "the bucket has other bytes under this name; the answer is broken off");
                return Err(BucketError::Damaged);
            }
            return Ok(Some(piece));
        }
        Ok(None)
    }

    async fn resume(&mut self, why: String) -> Result<(), BucketError> {
        if self.resumes >= MAX_RESUMES {
            let error = BucketError::Unavailable(why);
            self.bucket.record_broken_body(&error);
            return Err(error);
        }
        self.resumes += 1;
        let rest = ByteRange {
            first: self.offset,
            last: self.range.last,
        };
        self.stream = self.bucket.get(self.sha256, rest).await?;
        Ok(())
    }
}
