//! What the index knows of the bucket: what is still to be uploaded, and what was seen there.
//!
//! The markers in the folder say the same; from them this is filled again.

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Index, lock, now, to_i64, to_u64};
use crate::disk::DiskError;
use crate::model::{Key, Sha256};

/// How long what was taken out of the queue is not taken again by the same instance, in
/// milliseconds.
const LEASE_MS: i64 = 6 * 3600 * 1000;

/// A record that the bucket is to get, with its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingUpload {
    pub key: Key,
    pub sha256: Sha256,
}

impl Index {
    /// Says which bucket this is all about. True if it was another one, or none: then nothing is
    /// known of this one.
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

    /// The bucket that this is all about, if there is one.
    pub fn bucket(&self) -> Result<Option<String>, DiskError> {
        Ok(lock(&self.connection)
            .query_row("SELECT id FROM bucket", [], |row| row.get(0))
            .optional()?)
    }

    /// Nothing is uploaded any more, so that nothing waits for it either.
    pub fn set_no_bucket(&self) -> Result<(), DiskError> {
        let sql = "DELETE FROM pending; DELETE FROM in_bucket; DELETE FROM bucket;";
        lock(&self.connection).execute_batch(sql)?;
        Ok(())
    }

    /// Puts something into the queue, if it is not there yet.
    pub fn enqueue(&self, pending: &[PendingUpload]) -> Result<u64, DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut added = 0;
        for one in pending {
            added += transaction.execute(
                "INSERT OR IGNORE INTO pending VALUES (?1, ?2, 0, NULL)",
                params![one.sha256.as_bytes(), one.key.as_bytes()],
            )?;
        }
        transaction.commit()?;
        Ok(added as u64)
    }

    /// Takes what has waited longest out of those whose time has come, for this instance alone.
    pub fn dequeue(&self, process: &str) -> Result<Option<PendingUpload>, DiskError> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // What this instance itself has taken so long ago it has lost sight of.
        let sql = "SELECT sha256, key FROM pending WHERE not_before <= ?1 AND (holder IS NULL OR holder = ?2)
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

    /// Puts what was taken back, until so many milliseconds from now.
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

    pub fn remove_upload(&self, pending: PendingUpload) -> Result<(), DiskError> {
        let sql = "DELETE FROM pending WHERE sha256 = ?1 AND key = ?2";
        lock(&self.connection).execute(
            sql,
            params![pending.sha256.as_bytes(), pending.key.as_bytes()],
        )?;
        Ok(())
    }

    /// Notes what was seen in the bucket just now.
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

    /// Whether an object of this length was seen in the bucket since a time, in milliseconds since
    /// 1970.
    pub fn was_seen_in_bucket(
        &self,
        sha256: Sha256,
        size_bytes: u64,
        since: i64,
    ) -> Result<bool, DiskError> {
        let sql = "SELECT count(*) FROM in_bucket WHERE sha256 = ?1 AND size_bytes = ?2 AND seen_at >= ?3";
        let count: i64 = lock(&self.connection).query_row(
            sql,
            params![sha256.as_bytes(), to_i64(size_bytes), since],
            |row| row.get(0),
        )?;
        Ok(count > 0)
    }

    /// The length of an object that was seen in the bucket since a time.
    pub fn seen_since(&self, sha256: Sha256, since: i64) -> Result<Option<u64>, DiskError> {
        let sql = "SELECT size_bytes FROM in_bucket WHERE sha256 = ?1 AND seen_at >= ?2";
        let connection = lock(&self.connection);
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement
            .query_row(params![sha256.as_bytes(), since], |row| row.get(0))
            .optional()?
            .map(to_u64))
    }

    /// Forgets what was seen before a time: a whole listing has gone by since.
    pub fn remove_unseen(&self, since: i64) -> Result<(), DiskError> {
        lock(&self.connection).execute("DELETE FROM in_bucket WHERE seen_at < ?1", [since])?;
        Ok(())
    }

    pub fn remove_in_bucket(&self, sha256: Sha256) -> Result<(), DiskError> {
        lock(&self.connection).execute(
            "DELETE FROM in_bucket WHERE sha256 = ?1",
            [sha256.as_bytes()],
        )?;
        Ok(())
    }
}

/// Frees what dead processes had taken out of the queue.
pub(super) fn release_all_but(
    transaction: &Transaction<'_>,
    live: &[String],
) -> Result<(), DiskError> {
    let holders: Vec<String> = transaction
        .prepare("SELECT DISTINCT holder FROM pending WHERE holder IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for dead in holders.iter().filter(|holder| !live.contains(holder)) {
        transaction.execute(
            "UPDATE pending SET holder = NULL, not_before = 0 WHERE holder = ?1",
            [dead],
        )?;
    }
    Ok(())
}
