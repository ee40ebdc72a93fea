//! Hashes the pieces of large objects, one object at a time, at a bounded rate and the lowest
//! priority.
//!
//! Published objects and those that a client asks about come first, then all that the index has.
//! The main function is [`run_piece_hashing`].

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::throttled_read::{ReadThrottle, read_throttled};
use crate::cache::{Cache, CacheError, DiskError};
use crate::model::{PieceHasher, Rate, Sha256, Size};

/// Read rate. A published object is still in memory, so that the rate bounds the use of a core.
const READ_RATE: Rate = Rate::per_second(Size::mib(64));

/// Hashes the pieces of objects that lack them. The index is searched at once, and then at each
/// `interval`.
pub async fn run_piece_hashing(cache: Cache, interval: Duration) {
    let mut hashing = PieceHashing {
        throttle: ReadThrottle::new(READ_RATE),
        cache,
    };
    loop {
        let next = Instant::now() + interval;
        if let Err(error) = hashing.search_index().await {
            tracing::warn!(%error, "objects without pieces were not found, will retry");
        }
        while timeout_at(next, hashing.cache.disk().store().piece_queue.added())
            .await
            .is_ok()
        {
            hashing.empty_queue().await;
        }
    }
}

struct PieceHashing {
    cache: Cache,
    throttle: ReadThrottle,
}

impl PieceHashing {
    async fn search_index(&mut self) -> Result<(), CacheError> {
        let mut after = None;
        loop {
            let found = self.cache.pieces().objects_after(after).await?;
            let Some(last) = found.last() else {
                return Ok(());
            };
            after = Some(*last);
            for sha256 in found {
                self.empty_queue().await;
                self.hash(sha256).await;
            }
        }
    }

    async fn empty_queue(&mut self) {
        while let Some(sha256) = self.cache.disk().store().piece_queue.take() {
            self.hash(sha256).await;
        }
    }

    /// Hashes one object. Failures are logged.
    async fn hash(&mut self, sha256: Sha256) {
        if self.cache.health().trouble().is_some() {
            // The next pass finds the object again.
            return;
        }
        if let Err(error) = self.try_hash(sha256).await {
            tracing::warn!(%error, %sha256, "pieces of an object were not hashed, will retry");
        }
    }

    async fn try_hash(&mut self, sha256: Sha256) -> Result<(), CacheError> {
        let pieces = self.cache.pieces();
        let Some(object) = pieces.open_without(sha256).await? else {
            return Ok(());
        };
        let stamp = object.file().stamp().map_err(DiskError::from)?;
        let (start, throttle) = (PieceHasher::default(), &mut self.throttle);
        let read = read_throttled(object.file(), throttle, start, PieceHasher::update);
        let (found, list) = read.await.map_err(DiskError::from)?.finish();
        match list {
            Some(list) if found == sha256 => pieces.store(sha256, stamp, list).await,
            // A scrub reports and repairs a corrupt object.
            _ => Ok(()),
        }
    }
}
