//! The row in which objects wait for eviction, the least recently used first, and what was set
//! aside from it.

use rusqlite::{OptionalExtension as _, params};

use super::{EVICTION_HOLD, Index, lock, now, to_u64};
use crate::disk::DiskError;
use crate::model::Sha256;

/// How many of these are looked at again at a time. An operator pins fewer.
const MAX_HOLDS: usize = 10_000;

impl Index {
    /// Held bytes that nobody has set aside. Those are few, and their rows lie at one end of an
    /// index.
    pub fn evictable_bytes(&self) -> Result<u64, DiskError> {
        let sql = "SELECT (SELECT cached_bytes FROM ledger)
                 - (SELECT coalesce(sum(size_bytes), 0) FROM objects WHERE accessed_at = ?1)";
        Ok(lock(&self.connection)
            .query_row(sql, [EVICTION_HOLD], |row| row.get(0))
            .map(to_u64)?)
    }

    /// How long an object was when it was entered. `None` if it is not known.
    pub fn size_of(&self, sha256: Sha256) -> Result<Option<u64>, DiskError> {
        let sql = "SELECT size_bytes FROM objects WHERE sha256 = ?1";
        let connection = lock(&self.connection);
        let size = connection
            .query_row(sql, [sha256.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(size.map(to_u64))
    }

    /// Writes down at once that an object is used now, whether it was set aside or not.
    pub fn set_accessed_now(&self, sha256: Sha256) -> Result<(), DiskError> {
        self.set_access_time(sha256, now())
    }

    /// Takes an object out of the row of those that may be evicted.
    pub fn hold(&self, sha256: Sha256) -> Result<(), DiskError> {
        self.set_access_time(sha256, EVICTION_HOLD)
    }

    /// What was set aside and waits for no upload: what is pinned, and what has no reason any more.
    pub fn held_without_upload(&self) -> Result<Vec<Sha256>, DiskError> {
        self.entries(
            "SELECT sha256 FROM objects
             WHERE accessed_at = ?1 AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.sha256 = objects.sha256)
             LIMIT ?2",
            EVICTION_HOLD,
            MAX_HOLDS,
        )
    }

    /// Puts an object that was set aside back into the row.
    pub fn release_hold(&self, sha256: Sha256) -> Result<(), DiskError> {
        let sql = "UPDATE objects SET accessed_at = ?2 WHERE sha256 = ?1 AND accessed_at = ?3";
        lock(&self.connection).execute(sql, params![sha256.as_bytes(), now(), EVICTION_HOLD])?;
        Ok(())
    }

    fn set_access_time(&self, sha256: Sha256, accessed_at: i64) -> Result<(), DiskError> {
        let sql = "UPDATE objects SET accessed_at = ?2 WHERE sha256 = ?1";
        lock(&self.connection).execute(sql, params![sha256.as_bytes(), accessed_at])?;
        Ok(())
    }

    /// Up to `count` objects that nothing holds here, the least recently used first, without those
    /// that were set aside.
    pub fn lru_candidates(&self, count: usize) -> Result<Vec<Sha256>, DiskError> {
        self.entries(
            "SELECT sha256 FROM objects
             WHERE accessed_at < ?1 AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.sha256 = objects.sha256)
             ORDER BY accessed_at LIMIT ?2",
            EVICTION_HOLD,
            count,
        )
    }
}
