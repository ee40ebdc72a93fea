//! LRU order of the objects for eviction, and eviction holds.
//!
//! A held object has the access time `EVICTION_HOLD`, which no access changes. It is held because
//! it is pinned, or because it was not uploaded yet.

use rusqlite::{OptionalExtension as _, params};

use super::{EVICTION_HOLD, Index, now, to_u64};
use crate::disk::DiskError;
use crate::model::{Sha256, lock};

/// Bound on the held objects that one reindexing examines. An operator pins fewer.
const MAX_HOLDS: usize = 10_000;

impl Index {
    /// Returns the cached bytes without those of held objects. Held objects are few, and their rows
    /// lie at one end of an SQL index.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn evictable_bytes(&self) -> Result<u64, DiskError> {
        let sql = "SELECT (SELECT cached_bytes FROM ledger)
                 - (SELECT coalesce(sum(size_bytes), 0) FROM objects WHERE accessed_at = ?1)";
        Ok(lock(&self.connection)
            .query_row(sql, [EVICTION_HOLD], |row| row.get(0))
            .map(to_u64)?)
    }

    /// Returns the length that an object had when it was inserted, in bytes, or `None` if the index
    /// does not have the object.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn size_of(&self, sha256: Sha256) -> Result<Option<u64>, DiskError> {
        let sql = "SELECT size_bytes FROM objects WHERE sha256 = ?1";
        let connection = lock(&self.connection);
        let size = connection
            .query_row(sql, [sha256.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(size.map(to_u64))
    }

    /// Sets the access time of an object to now, in the index file at once. This ends a hold.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_accessed_now(&self, sha256: Sha256) -> Result<(), DiskError> {
        self.set_access_time(sha256, now())
    }

    /// Excludes an object from eviction.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn hold(&self, sha256: Sha256) -> Result<(), DiskError> {
        self.set_access_time(sha256, EVICTION_HOLD)
    }

    /// Returns held objects that wait for no upload, up to `MAX_HOLDS`. They are pinned, or their
    /// hold has no reason any more.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn held_without_upload(&self) -> Result<Vec<Sha256>, DiskError> {
        self.query_digests(
            "SELECT sha256 FROM objects
             WHERE accessed_at = ?1
             AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.sha256 = objects.sha256)
             LIMIT ?2",
            EVICTION_HOLD,
            MAX_HOLDS,
        )
    }

    /// Ends the hold of an object. Its access time becomes now. Does nothing if it is not held.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
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

    /// Returns up to `count` objects that are not held and wait for no upload, the least recently
    /// used first.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn lru_candidates(&self, count: usize) -> Result<Vec<Sha256>, DiskError> {
        self.query_digests(
            "SELECT sha256 FROM objects
             WHERE accessed_at < ?1
             AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.sha256 = objects.sha256)
             ORDER BY accessed_at LIMIT ?2",
            EVICTION_HOLD,
            count,
        )
    }
}
