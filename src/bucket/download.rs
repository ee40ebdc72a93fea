//! Downloads objects, resumes broken downloads, and verifies the digest of whole objects.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::timeout;

use super::client::BucketClient;
use super::damaged_objects::DamagedObjects;
use super::error::BucketError;
use crate::model::{ByteRange, ExpectedDigests, Hasher, Sha256};

/// Time without a byte after which a body counts as broken.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time without a byte after which the rest is read from the bucket in place of a replica.
const REPLICA_IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bound on the resumptions of one body.
const MAX_RESUMES: u32 = 3;

/// Fault of a response body. The rest is requested again.
#[derive(Debug, thiserror::Error)]
enum BodyFault {
    #[error("a body ended too early")]
    Truncated,
    #[error("a body timed out")]
    Timeout,
    #[error("{0}")]
    Broken(String),
}

/// A range of an object that is being downloaded. It yields exactly its length, or an error.
#[derive(Debug)]
pub struct BucketBody {
    client: BucketClient,
    /// Where the body began, if that is a replica.
    replica: Option<NearReplica>,
    sha256: Sha256,
    range: ByteRange,
    /// Hasher of a whole object. A smaller range cannot be verified.
    hasher: Option<Hasher>,
    stream: ByteStream,
    /// Position in the object of the next byte.
    offset: u64,
    resumes: u32,
}

/// Replica that a body comes from.
#[derive(Debug)]
pub struct NearReplica {
    /// Client of the bucket itself, for the rest of the body. `None` once it is in use.
    pub bucket: Option<BucketClient>,
    /// Objects of which the replica has a damaged copy.
    pub damaged: DamagedObjects,
}

impl BucketBody {
    /// Opens `range` of an object of `size_bytes`, and waits for the response head.
    pub(super) async fn open(
        client: &BucketClient,
        sha256: Sha256,
        size_bytes: u64,
        range: ByteRange,
    ) -> Result<Self, BucketError> {
        let is_whole = range.size_bytes() == size_bytes;
        let stream = get(client, sha256, range).await?;
        let hasher = is_whole.then(|| Hasher::new(&ExpectedDigests::nothing()));
        Ok(Self {
            client: client.clone(),
            replica: None,
            sha256,
            range,
            hasher,
            stream,
            offset: range.first,
            resumes: 0,
        })
    }

    /// Has the rest of the body read from the bucket itself if the replica fails.
    pub(super) fn with_replica(mut self, replica: NearReplica) -> Self {
        self.replica = Some(replica);
        self
    }

    /// Length of the range.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.range.size_bytes()
    }

    /// Returns the next bytes, or `None` at the end. The last bytes of a whole object are returned
    /// only if its digest is right.
    ///
    /// # Errors
    /// [`BucketError`] if the body broke too often, or the bucket has other bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        while self.offset <= self.range.last {
            match self.read_chunk().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return self.verify(chunk).map(Some),
                Err(fault) => self.resume(&fault).await?,
            }
        }
        Ok(None)
    }

    /// Reads from the response, or returns its fault.
    async fn read_chunk(&mut self) -> Result<Bytes, BodyFault> {
        let replica = self.replica.as_ref();
        let limit = match replica.and_then(|replica| replica.bucket.as_ref()) {
            Some(_) => REPLICA_IDLE_TIMEOUT,
            None => IDLE_TIMEOUT,
        };
        match timeout(limit, self.stream.try_next()).await {
            Ok(Ok(Some(chunk))) => Ok(chunk),
            Ok(Ok(None)) => Err(BodyFault::Truncated),
            Ok(Err(error)) => Err(BodyFault::Broken(error.to_string())),
            Err(_) => Err(BodyFault::Timeout),
        }
    }

    fn verify(&mut self, chunk: Bytes) -> Result<Bytes, BucketError> {
        self.offset += chunk.len() as u64;
        if self.offset > self.range.last + 1 {
            return Err(self.damage());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        if self.offset > self.range.last
            && let Some(hasher) = self.hasher.take()
            && hasher.finish().sha256 != self.sha256
        {
            tracing::error!(
                sha256 = %self.sha256,
                endpoint = self.client.config().endpoint,
                "object in the bucket does not have its digest; response aborted"
            );
            return Err(self.damage());
        }
        Ok(chunk)
    }

    /// Returns the error for wrong bytes. Those of a replica say nothing about the bucket.
    fn damage(&self) -> BucketError {
        match &self.replica {
            None => BucketError::Damaged,
            Some(replica) => {
                replica.damaged.add(self.sha256);
                BucketError::DamagedReplica
            }
        }
    }

    async fn resume(&mut self, fault: &BodyFault) -> Result<(), BucketError> {
        let replica = self.replica.as_mut();
        if let Some(bucket) = replica.and_then(|replica| replica.bucket.take()) {
            let error = BucketError::Unavailable(fault.to_string());
            self.client.record_broken_body(&error);
            self.client = bucket;
        } else if self.resumes < MAX_RESUMES {
            self.resumes += 1;
        } else {
            let error = BucketError::Unavailable(fault.to_string());
            self.client.record_broken_body(&error);
            return Err(error);
        }
        let remaining = ByteRange {
            first: self.offset,
            last: self.range.last,
        };
        self.stream = get(&self.client, self.sha256, remaining).await?;
        Ok(())
    }
}

async fn get(
    client: &BucketClient,
    sha256: Sha256,
    range: ByteRange,
) -> Result<ByteStream, BucketError> {
    let request = client
        .sdk()
        .get_object()
        .bucket(client.bucket_name())
        .key(client.keys().object(sha256))
        .range(format!("bytes={}-{}", range.first, range.last));
    let output = client.read(request.send()).await?;
    // A store that ignores Range sends the whole object.
    let length = output
        .content_length()
        .and_then(|length| u64::try_from(length).ok());
    if length != Some(range.size_bytes()) {
        return Err(BucketError::Damaged);
    }
    Ok(output.body)
}
