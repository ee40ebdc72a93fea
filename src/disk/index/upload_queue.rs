//! The upload queue of the index.
//!
//! If the index is lost, reindexing fills the queue again from the markers in the folder. This file
//! must not know how the bucket is reached. Its main type is [`UploadQueue`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension as _, params};

use super::change::IndexChange;
use super::connection::IndexConnection;
use super::database::{now, to_i64};
use super::pending_upload::{PendingUpload, enqueue};
use crate::disk::DiskError;
use crate::model::{Key, Sha256};

/// Time for which a process does not dequeue the same upload again, in milliseconds.
const LEASE_MS: i64 = 6 * 3600 * 1000;

/// Objects and records that wait for their upload. All processes of the folder share the queue.
#[derive(Clone, Copy)]
pub struct UploadQueue<'a> {
    connection: &'a IndexConnection,
}

impl<'a> UploadQueue<'a> {
    pub(super) fn new(connection: &'a IndexConnection) -> Self {
        Self { connection }
    }

    /// Sets the bucket that the queue and the list of its objects belong to. Returns true if it was
    /// another bucket or none. Both are empty then.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_bucket(self, id: &str) -> Result<bool, DiskError> {
        let transaction = self.connection.write()?;
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

    /// Returns the number of queued uploads, those in progress included.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn length(self) -> Result<u64, DiskError> {
        let connection = self.connection.read();
        let count: i64 =
            connection.query_row("SELECT count(*) FROM pending", [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Returns when the upload that has waited longest was queued, by this index.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn oldest(self) -> Result<Option<SystemTime>, DiskError> {
        let connection = self.connection.read();
        let sql = "SELECT min(queued_at) FROM pending";
        let queued_at: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
        Ok(queued_at.map(|at| UNIX_EPOCH + Duration::from_millis(at.unsigned_abs())))
    }

    /// Returns the bucket that the queue and the list belong to, or `None` if there is no bucket.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn bucket(self) -> Result<Option<String>, DiskError> {
        Ok(self
            .connection
            .read()
            .query_row("SELECT id FROM bucket", [], |row| row.get(0))
            .optional()?)
    }

    /// Empties the queue and the list, because no process uploads any more.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_no_bucket(self) -> Result<(), DiskError> {
        let sql = "DELETE FROM pending; DELETE FROM in_bucket; DELETE FROM bucket;";
        let transaction = self.connection.write()?;
        transaction.execute_batch(sql)?;
        transaction.commit()
    }

    /// Adds an upload to the queue, now or later if the index cannot be written.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index is damaged.
    pub fn enqueue_published(self, pending: PendingUpload) -> Result<(), DiskError> {
        self.connection.apply(IndexChange::Enqueue(pending))
    }

    /// Adds uploads to the queue. Returns the number of those that were not in it.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn enqueue(self, pending: &[PendingUpload]) -> Result<u64, DiskError> {
        let transaction = self.connection.write()?;
        let mut added = 0;
        for upload in pending {
            added += enqueue(&transaction, *upload)?;
        }
        transaction.commit()?;
        Ok(added as u64)
    }

    /// Leases the due upload that has waited longest to this process, for `LEASE_MS`. Returns
    /// `None` if no upload is due.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn dequeue(self, process: &str) -> Result<Option<PendingUpload>, DiskError> {
        let transaction = self.connection.write()?;
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
    pub fn requeue(self, pending: PendingUpload, wait_ms: u64) -> Result<(), DiskError> {
        let sql =
            "UPDATE pending SET holder = NULL, not_before = ?3 WHERE sha256 = ?1 AND key = ?2";
        let at = now().saturating_add(to_i64(wait_ms));
        let transaction = self.connection.write()?;
        transaction.execute(
            sql,
            params![pending.sha256.as_bytes(), pending.key.as_bytes(), at],
        )?;
        transaction.commit()
    }

    /// Removes an upload from the queue.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn remove(self, pending: PendingUpload) -> Result<(), DiskError> {
        let sql = "DELETE FROM pending WHERE sha256 = ?1 AND key = ?2";
        let transaction = self.connection.write()?;
        transaction.execute(
            sql,
            params![pending.sha256.as_bytes(), pending.key.as_bytes()],
        )?;
        transaction.commit()
    }
}
