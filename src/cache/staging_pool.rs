//! Fair shares of the space for unfinished bodies. Their bytes are not verified yet, and cannot be
//! evicted.
//!
//! This file must not know how a body is written. Its main type is [`StagingPool`].

use crate::disk::{DiskError, SpaceShare, SpaceUse};
use crate::limits::{ClientShare, FairPool, HeldPermit, Readership};

/// Unit of the pool, in bytes: a block of most file systems.
const UNIT_BYTES: u64 = 4096;

/// Nothing waits for space: a body without it is passed on unstored.
const MAX_WAITING: usize = 0;

/// The space that unfinished bodies may take, all of `cache.max_size`. One client alone gets three
/// quarters of it, and the last quarter is kept for clients within their share.
#[derive(Debug)]
pub struct StagingPool {
    units: FairPool,
}

/// Part of the pool that one body takes. It counts for the present readers of the body.
struct BodyShare {
    permit: HeldPermit,
    /// Bound on the units of one client. A longer body needs a larger cache.
    most_units: usize,
}

impl StagingPool {
    /// `max_size_bytes` is the bound on the bytes of the cache.
    pub fn new(max_size_bytes: u64, share: &ClientShare) -> Self {
        Self {
            units: FairPool::new(units_of(max_size_bytes), MAX_WAITING, share),
        }
    }

    /// Begins to count a body for its readers. `length` is its length in bytes, if it is stated.
    ///
    /// # Errors
    /// [`DiskError::NoSpace`] if the cache is too small for so long a body.
    pub fn share_with(
        &self,
        readership: &Readership,
        length: Option<u64>,
    ) -> Result<SpaceUse, DiskError> {
        let most_units = self.units.most_for_one();
        if length.is_some_and(|length| units_of(length) > most_units) {
            return Err(DiskError::NoSpace);
        }
        let permit = readership.hold_none(&self.units);
        Ok(SpaceUse::Shared(Box::new(BodyShare { permit, most_units })))
    }
}

impl SpaceShare for BodyShare {
    fn resize(&self, size_bytes: u64) -> Result<(), DiskError> {
        let units = units_of(size_bytes);
        if units > self.most_units {
            return Err(DiskError::NoSpace);
        }
        let resized = self.permit.resize(units);
        resized.map_err(|_| DiskError::OverShare)
    }
}

fn units_of(size_bytes: u64) -> usize {
    usize::try_from(size_bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX)
}
