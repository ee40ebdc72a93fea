//! LRU order of the objects for eviction, and eviction holds.
//!
//! A held object has the access time `EVICTION_HOLD`, which no access changes. It is held because
//! it is pinned, or because it was not uploaded yet. This file must not know which of the two. Its
//! main type is [`LruOrder`].

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension as _, params};

use super::change::IndexChange;
use super::connection::IndexConnection;
use super::database::{now, to_u64};
use super::digest_query::query_digests;
use crate::disk::DiskError;
use crate::model::{Sha256, lock};

/// Access time of a held object. The object is no candidate for eviction, and an access does not
/// change this time.
const EVICTION_HOLD: i64 = i64::MAX;

/// Access time of an object that was not used since it was stored.
const UNUSED: i64 = 0;

/// Bound on the access times that are kept in memory until the next flush.
const MAX_PENDING_ACCESS_TIMES: usize = 65_536;

/// Bound on the held objects that one reindexing examines. An operator pins fewer.
const MAX_HOLDS: usize = 10_000;

/// Access times that are not written yet, in milliseconds since 1970.
pub type AccessTimes = Mutex<HashMap<Sha256, i64>>;

/// The LRU order of the objects in the index.
#[derive(Clone, Copy)]
pub struct LruOrder<'a> {
    connection: &'a IndexConnection,
    access_times: &'a AccessTimes,
}

impl<'a> LruOrder<'a> {
    pub(super) fn new(connection: &'a IndexConnection, access_times: &'a AccessTimes) -> Self {
        Self {
            connection,
            access_times,
        }
    }

    /// Returns the bytes of the objects on the disk without those of held objects. Held objects are
    /// few, and their rows lie at one end of an SQL index. An object whose insertion is not written
    /// yet is no candidate, so it does not count.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn evictable_bytes(self) -> Result<u64, DiskError> {
        let sql = "SELECT (SELECT disk_bytes FROM ledger)
                 - (SELECT coalesce(sum(disk_bytes), 0) FROM objects WHERE accessed_at = ?1)";
        let connection = self.connection.read();
        let written = connection.query_row(sql, [EVICTION_HOLD], |row| row.get(0));
        let freed_bytes = self.connection.deferred_freed_bytes();
        Ok(written.map(to_u64)?.saturating_sub(freed_bytes))
    }

    /// Returns the last access of an object. `None` if the object is held, unused or not in the
    /// index.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn last_access(self, sha256: Sha256) -> Result<Option<SystemTime>, DiskError> {
        let pending = lock(self.access_times).get(&sha256).copied();
        let sql = "SELECT accessed_at FROM objects WHERE sha256 = ?1 AND accessed_at < ?2";
        let written = self
            .connection
            .read()
            .query_row(sql, params![sha256.as_bytes(), EVICTION_HOLD], |row| {
                row.get::<_, i64>(0)
            })
            .optional()?;
        let latest = written.map(|written| written.max(pending.unwrap_or_default()));
        let latest = latest.filter(|time_ms| *time_ms != UNUSED);
        Ok(latest.map(|time_ms| SystemTime::UNIX_EPOCH + Duration::from_millis(to_u64(time_ms))))
    }

    /// Sets the access time of an object to now, in the index file at once. This ends a hold.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_accessed_now(self, sha256: Sha256) -> Result<(), DiskError> {
        self.set_access_time(sha256, now())
    }

    /// Excludes an object from eviction.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn hold(self, sha256: Sha256) -> Result<(), DiskError> {
        self.set_access_time(sha256, EVICTION_HOLD)
    }

    /// Returns held objects that wait for no upload, up to `MAX_HOLDS`. They are pinned, or their
    /// hold has no reason any more.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn held_without_upload(self) -> Result<Vec<Sha256>, DiskError> {
        query_digests(
            self.connection,
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
    pub fn release_hold(self, sha256: Sha256) -> Result<(), DiskError> {
        let sql = "UPDATE objects SET accessed_at = ?2 WHERE sha256 = ?1 AND accessed_at = ?3";
        let transaction = self.connection.write()?;
        transaction.execute(sql, params![sha256.as_bytes(), now(), EVICTION_HOLD])?;
        transaction.commit()
    }

    fn set_access_time(self, sha256: Sha256, accessed_at: i64) -> Result<(), DiskError> {
        self.connection
            .apply(IndexChange::SetAccessTime(sha256, accessed_at))
    }

    /// Returns up to `count` observed objects that are not held, the least recently used first.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn observed_candidates(self, count: usize) -> Result<Vec<Sha256>, DiskError> {
        query_digests(
            self.connection,
            "SELECT sha256 FROM objects WHERE is_observed AND accessed_at < ?1
             ORDER BY accessed_at LIMIT ?2",
            EVICTION_HOLD,
            count,
        )
    }

    /// Returns up to `count` objects that are not held and wait for no upload, the least recently
    /// used first.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn candidates(self, count: usize) -> Result<Vec<Sha256>, DiskError> {
        query_digests(
            self.connection,
            "SELECT sha256 FROM objects
             WHERE accessed_at < ?1
             AND NOT EXISTS (SELECT 1 FROM pending WHERE pending.sha256 = objects.sha256)
             ORDER BY accessed_at LIMIT ?2",
            EVICTION_HOLD,
            count,
        )
    }

    /// Records in memory that an object is accessed now. [`LruOrder::flush_access_times`] writes
    /// it.
    pub fn record_access(self, sha256: Sha256) {
        let mut access_times = lock(self.access_times);
        // Beyond the bound an access is dropped. The object then counts as less recently used.
        if access_times.len() < MAX_PENDING_ACCESS_TIMES || access_times.contains_key(&sha256) {
            access_times.insert(sha256, now());
        }
    }

    /// Makes an object the first candidate for eviction, unless an access was recorded. A later
    /// access makes it one like the others.
    pub fn record_unused(self, sha256: Sha256) {
        let mut access_times = lock(self.access_times);
        if access_times.len() < MAX_PENDING_ACCESS_TIMES {
            access_times.entry(sha256).or_insert(UNUSED);
        }
    }

    /// Writes the recorded access times, except those of held objects. They stay in memory if the
    /// index cannot be written.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index is damaged.
    pub fn flush_access_times(self) -> Result<(), DiskError> {
        let access_times = std::mem::take(&mut *lock(self.access_times));
        if access_times.is_empty() {
            return Ok(());
        }
        match self.write_access_times(&access_times) {
            Err(error) if error.is_index_unavailable() => {
                let mut newer = lock(self.access_times);
                for (sha256, accessed_at) in access_times {
                    newer.entry(sha256).or_insert(accessed_at);
                }
                Ok(())
            }
            written => written,
        }
    }

    fn write_access_times(self, access_times: &HashMap<Sha256, i64>) -> Result<(), DiskError> {
        let transaction = self.connection.write()?;
        {
            let sql = "UPDATE objects SET accessed_at = ?2 WHERE sha256 = ?1 AND accessed_at < ?3";
            let mut statement = transaction.prepare_cached(sql)?;
            for (sha256, accessed_at) in access_times {
                statement.execute(params![sha256.as_bytes(), accessed_at, EVICTION_HOLD])?;
            }
        }
        transaction.commit()
    }
}
