//! The upload queue, and the list of objects that were seen in the bucket.
//!
//! Both are filled again from the markers in the folder if the index is lost. This file must not
//! know how the bucket is reached. Its main type is [`PendingUpload`].

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use super::{Index, now, to_i64, to_u64};
use crate::disk::DiskError;
use crate::model::{Key, Sha256, lock};

/// Time for which a process does not dequeue the same upload again, in milliseconds.
const LEASE_MS: i64 = 6 * 3600 * 1000;

/// A record that must be uploaded together with its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingUpload {
    pub key: Key,
    pub sha256: Sha256,
}

impl Index {
    /// Sets the bucket that the queue and the list belong to. Returns true if it was another bucket
    /// or none. Both are empty then.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_bucket(&self, id: &str) -> Result<bool, DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known: i64 =
            transaction.query_row("SELECT count(*) FROM bucket WHERE id = ?1", [id], |row| {
                row.get(0)
            })?;
        if known == 0 {
            transaction
                .execute_batch("DELETE FROM pending; DELETE FROM in_bucket; DELETE FROM bucket;")?;
            transaction.execute("INSERT INTO bucket VALUES (?1)", [id])?;
        }
        transaction.commit()?;
        Ok(known == 0)
    }

    /// Returns the bucket that the queue and the list belong to, or `None` if there is no bucket.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn bucket(&self) -> Result<Option<String>, DiskError> {
        Ok(lock(&self.connection)
            .query_row("SELECT id FROM bucket", [], |row| row.get(0))
            .optional()?)
    }

    /// Empties the queue and the list, because no process uploads any more.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_no_bucket(&self) -> Result<(), DiskError> {
        let sql = "DELETE FROM pending; DELETE FROM in_bucket; DELETE FROM bucket;";
        lock(&self.connection).execute_batch(sql)?;
        Ok(())
    }

    /// Adds uploads to the queue. Returns the number of those that were not in it.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn enqueue(&self, pending: &[PendingUpload]) -> Result<u64, DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut added = 0;
        for upload in pending {
            added += transaction.execute(
                "INSERT OR IGNORE INTO pending VALUES (?1, ?2, 0, NULL)",
                params![upload.sha256.as_bytes(), upload.key.as_bytes()],
            )?;
        }
        transaction.commit()?;
        Ok(added as u64)
    }

    /// Leases the due upload that has waited longest to this process, for `LEASE_MS`. Returns
    /// `None` if no upload is due.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn dequeue(&self, process: &str) -> Result<Option<PendingUpload>, DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // If this process leased an upload so long ago, it does not work on it any more.
        let sql = "SELECT sha256, key FROM pending
                   WHERE not_before <= ?1 AND (holder IS NULL OR holder = ?2)
                   ORDER BY not_before LIMIT 1";
        let mut found = transaction
            .prepare_cached(sql)?
            .query_map(params![now(), process], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<Vec<([u8; 32], [u8; 32])>, _>>()?;
        let Some((sha256, key)) = found.pop() else {
            return Ok(None);
        };
        let sql = "UPDATE pending SET holder = ?3, not_before = ?4 WHERE sha256 = ?1 AND key = ?2";
        transaction.execute(
            sql,
            params![sha256, key, process, now().saturating_add(LEASE_MS)],
        )?;
        transaction.commit()?;
        Ok(Some(PendingUpload {
            key: Key::from_bytes(key),
            sha256: Sha256::from_bytes(sha256),
        }))
    }

    /// Ends the lease of an upload. The upload is due again in `wait_ms` milliseconds.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn requeue(&self, pending: PendingUpload, wait_ms: u64) -> Result<(), DiskError> {
        let sql =
            "UPDATE pending SET holder = NULL, not_before = ?3 WHERE sha256 = ?1 AND key = ?2";
        let at = now().saturating_add(to_i64(wait_ms));
        lock(&self.connection).execute(
            sql,
            params![pending.sha256.as_bytes(), pending.key.as_bytes(), at],
        )?;
        Ok(())
    }

    /// Removes an upload from the queue.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn remove_upload(&self, pending: PendingUpload) -> Result<(), DiskError> {
        let sql = "DELETE FROM pending WHERE sha256 = ?1 AND key = ?2";
        lock(&self.connection).execute(
            sql,
            params![pending.sha256.as_bytes(), pending.key.as_bytes()],
        )?;
        Ok(())
    }

    /// Records that objects of these sizes, in bytes, were seen in the bucket now.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn record_in_bucket(&self, seen: &[(Sha256, u64)]) -> Result<(), DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
    pub fn was_seen_in_bucket(
        &self,
        sha256: Sha256,
        size_bytes: u64,
        since: i64,
    ) -> Result<bool, DiskError> {
        let sql = "SELECT count(*) FROM in_bucket
                   WHERE sha256 = ?1 AND size_bytes = ?2 AND seen_at >= ?3";
        let count: i64 = lock(&self.connection).query_row(
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
    pub fn seen_since(&self, sha256: Sha256, since: i64) -> Result<Option<u64>, DiskError> {
        let sql = "SELECT size_bytes FROM in_bucket WHERE sha256 = ?1 AND seen_at >= ?2";
        let connection = lock(&self.connection);
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
    pub fn remove_unseen(&self, since: i64) -> Result<(), DiskError> {
        lock(&self.connection).execute("DELETE FROM in_bucket WHERE seen_at < ?1", [since])?;
        Ok(())
    }

    /// Removes an object from the list of objects in the bucket.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn remove_in_bucket(&self, sha256: Sha256) -> Result<(), DiskError> {
        lock(&self.connection).execute(
            "DELETE FROM in_bucket WHERE sha256 = ?1",
            [sha256.as_bytes()],
        )?;
        Ok(())
    }
}
