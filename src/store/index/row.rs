//! The row in which objects wait for eviction, the least recently used first, and what was set aside from it.

use rusqlite::{OptionalExtension as _, params};

use super::{Index, lock, now, to_u64};
use crate::model::Sha256;
use crate::store::StoreError;

/// The last use of what is pinned: it is no candidate for eviction, and a use does not make it one.
pub(super) const SET_ASIDE: i64 = i64::MAX;

/// How many of these are looked at again at a time. An operator pins fewer.
const MAX_SET_ASIDE: usize = 10_000;

impl Index {
    /// Held bytes that nobody has set aside. Those are few, and their rows lie at one end of an index.
    pub fn evictable_bytes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT (SELECT held_bytes FROM ledger)
                 - (SELECT coalesce(sum(size_bytes), 0) FROM objects WHERE last_use = ?1)";
        Ok(lock(&self.connection).query_row(sql, [SET_ASIDE], |row| row.get(0)).map(to_u64)?)
    }

    /// How long an object was when it was entered. `None` if it is not known.
    pub fn size_of(&self, sha256: Sha256) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT size_bytes FROM objects WHERE sha256 = ?1";
        let connection = lock(&self.connection);
        let size = connection.query_row(sql, [sha256.as_bytes()], |row| row.get(0)).optional()?;
        Ok(size.map(to_u64))
    }

    /// Writes down at once that an object is used now, whether it was set aside or not.
    pub fn use_now(&self, sha256: Sha256) -> Result<(), StoreError> {
        self.set_last_use(sha256, now())
    }

    /// Takes an object out of the row of those that may be evicted.
    pub fn set_aside(&self, sha256: Sha256) -> Result<(), StoreError> {
        self.set_last_use(sha256, SET_ASIDE)
    }

    /// What was set aside and waits for no upload: what is pinned, and what has no reason any more.
    pub fn set_aside_without_upload(&self) -> Result<Vec<Sha256>, StoreError> {
        self.entries(
            "SELECT sha256 FROM objects
             WHERE last_use = ?1 AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.sha256 = objects.sha256)
             LIMIT ?2",
            SET_ASIDE,
            MAX_SET_ASIDE,
        )
    }

    /// Puts an object that was set aside back into the row.
    pub fn put_in_row(&self, sha256: Sha256) -> Result<(), StoreError> {
        let sql = "UPDATE objects SET last_use = ?2 WHERE sha256 = ?1 AND last_use = ?3";
        lock(&self.connection).execute(sql, params![sha256.as_bytes(), now(), SET_ASIDE])?;
        Ok(())
    }

    fn set_last_use(&self, sha256: Sha256, last_use: i64) -> Result<(), StoreError> {
        let sql = "UPDATE objects SET last_use = ?2 WHERE sha256 = ?1";
        lock(&self.connection).execute(sql, params![sha256.as_bytes(), last_use])?;
        Ok(())
    }

    /// Up to `count` objects that nothing holds here, the least recently used first, without those that were set aside.
    pub fn oldest(&self, count: usize) -> Result<Vec<Sha256>, StoreError> {
        self.entries(
            "SELECT sha256 FROM objects
             WHERE last_use < ?1 AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.sha256 = objects.sha256)
             ORDER BY last_use LIMIT ?2",
            SET_ASIDE,
            count,
        )
    }
}
