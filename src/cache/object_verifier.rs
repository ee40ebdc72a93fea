//! Memory of this process about the bytes of objects: which files were hashed lately, and their
//! digests. This file must not know how a file is hashed. The main type is [`ObjectVerifier`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::disk::FileStamp;
use crate::model::{Digests, Sha256};

/// Bound on the objects that are known to be intact.
const MAX_VERIFIED: u64 = 200_000;

/// Bound on the objects whose digests are kept in memory.
const MAX_DIGESTS: u64 = 10_000;

/// Objects that are hashed at the same time. Each one occupies a core.
const MAX_HASHED: usize = 2;

/// Memory of one process about the bytes of objects.
pub struct ObjectVerifier {
    /// Files whose bytes had the digest of their object.
    pub intact: moka::future::Cache<(Sha256, FileStamp), ()>,
    /// All digests of an object.
    pub digests: moka::future::Cache<Sha256, Arc<Digests>>,
    hashing: Semaphore,
}

impl ObjectVerifier {
    /// `verified_for` is the time for which a hashed file counts as intact.
    pub fn new(verified_for: Duration) -> Self {
        Self {
            intact: moka::future::Cache::builder()
                .max_capacity(MAX_VERIFIED)
                .time_to_live(verified_for)
                .build(),
            digests: moka::future::Cache::new(MAX_DIGESTS),
            hashing: Semaphore::new(MAX_HASHED),
        }
    }

    /// Records that a file has the bytes of an object.
    pub async fn mark_intact(&self, sha256: Sha256, stamp: FileStamp) {
        self.intact.insert((sha256, stamp), ()).await;
    }

    /// Waits until an object may be hashed.
    pub async fn hash_permit(&self) -> SemaphorePermit<'_> {
        self.hashing
            .acquire()
            .await
            .expect("this semaphore is never closed")
    }
}
