//! Memory of this process about the bytes of objects: which files were hashed lately, and their
//! digests. This file must not know how a file is hashed. The main type is [`ObjectVerifier`].

use std::sync::Arc;
use std::time::Duration;

use super::hashing_signal::HashingWait;
use crate::disk::FileStamp;
use crate::limits::{ClientShare, FairPool, PoolClient, PoolPermit};
use crate::model::{Digests, Sha256};

/// Bound on the objects that are known to be intact.
const MAX_VERIFIED: u64 = 200_000;

/// Bound on the objects whose digests are kept in memory.
const MAX_DIGESTS: u64 = 10_000;

/// Objects that are hashed at the same time. Each one occupies a core.
const MAX_HASHED: usize = 2;

/// Bound on the requests that wait for an object to be hashed.
const MAX_WAITING: usize = 1024;

/// Error returned when an object was not hashed. Its cause is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Too many requests wait for an object to be hashed.
    #[error("too many objects are to be hashed")]
    Busy,
    /// The disk or the bucket failed.
    #[error("the object cannot be read")]
    Unreadable,
}

/// Right to hash an object.
pub struct HashPermit {
    _permit: PoolPermit,
    _wait: HashingWait,
}

/// Memory of one process about the bytes of objects.
pub struct ObjectVerifier {
    /// Files whose bytes had the digest of their object.
    pub intact: moka::future::Cache<(Sha256, FileStamp), ()>,
    /// All digests of an object.
    pub digests: moka::future::Cache<Sha256, Arc<Digests>>,
    hashing: FairPool,
}

impl ObjectVerifier {
    /// `verified_for` is the time for which a hashed file counts as intact. `share` is the part of
    /// the hashing that one client gets while others wait.
    pub fn new(verified_for: Duration, share: &ClientShare) -> Self {
        Self {
            intact: moka::future::Cache::builder()
                .max_capacity(MAX_VERIFIED)
                .time_to_live(verified_for)
                .build(),
            digests: moka::future::Cache::new(MAX_DIGESTS),
            hashing: FairPool::new(MAX_HASHED, MAX_WAITING, share),
        }
    }

    /// Records that a file has the bytes of an object.
    pub async fn mark_intact(&self, sha256: Sha256, stamp: FileStamp) {
        self.intact.insert((sha256, stamp), ()).await;
    }

    /// Waits in the turn of a client until an object may be hashed.
    ///
    /// # Errors
    /// [`HashError::Busy`] if too many requests wait.
    pub async fn hash_permit(&self, client: PoolClient) -> Result<HashPermit, HashError> {
        let wait = HashingWait::begin();
        let permit = self.hashing.acquire(client, "").await;
        Ok(HashPermit {
            _permit: permit.map_err(|_| HashError::Busy)?,
            _wait: wait,
        })
    }
}
