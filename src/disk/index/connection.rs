//! The connection to the index, and what is known about the lock of its file.
//!
//! Reads never wait for other processes. A write waits 250 ms at most. If another
//! process holds the lock longer, the writes of the next `BUSY_PAUSE` fail at once, and changes
//! wait in a bounded queue. This file must not know the tables. Its main type is
//! [`IndexConnection`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::change::IndexChange;
use crate::disk::DiskError;
use crate::disk::index_error::is_busy;
use crate::model::{Sha256, lock};

/// Time for which the lock is not tried after a write did not get it.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Bound on the changes that wait until the index can be written. Beyond it the index is compared
/// with the files.
const MAX_DEFERRED: usize = 10_000;

/// The connection to the index. It may be replaced by one to another file.
pub struct IndexConnection {
    connection: Mutex<Connection>,
    held_lock: Mutex<Option<HeldLock>>,
    deferred: Mutex<VecDeque<IndexChange>>,
    has_lost_changes: AtomicBool,
    /// Bytes that are reserved for bodies of this process, by number, and missing in the file.
    unrecorded: Mutex<HashMap<u64, u64>>,
}

/// Lock of the index that another process holds.
#[derive(Debug, Clone, Copy)]
struct HeldLock {
    since: Instant,
    retry_at: Instant,
}

/// A transaction that writes. Dropping it rolls it back.
pub struct WriteTransaction<'a> {
    connection: MutexGuard<'a, Connection>,
    is_open: bool,
}

impl IndexConnection {
    pub fn new(connection: Connection) -> Self {
        Self {
            connection: Mutex::new(connection),
            held_lock: Mutex::default(),
            deferred: Mutex::default(),
            has_lost_changes: AtomicBool::new(false),
            unrecorded: Mutex::default(),
        }
    }

    /// Returns the connection for reads.
    pub fn read(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    /// Replaces the connection.
    pub fn replace(&self, connection: Connection) {
        *lock(&self.connection) = connection;
    }

    /// Begins a transaction that writes, and applies the changes that wait in the queue.
    ///
    /// # Errors
    /// [`DiskError::IndexBusy`] if another process holds the lock, otherwise
    /// [`DiskError::Index`].
    pub fn write(&self) -> Result<WriteTransaction<'_>, DiskError> {
        self.check_pause()?;
        let connection = lock(&self.connection);
        // Another thread may have found the lock held while this one waited for the connection.
        self.check_pause()?;
        match connection.execute_batch("BEGIN IMMEDIATE") {
            Ok(()) => self.note_free(),
            Err(error) if is_busy(&error) => {
                self.note_held();
                return Err(DiskError::IndexBusy);
            }
            Err(error) => return Err(error.into()),
        }
        let transaction = WriteTransaction {
            connection,
            is_open: true,
        };
        self.apply_deferred(transaction)
    }

    /// Applies a change now, or later if the index cannot be written.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the file is damaged.
    pub fn apply(&self, change: IndexChange) -> Result<(), DiskError> {
        let applied = self.write().and_then(|transaction| {
            change.apply(&transaction)?;
            transaction.commit()
        });
        match applied {
            Err(error) if error.is_index_unavailable() => {
                self.defer(change);
                Ok(())
            }
            applied => applied,
        }
    }

    fn defer(&self, change: IndexChange) {
        let mut deferred = lock(&self.deferred);
        if deferred.len() < MAX_DEFERRED {
            deferred.push_back(change);
        } else if !self.has_lost_changes.swap(true, Ordering::AcqRel) {
            tracing::warn!("index cannot be written, will be compared with the files later");
        }
    }

    /// Applies the queue in a transaction of its own, then begins the transaction of the caller.
    fn apply_deferred<'a>(
        &'a self,
        transaction: WriteTransaction<'a>,
    ) -> Result<WriteTransaction<'a>, DiskError> {
        let mut deferred = lock(&self.deferred);
        if deferred.is_empty() {
            return Ok(transaction);
        }
        for change in deferred.iter() {
            change.apply(&transaction)?;
        }
        transaction
            .connection
            .execute_batch("COMMIT; BEGIN IMMEDIATE")?;
        tracing::info!(changes = deferred.len(), "applied changes to the index");
        deferred.clear();
        Ok(transaction)
    }

    /// Returns whether changes wait in the queue.
    pub fn has_deferred(&self) -> bool {
        !lock(&self.deferred).is_empty()
    }

    /// Forgets the changes in the queue, because the index is filled from the files.
    pub fn forget_deferred(&self) {
        lock(&self.deferred).clear();
    }

    /// Returns whether changes were lost since [`IndexConnection::take_lost_changes`] was called.
    pub fn has_lost_changes(&self) -> bool {
        self.has_lost_changes.load(Ordering::Acquire)
    }

    /// Returns whether changes were lost since the last call.
    pub fn take_lost_changes(&self) -> bool {
        self.has_lost_changes.swap(false, Ordering::AcqRel)
    }

    /// Returns the time since which another process holds the lock of the file.
    pub fn locked_since(&self) -> Option<Instant> {
        lock(&self.held_lock).map(|held| held.since)
    }

    /// Returns the reservations that the file does not have.
    pub fn unrecorded(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        lock(&self.unrecorded)
    }

    /// Returns the bytes on the disk that the changes in the queue add to the account. Negative if
    /// they take more away. With the account, a caller holds the connection for both, or the queue
    /// may be applied in between.
    pub fn deferred_bytes(&self) -> i64 {
        let deferred = lock(&self.deferred);
        let bytes = deferred.iter().map(IndexChange::net_bytes);
        bytes.fold(0, i64::saturating_add)
    }

    /// Returns the bytes on the disk of evicted objects whose removal waits in the queue.
    pub fn deferred_freed_bytes(&self) -> u64 {
        let deferred = lock(&self.deferred);
        let bytes = deferred.iter().map(|change| change.net_bytes().min(0));
        bytes.fold(0, i64::saturating_add).unsigned_abs()
    }

    /// Returns the evicted objects whose removal waits in the queue.
    pub fn deferred_evictions(&self) -> HashSet<Sha256> {
        let deferred = lock(&self.deferred);
        deferred.iter().filter_map(IndexChange::evicted).collect()
    }

    fn check_pause(&self) -> Result<(), DiskError> {
        match *lock(&self.held_lock) {
            Some(held) if Instant::now() < held.retry_at => Err(DiskError::IndexBusy),
            _ => Ok(()),
        }
    }

    fn note_held(&self) {
        let mut known = lock(&self.held_lock);
        let now = Instant::now();
        if known.is_none() {
            tracing::warn!("another process holds the lock of the index, requests do not wait");
        }
        *known = Some(HeldLock {
            since: known.map_or(now, |held| held.since),
            retry_at: now + BUSY_PAUSE,
        });
    }

    fn note_free(&self) {
        if let Some(held) = lock(&self.held_lock).take() {
            let held_ms = held.since.elapsed().as_millis();
            tracing::info!(held_ms, "lock of the index is free again");
        }
    }
}

impl WriteTransaction<'_> {
    /// Commits the transaction.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails. Nothing is written then.
    pub fn commit(mut self) -> Result<(), DiskError> {
        self.connection.execute_batch("COMMIT")?;
        self.is_open = false;
        Ok(())
    }
}

impl Deref for WriteTransaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for WriteTransaction<'_> {
    fn drop(&mut self) {
        if self.is_open && !self.connection.is_autocommit() {
            // SQLite rolls back by itself if this fails.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
    }
}
