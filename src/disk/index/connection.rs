//! The connection to the index, and what is known about the lock of its file.
//!
//! Reads never wait for other processes. A change for a request tries the lock for a few
//! milliseconds, and then waits in a bounded queue. While another process holds the lock, only one
//! thread tries it (`background_writer.rs`). This file must not know the tables. Its main type is
//! [`IndexConnection`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::change::IndexChange;
use super::database::READ_TIMEOUT;
use crate::disk::DiskError;
use crate::disk::index_error::is_busy;
use crate::model::{Sha256, lock};

/// Bound on the time for which one write tries the lock. It holds the connection, and transactions
/// of other processes take less than a millisecond.
const TRY_TIMEOUT: Duration = Duration::from_millis(5);

/// Bound on the time for which a write that cannot wait in the queue tries the lock again.
pub const WRITE_TIMEOUT: Duration = Duration::from_millis(250);

/// Interval between two tries of such a write. The connection is free in between.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Bound on the changes that wait until the index can be written. Beyond it the index is compared
/// with the files.
const MAX_DEFERRED: usize = 10_000;

/// Lock of the index that another process holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldLock {
    pub since: Instant,
    pub is_reported: bool,
}

/// The connection to the index. It may be replaced by one to another file.
pub struct IndexConnection {
    connection: Mutex<Connection>,
    /// `Some` while another process holds the lock and the background writer waits for it.
    pub(super) held_lock: Mutex<Option<HeldLock>>,
    pub(super) this: Weak<Self>,
    deferred: Mutex<VecDeque<IndexChange>>,
    has_lost_changes: AtomicBool,
    /// Bytes that are reserved for bodies of this process, by number, and missing in the file.
    unrecorded: Mutex<HashMap<u64, u64>>,
}

/// A transaction that writes. Dropping it rolls it back.
pub struct WriteTransaction<'a> {
    connection: MutexGuard<'a, Connection>,
    is_open: bool,
}

impl IndexConnection {
    pub fn new(connection: Connection) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            connection: Mutex::new(connection),
            held_lock: Mutex::default(),
            this: Weak::clone(this),
            deferred: Mutex::default(),
            has_lost_changes: AtomicBool::new(false),
            unrecorded: Mutex::default(),
        })
    }

    /// Returns the connection for reads.
    pub fn read(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    /// Replaces the connection.
    pub fn replace(&self, connection: Connection) {
        *lock(&self.connection) = connection;
    }

    /// Begins a transaction that writes, and applies the changes that wait in the queue. Waits up
    /// to `WRITE_TIMEOUT` for another process, unless that has held the lock for longer already.
    ///
    /// # Errors
    /// [`DiskError::IndexBusy`] if another process holds the lock, otherwise
    /// [`DiskError::Index`].
    pub fn write(&self) -> Result<WriteTransaction<'_>, DiskError> {
        let start = Instant::now();
        loop {
            match self.try_write() {
                Err(DiskError::IndexBusy)
                    if start.elapsed() < WRITE_TIMEOUT && !self.is_held_long() =>
                {
                    thread::sleep(RETRY_INTERVAL);
                }
                result => return result,
            }
        }
    }

    /// As [`IndexConnection::write`], but waits for milliseconds only, and not at all while the
    /// background writer waits for the lock.
    ///
    /// # Errors
    /// As [`IndexConnection::write`].
    pub fn try_write(&self) -> Result<WriteTransaction<'_>, DiskError> {
        if self.locked_since().is_some() {
            return Err(DiskError::IndexBusy);
        }
        let connection = lock(&self.connection);
        // Another thread may have found the lock held while this one waited for the connection.
        if self.locked_since().is_some() {
            return Err(DiskError::IndexBusy);
        }
        let begun = self.begin(connection);
        if let Err(DiskError::IndexBusy) = &begun {
            self.write_in_background();
        }
        begun
    }

    /// Begins a transaction that writes, and applies the changes that wait in the queue.
    pub(super) fn begin<'a>(
        &'a self,
        connection: MutexGuard<'a, Connection>,
    ) -> Result<WriteTransaction<'a>, DiskError> {
        begin_immediate(&connection)?;
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
        let applied = self.try_write().and_then(|transaction| {
            change.apply(&transaction)?;
            transaction.commit()
        });
        match applied {
            Err(DiskError::IndexBusy) => {
                self.defer(change);
                // The writer may have emptied the queue just before.
                self.write_in_background();
                Ok(())
            }
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
        transaction.connection.execute_batch("COMMIT")?;
        tracing::debug!(changes = deferred.len(), "applied changes to the index");
        deferred.clear();
        begin_immediate(&transaction.connection)?;
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
}

/// Begins a transaction that writes. Tries the lock for `TRY_TIMEOUT`.
fn begin_immediate(connection: &Connection) -> Result<(), DiskError> {
    connection.busy_timeout(TRY_TIMEOUT)?;
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    connection.busy_timeout(READ_TIMEOUT)?;
    begun.map_err(|error| {
        if is_busy(&error) {
            DiskError::IndexBusy
        } else {
            error.into()
        }
    })
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
