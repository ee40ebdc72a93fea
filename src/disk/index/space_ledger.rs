//! Account of the space that objects, small files and unfinished bodies take on the disk.
//!
//! This file must not know what is evicted for more space. Its main type is [`SpaceLedger`].

use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::database::{to_i64, to_u64};
use crate::disk::DiskError;
use crate::disk::metadata_ledger::{FileUse, FileUseChange, MetadataKind};
use crate::model::{Sha256, lock};

/// Divisor of `cache.max_size` for the bytes of small files that count in it, one half. With more
/// of them, objects still have the other half.
const METADATA_DIVISOR: u64 = 2;

/// Account of the space on the disk. All processes of the folder share it.
#[derive(Debug, Clone, Copy)]
pub struct SpaceLedger<'a> {
    connection: &'a Mutex<Connection>,
}

/// Outcome of a request for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// The space is reserved.
    Granted,
    /// Nothing is reserved. This many bytes must be evicted first.
    Short(u64),
}

/// Sums of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerTotals {
    /// Length of all objects, in bytes.
    pub cached_bytes: u64,
    pub objects: FileUse,
    pub records: FileUse,
    /// Observations, digests and compacted records.
    pub others: FileUse,
    /// Unfinished bodies.
    pub staged: FileUse,
}

impl LedgerTotals {
    /// Returns the bytes of objects and small files that count in `max_size_bytes`.
    pub fn counted_bytes(&self, max_size_bytes: u64) -> u64 {
        let metadata_bytes = self.records.bytes.saturating_add(self.others.bytes);
        let metadata_bytes = metadata_bytes.min(max_size_bytes / METADATA_DIVISOR);
        self.objects.bytes.saturating_add(metadata_bytes)
    }
}

impl<'a> SpaceLedger<'a> {
    pub(super) fn new(connection: &'a Mutex<Connection>) -> Self {
        Self { connection }
    }

    /// Returns the sums as the index has them.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn totals(self) -> Result<LedgerTotals, DiskError> {
        let sql = "SELECT cached_bytes, disk_bytes, objects, record_bytes, record_inodes,
                    other_bytes, other_inodes,
                    (SELECT coalesce(sum(size_bytes), 0) FROM reservations),
                    (SELECT count(*) FROM reservations)
                   FROM ledger";
        let totals = lock(self.connection).query_row(sql, [], |row| {
            let files = |first: usize| {
                Ok::<_, rusqlite::Error>(FileUse {
                    bytes: to_u64(row.get(first)?),
                    inodes: to_u64(row.get(first + 1)?),
                })
            };
            Ok(LedgerTotals {
                cached_bytes: to_u64(row.get(0)?),
                objects: files(1)?,
                records: files(3)?,
                others: files(5)?,
                staged: files(7)?,
            })
        });
        Ok(totals?)
    }

    /// Returns the bytes that observed objects take on the disk.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn observed_bytes(self) -> Result<u64, DiskError> {
        Ok(lock(self.connection)
            .query_row("SELECT observed_bytes FROM ledger", [], |row| row.get(0))
            .map(to_u64)?)
    }

    /// Adds a change of the small files of one kind.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn add_metadata(self, kind: MetadataKind, change: FileUseChange) -> Result<(), DiskError> {
        let sql = match kind {
            MetadataKind::Records => {
                "UPDATE ledger SET record_bytes = max(0, record_bytes + ?1),
                    record_inodes = max(0, record_inodes + ?2)"
            }
            MetadataKind::Others => {
                "UPDATE ledger SET other_bytes = max(0, other_bytes + ?1),
                    other_inodes = max(0, other_inodes + ?2)"
            }
        };
        lock(self.connection).execute(sql, params![change.bytes, change.inodes])?;
        Ok(())
    }

    /// Replaces the sums of the small files of one kind, which were counted on the disk.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_metadata(self, kind: MetadataKind, counted: FileUse) -> Result<(), DiskError> {
        let sql = match kind {
            MetadataKind::Records => "UPDATE ledger SET record_bytes = ?1, record_inodes = ?2",
            MetadataKind::Others => "UPDATE ledger SET other_bytes = ?1, other_inodes = ?2",
        };
        let (bytes, inodes) = (to_i64(counted.bytes), to_i64(counted.inodes));
        lock(self.connection).execute(sql, params![bytes, inodes])?;
        Ok(())
    }

    /// Reserves a total of `size_bytes` for the body `id` of a process. This replaces an earlier
    /// reservation of the same body. Everything together stays within `limit_bytes`.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn reserve(
        self,
        (process, id): (&str, u64),
        size_bytes: u64,
        limit_bytes: u64,
    ) -> Result<Reservation, DiskError> {
        let mut connection = lock(self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let missing_bytes = others_bytes(&transaction, (process, id), limit_bytes)?
            .saturating_add(size_bytes)
            .saturating_sub(limit_bytes);
        if missing_bytes > 0 {
            return Ok(Reservation::Short(missing_bytes));
        }
        transaction.execute(
            "INSERT OR REPLACE INTO reservations VALUES (?1, ?2, ?3)",
            params![process, to_i64(id), to_i64(size_bytes)],
        )?;
        transaction.commit()?;
        Ok(Reservation::Granted)
    }

    /// Returns how many bytes must be evicted before `size_bytes` can be reserved for a body.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn missing_bytes(
        self,
        body: (&str, u64),
        size_bytes: u64,
        limit_bytes: u64,
    ) -> Result<u64, DiskError> {
        let others_bytes = others_bytes(&lock(self.connection), body, limit_bytes)?;
        Ok(others_bytes
            .saturating_add(size_bytes)
            .saturating_sub(limit_bytes))
    }

    /// Releases the reservation of one body.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn release(self, process: &str, id: u64) -> Result<(), DiskError> {
        let sql = "DELETE FROM reservations WHERE process = ?1 AND id = ?2";
        lock(self.connection).execute(sql, params![process, to_i64(id)])?;
        Ok(())
    }

    /// Removes an object that was evicted. Its last access is remembered while it has records.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn remove_evicted(self, sha256: Sha256) -> Result<(), DiskError> {
        let mut connection = lock(self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT OR REPLACE INTO evicted SELECT sha256, accessed_at FROM objects
             WHERE sha256 = ?1 AND NOT is_observed",
            [sha256.as_bytes()],
        )?;
        transaction.execute("DELETE FROM objects WHERE sha256 = ?1", [sha256.as_bytes()])?;
        transaction.commit()?;
        Ok(())
    }

    /// Returns the last access of an evicted object, in milliseconds since 1970, if it is known.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn evicted_access(self, sha256: Sha256) -> Result<Option<i64>, DiskError> {
        let sql = "SELECT accessed_at FROM evicted WHERE sha256 = ?1";
        let connection = lock(self.connection);
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement
            .query_row([sha256.as_bytes()], |row| row.get(0))
            .optional()?)
    }

    /// Forgets the last access of an evicted object.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn forget_evicted(self, sha256: Sha256) -> Result<(), DiskError> {
        let sql = "DELETE FROM evicted WHERE sha256 = ?1";
        lock(self.connection).execute(sql, [sha256.as_bytes()])?;
        Ok(())
    }

    /// Forgets the evicted objects that were accessed least recently, down to `count`.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn trim_evicted(self, count: u64) -> Result<(), DiskError> {
        let sql = "DELETE FROM evicted WHERE sha256 IN (SELECT sha256 FROM evicted
                    ORDER BY accessed_at DESC LIMIT -1 OFFSET ?1)";
        lock(self.connection).execute(sql, [to_i64(count)])?;
        Ok(())
    }
}

/// Returns the bytes that count, without the reservation of one body.
fn others_bytes(
    connection: &Connection,
    (process, id): (&str, u64),
    limit_bytes: u64,
) -> Result<u64, rusqlite::Error> {
    let sql = "SELECT (SELECT disk_bytes + min(record_bytes + other_bytes, ?3) FROM ledger)
             + (SELECT coalesce(sum(size_bytes), 0) FROM reservations
                WHERE NOT (process = ?1 AND id = ?2))";
    let metadata_limit = to_i64(limit_bytes / METADATA_DIVISOR);
    connection
        .query_row(sql, params![process, to_i64(id), metadata_limit], |row| {
            row.get(0)
        })
        .map(to_u64)
}
