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
use super::upload_lease::{UploadLease, UploadsInProgress};
use crate::disk::DiskError;
use crate::model::{Key, Sha256, lock};

/// Time for which no other process dequeues the same upload, in milliseconds.
const LEASE_MS: i64 = 6 * 3600 * 1000;

/// Objects and records that wait for their upload. All processes of the folder share the queue.
#[derive(Clone, Copy)]
pub struct UploadQueue<'a> {
    connection: &'a IndexConnection,
    in_progress: &'a UploadsInProgress,
}

impl<'a> UploadQueue<'a> {
    pub(super) fn new(connection: &'a IndexConnection, in_progress: &'a UploadsInProgress) -> Self {
        Self {
            connection,
            in_progress,
        }
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
    /// `None` if no upload is due. An upload that this process leased is due if no worker has it.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn dequeue(self, process: &str) -> Result<Option<UploadLease>, DiskError> {
        let transaction = self.connection.write()?;
        let mut in_progress = lock(self.in_progress);
        let sql = "SELECT sha256, key FROM pending
                   WHERE (not_before <= ?1 AND holder IS NULL) OR holder = ?2
                   ORDER BY not_before LIMIT ?3";
        // One more than those that workers have.
        let limit = to_i64(in_progress.len() as u64 + 1);
        let found = transaction
            .prepare_cached(sql)?
            .query_map(params![now(), process, limit], |row| {
                Ok(PendingUpload {
                    sha256: Sha256::from_bytes(row.get(0)?),
                    key: Key::from_bytes(row.get(1)?),
                })
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let free = |upload: &PendingUpload| !in_progress.contains(upload);
        let Some(upload) = found.into_iter().find(free) else {
            return Ok(None);
        };
        let sql = "UPDATE pending SET holder = ?3, not_before = ?4 WHERE sha256 = ?1 AND key = ?2";
        let until = now().saturating_add(LEASE_MS);
        transaction.execute(
            sql,
            params![
                upload.sha256.as_bytes(),
                upload.key.as_bytes(),
                process,
                until
            ],
        )?;
        transaction.commit()?;
        Ok(Some(UploadLease::new(
            upload,
            &mut in_progress,
            self.in_progress,
        )))
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

#[cfg(test)]
mod tests {
    use super::super::database::connect;
    use super::*;
    use crate::disk::layout::Layout;

    #[test]
    fn dropped_lease_is_due_at_once() {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let (connection, _) = connect(&Layout::new(folder.path())).expect("it can be created");
        let (connection, in_progress) = (
            IndexConnection::new(connection),
            UploadsInProgress::default(),
        );
        let queue = UploadQueue::new(&connection, &in_progress);
        let upload = |byte: u8| PendingUpload {
            key: Key::from_bytes([byte; 32]),
            sha256: Sha256::from_bytes([byte; 32]),
        };
        let added = queue.enqueue(&[upload(1), upload(2)]);
        assert_eq!(added.expect("the queue can be written"), 2);
        let take = || queue.dequeue("one").expect("the queue can be read");
        let (first, second) = (take().expect("one is due"), take().expect("one is due"));
        assert_ne!(*first, *second);
        assert!(take().is_none(), "workers of this process have both");
        let lost = *first;
        drop(first);
        let other = queue.dequeue("two").expect("the queue can be read");
        assert!(other.is_none(), "this process has leased both");
        assert_eq!(*take().expect("no worker has it"), lost);
        drop(second);
    }
}
