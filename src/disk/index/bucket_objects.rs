//! The list of objects that were seen in the bucket, for look-ups without a request to it.
//!
//! If the index is lost, the next inventory of the bucket fills the list again. This file must not
//! know how the bucket is reached. Its main type is [`BucketObjects`].

use rusqlite::{OptionalExtension as _, params};

use super::connection::IndexConnection;
use super::database::{now, to_i64, to_u64};
use crate::disk::DiskError;
use crate::model::Sha256;

/// Objects that were seen in the bucket, with their sizes and the times at which they were seen.
#[derive(Clone, Copy)]
pub struct BucketObjects<'a> {
    connection: &'a IndexConnection,
}

impl<'a> BucketObjects<'a> {
    pub(super) fn new(connection: &'a IndexConnection) -> Self {
        Self { connection }
    }

    /// Records that objects of these sizes, in bytes, were seen in the bucket now.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn record(self, seen: &[(Sha256, u64)]) -> Result<(), DiskError> {
        // A client may be waiting, and the list is only a hint.
        let transaction = self.connection.try_write()?;
        {
            let mut statement = transaction
                .prepare_cached("INSERT OR REPLACE INTO in_bucket VALUES (?1, ?2, ?3)")?;
            for (sha256, size_bytes) in seen {
                statement.execute(params![sha256.as_bytes(), to_i64(*size_bytes), now()])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Returns whether an object of `size_bytes` was seen in the bucket at `since` or later, in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn was_seen(self, sha256: Sha256, size_bytes: u64, since: i64) -> Result<bool, DiskError> {
        let sql = "SELECT count(*) FROM in_bucket
                   WHERE sha256 = ?1 AND size_bytes = ?2 AND seen_at >= ?3";
        let count: i64 = self.connection.read().query_row(
            sql,
            params![sha256.as_bytes(), to_i64(size_bytes), since],
            |row| row.get(0),
        )?;
        Ok(count > 0)
    }

    /// Returns the size in bytes of an object that was seen in the bucket at `since` or later, in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn seen_since(self, sha256: Sha256, since: i64) -> Result<Option<u64>, DiskError> {
        let sql = "SELECT size_bytes FROM in_bucket WHERE sha256 = ?1 AND seen_at >= ?2";
        let connection = self.connection.read();
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement
            .query_row(params![sha256.as_bytes(), since], |row| row.get(0))
            .optional()?
            .map(to_u64))
    }

    /// Removes objects that were last seen before `since`, in milliseconds since 1970. A complete
    /// listing has run since.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn remove_unseen(self, since: i64) -> Result<(), DiskError> {
        let transaction = self.connection.write()?;
        transaction.execute("DELETE FROM in_bucket WHERE seen_at < ?1", [since])?;
        transaction.commit()
    }

    /// Removes an object from the list of objects in the bucket.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn remove(self, sha256: Sha256) -> Result<(), DiskError> {
        let transaction = self.connection.write()?;
        transaction.execute(
            "DELETE FROM in_bucket WHERE sha256 = ?1",
            [sha256.as_bytes()],
        )?;
        transaction.commit()
    }
}
