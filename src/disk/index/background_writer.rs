//! The thread that waits for the lock of the index while another process holds it, and then applies
//! the changes in the queue.
//!
//! It exists only while the lock is held. This file must not know the tables. The main method is
//! [`IndexConnection::write_in_background`].

use std::sync::Weak;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{HeldLock, IndexConnection, WRITE_TIMEOUT, WriteTransaction};
use crate::disk::DiskError;
use crate::model::lock;

/// Interval between two tries of the lock. The connection is free in between.
const TRY_INTERVAL: Duration = Duration::from_millis(25);

/// The step of the thread after a try.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Retry,
    End,
}

impl IndexConnection {
    /// Lets a thread of its own apply the changes in the queue, once the lock is free. Does nothing
    /// if there is such a thread.
    pub(super) fn write_in_background(&self) {
        let mut held_lock = lock(&self.held_lock);
        if held_lock.is_some() {
            return;
        }
        let connection = Weak::clone(&self.this);
        let spawned = thread::Builder::new()
            .name("index-writer".to_owned())
            .spawn(move || write_until_free(&connection));
        match spawned {
            Ok(_) => {
                *held_lock = Some(HeldLock {
                    since: Instant::now(),
                    is_reported: false,
                });
            }
            // The next write tries the lock itself.
            Err(error) => tracing::warn!(%error, "thread for the index was not started"),
        }
    }

    /// Returns the time since which another process holds the lock of the file.
    pub fn locked_since(&self) -> Option<Instant> {
        lock(&self.held_lock).map(|held| held.since)
    }

    /// Returns whether another process has held the lock longer than any write waits.
    pub(super) fn is_held_long(&self) -> bool {
        self.locked_since()
            .is_some_and(|since| since.elapsed() >= WRITE_TIMEOUT)
    }

    /// Applies the queue if the lock is free.
    fn try_in_background(&self) -> Next {
        let begun = self.begin(self.read());
        let written = begun.and_then(WriteTransaction::commit);
        if let Err(DiskError::IndexBusy) = written {
            self.report_held();
            return Next::Retry;
        }
        if let Err(error) = written {
            // The probe of the folder opens the index again if needed.
            tracing::warn!(%error, "changes to the index were not applied, will retry");
        }
        if let Some(held) = lock(&self.held_lock).take()
            && held.is_reported
        {
            let held_ms = held.since.elapsed().as_millis();
            tracing::info!(held_ms, "lock of the index is free again");
        }
        Next::End
    }

    fn report_held(&self) {
        let mut held_lock = lock(&self.held_lock);
        if let Some(held) = held_lock.as_mut()
            && !held.is_reported
            && held.since.elapsed() >= WRITE_TIMEOUT
        {
            tracing::warn!("another process holds the lock of the index, requests do not wait");
            held.is_reported = true;
        }
    }
}

/// Tries the lock until the changes are applied or the index is closed.
fn write_until_free(connection: &Weak<IndexConnection>) {
    loop {
        thread::sleep(TRY_INTERVAL);
        let next = connection
            .upgrade()
            .map_or(Next::End, |connection| connection.try_in_background());
        if next == Next::End {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::TransactionBehavior;

    use super::super::change::IndexChange;
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
