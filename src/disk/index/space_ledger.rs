//! Account of the space that objects, small files and unfinished bodies take on the disk.
//!
//! This file must not know what is evicted for more space. Its main type is [`SpaceLedger`].

use rusqlite::{Connection, OptionalExtension as _, params};

use super::change::IndexChange;
use super::connection::IndexConnection;
use super::database::{to_i64, to_u64};
use super::statements::{execute, query_row};
use crate::disk::DiskError;
use crate::disk::metadata_ledger::{FileUse, FileUseChange, MetadataKind};
use crate::model::Sha256;

/// Divisor of `cache.max_size` for the bytes of small files that count in it, one half. With more
/// of them, objects still have the other half.
const METADATA_DIVISOR: u64 = 2;

/// Account of the space on the disk. All processes of the folder share it.
#[derive(Clone, Copy)]
pub struct SpaceLedger<'a> {
    connection: &'a IndexConnection,
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
    pub(super) fn new(connection: &'a IndexConnection) -> Self {
        Self { connection }
    }

    /// Returns the sums of the index, with the objects whose change is not written yet.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn totals(self) -> Result<LedgerTotals, DiskError> {
        let sql = "SELECT cached_bytes, disk_bytes, objects, record_bytes, record_inodes,
                    other_bytes, other_inodes,
                    (SELECT coalesce(sum(size_bytes), 0) FROM reservations),
                    (SELECT count(*) FROM reservations)
                   FROM ledger";
        let connection = self.connection.read();
        let mut totals = query_row(&connection, sql, [], |row| {
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
        })?;
        let deferred_bytes = self.connection.deferred_bytes();
        totals.objects.bytes = totals.objects.bytes.saturating_add_signed(deferred_bytes);
        Ok(totals)
    }

    /// Returns the bytes that observed objects take on the disk.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn observed_bytes(self) -> Result<u64, DiskError> {
        let (connection, sql) = (self.connection.read(), "SELECT observed_bytes FROM ledger");
        Ok(query_row(&connection, sql, [], |row| row.get(0)).map(to_u64)?)
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
        let transaction = self.connection.write()?;
        execute(&transaction, sql, params![change.bytes, change.inodes])?;
        transaction.commit()
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
        let transaction = self.connection.write()?;
        execute(&transaction, sql, params![bytes, inodes])?;
        transaction.commit()
    }

    /// Reserves a total of `size_bytes` for the body `id` of this process. This replaces an earlier
    /// reservation of the same body. Everything together stays within `limit_bytes`. If the index
    /// cannot be written, the reservation is kept in memory.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index is damaged.
    pub fn reserve(
        self,
        body: (&str, u64),
        size_bytes: u64,
        limit_bytes: u64,
    ) -> Result<Reservation, DiskError> {
        match self.reserve_in_file(body, size_bytes, limit_bytes) {
            Err(error) if error.is_index_unavailable() => {
                let missing_bytes = match self.missing_bytes(body, size_bytes, limit_bytes) {
                    // The free space of the file system still bounds the body.
                    Err(error) if error.is_index_unavailable() => 0,
                    missing_bytes => missing_bytes?,
                };
                if missing_bytes > 0 {
                    return Ok(Reservation::Short(missing_bytes));
                }
                self.connection.unrecorded().insert(body.1, size_bytes);
                Ok(Reservation::Granted)
            }
            reserved => reserved,
        }
    }

    fn reserve_in_file(
        self,
        (process, id): (&str, u64),
        size_bytes: u64,
        limit_bytes: u64,
    ) -> Result<Reservation, DiskError> {
        let transaction = self.connection.try_write()?;
        let missing_bytes = others_bytes(&transaction, (process, id), limit_bytes)?
            .saturating_add(self.unrecorded_bytes(id))
            .saturating_add(size_bytes)
            .saturating_sub(limit_bytes);
        if missing_bytes > 0 {
            return Ok(Reservation::Short(missing_bytes));
        }
        execute(
            &transaction,
            "INSERT OR REPLACE INTO reservations VALUES (?1, ?2, ?3)",
            params![process, to_i64(id), to_i64(size_bytes)],
        )?;
        transaction.commit()?;
        self.connection.unrecorded().remove(&id);
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
        let connection = self.connection.read();
        let others_bytes = others_bytes(&connection, body, limit_bytes)?
            .saturating_add_signed(self.connection.deferred_bytes());
        drop(connection);
        Ok(others_bytes
            .saturating_add(self.unrecorded_bytes(body.1))
            .saturating_add(size_bytes)
            .saturating_sub(limit_bytes))
    }

    /// Returns the bytes that are reserved for other bodies and missing in the file.
    fn unrecorded_bytes(self, id: u64) -> u64 {
        let unrecorded = self.connection.unrecorded();
        let others = unrecorded.iter().filter(|(other, _)| **other != id);
        others.map(|(_, size_bytes)| size_bytes).sum()
    }

    /// Releases the reservation of one body.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index is damaged.
    pub fn release(self, process: &str, id: u64) -> Result<(), DiskError> {
        self.connection.unrecorded().remove(&id);
        self.connection.apply(IndexChange::Release {
            process: process.to_owned(),
            id,
        })
    }

    /// Removes an object that was evicted. Its last access is remembered while it has records.
    /// `freed_bytes` are those that its file took on the disk.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index is damaged.
    pub fn remove_evicted(self, sha256: Sha256, freed_bytes: u64) -> Result<(), DiskError> {
        self.connection.apply(IndexChange::RemoveEvicted {
            sha256,
            freed_bytes,
        })
    }

    /// Returns the last access of an evicted object, in milliseconds since 1970, if it is known.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn evicted_access(self, sha256: Sha256) -> Result<Option<i64>, DiskError> {
        let sql = "SELECT accessed_at FROM evicted WHERE sha256 = ?1";
        let connection = self.connection.read();
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
        let transaction = self.connection.write()?;
        execute(&transaction, sql, [sha256.as_bytes()])?;
        transaction.commit()
    }

    /// Forgets the evicted objects that were accessed least recently, down to `count`.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn trim_evicted(self, count: u64) -> Result<(), DiskError> {
        let sql = "DELETE FROM evicted WHERE sha256 IN (SELECT sha256 FROM evicted
                    ORDER BY accessed_at DESC LIMIT -1 OFFSET ?1)";
        let transaction = self.connection.write()?;
        execute(&transaction, sql, [to_i64(count)])?;
        transaction.commit()
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
    let params = params![process, to_i64(id), metadata_limit];
    query_row(connection, sql, params, |row| row.get(0)).map(to_u64)
}
