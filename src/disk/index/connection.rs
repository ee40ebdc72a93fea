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

use super::background_writer::{BackgroundWriter, LockTry, REPORT_AFTER};
use super::change::IndexChange;
use super::database::READ_TIMEOUT;
use super::statements::execute;
use crate::disk::DiskError;
use crate::disk::index_error::is_busy;
use crate::model::{Sha256, lock};

/// Bound on the time for which one write tries the lock. It holds the connection, and transactions
/// of other processes take less than a millisecond.
const TRY_TIMEOUT: Duration = Duration::from_millis(5);

/// Interval between two tries of a write that cannot wait in the queue. The connection is free in
/// between.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Bound on the changes that wait until the index can be written. Beyond it the index is compared
/// with the files.
const MAX_DEFERRED: usize = 10_000;

/// The connection to the index. It may be replaced by one to another file.
pub struct IndexConnection {
    connection: Mutex<Connection>,
    background_writer: BackgroundWriter,
    this: Weak<Self>,
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
            background_writer: BackgroundWriter::default(),
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
    /// to `REPORT_AFTER` for another process, unless that has held the lock for longer already.
    ///
    /// # Errors
    /// [`DiskError::IndexBusy`] if another process holds the lock, otherwise
    /// [`DiskError::Index`].
    pub fn write(&self) -> Result<WriteTransaction<'_>, DiskError> {
        let began = Instant::now();
        loop {
            match self.try_write() {
                Err(DiskError::IndexBusy)
                    if began.elapsed() < REPORT_AFTER && !self.is_held_long() =>
                {
                    thread::sleep(RETRY_INTERVAL);
                }
                written => return written,
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
    fn begin<'a>(
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

    /// Lets a thread of its own apply the queue once the lock is free.
    fn write_in_background(&self) {
        let this = Weak::clone(&self.this);
        self.background_writer.start(move || {
            this.upgrade()
                .map_or(LockTry::Closed, |connection| connection.try_lock())
        });
    }

    /// Applies the queue if the lock is free.
    fn try_lock(&self) -> LockTry {
        let begun = self.begin(self.read());
        match begun.and_then(WriteTransaction::commit) {
            Ok(()) => {}
            Err(DiskError::IndexBusy) => return LockTry::Busy,
            // The probe of the folder opens the index again if needed.
            Err(error) => tracing::warn!(%error, "changes to the index wait, will retry"),
        }
        LockTry::Written
    }

    /// Returns the time since which another process holds the lock of the file.
    pub fn locked_since(&self) -> Option<Instant> {
        self.background_writer.locked_since()
    }

    /// Returns whether another process has held the lock longer than any write waits.
    fn is_held_long(&self) -> bool {
        self.locked_since()
            .is_some_and(|since| since.elapsed() >= REPORT_AFTER)
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
        execute(&transaction.connection, "COMMIT", [])?;
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
    let begun = execute(connection, "BEGIN IMMEDIATE", []);
    connection.busy_timeout(READ_TIMEOUT)?;
    begun.map(drop).map_err(|error| {
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
        execute(&self.connection, "COMMIT", [])?;
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

#[cfg(test)]
mod tests {
    use rusqlite::TransactionBehavior;

    use super::super::background_writer::TRY_INTERVAL;
    use super::super::database::connect;
    use super::super::object::{IndexedObject, ObjectClass};
    use super::*;
    use crate::disk::layout::Layout;
    use crate::model::Sha256;

    fn object(byte: u8) -> IndexChange {
        let object = IndexedObject {
            sha256: Sha256::from_bytes([byte; 32]),
            size_bytes: 1,
            disk_bytes: 4096,
            accessed_at: 0,
        };
        IndexChange::Insert(object, ObjectClass::Recorded)
    }

    fn count(index: &IndexConnection) -> i64 {
        let connection = index.read();
        let count = connection.query_row("SELECT objects FROM ledger", [], |row| row.get(0));
        count.expect("the ledger has a row")
    }

    #[test]
    fn queue_is_applied_once_lock_is_free() {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let layout = Layout::new(folder.path());
        let connected = || connect(&layout).expect("the index can be created").0;
        let (index, mut other) = (IndexConnection::new(connected()), connected());
        let held = other
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .expect("the lock is free");
        for byte in 0..100 {
            index.apply(object(byte)).expect("the change waits");
        }
        assert!(index.has_deferred());
        assert!(matches!(index.try_write(), Err(DiskError::IndexBusy)));
        assert_eq!(count(&index), 0, "reads do not wait");
        drop(held);
        // No other write follows.
        while index.locked_since().is_some() {
            thread::sleep(TRY_INTERVAL);
        }
        assert_eq!(count(&index), 100);
        assert!(!index.has_deferred());
    }
}
