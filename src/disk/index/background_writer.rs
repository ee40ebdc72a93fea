//! The thread that waits for the lock of the index while another process holds it.
//!
//! It exists only while the lock is held. This file must not know the connection. Its main type is
//! [`BackgroundWriter`].

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::model::lock;

/// Interval between two tries of the lock. The connection is free in between.
pub const TRY_INTERVAL: Duration = Duration::from_millis(25);

/// Time for which the lock is held before that is reported. No write waits for it any longer.
pub const REPORT_AFTER: Duration = Duration::from_millis(250);

/// Outcome of a try of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockTry {
    /// The lock was free, and there is nothing left to write.
    Written,
    /// Another process holds the lock.
    Busy,
    /// The index was closed.
    Closed,
}

/// The lock that another process holds, and the thread that waits for it.
#[derive(Debug, Default)]
pub struct BackgroundWriter {
    /// `Some` while there is a thread.
    held_lock: Arc<Mutex<Option<HeldLock>>>,
}

#[derive(Debug, Clone, Copy)]
struct HeldLock {
    since: Instant,
    is_reported: bool,
}

impl BackgroundWriter {
    /// Returns the time since which another process holds the lock of the file.
    pub fn locked_since(&self) -> Option<Instant> {
        lock(&self.held_lock).map(|held| held.since)
    }

    /// Calls `write` in a thread of its own until the lock is free. Does nothing if there is such a
    /// thread.
    pub fn start(&self, write: impl Fn() -> LockTry + Send + 'static) {
        let mut held_lock = lock(&self.held_lock);
        if held_lock.is_some() {
            return;
        }
        let shared = Arc::clone(&self.held_lock);
        let spawned = thread::Builder::new()
            .name("index-writer".to_owned())
            .spawn(move || write_until_free(&shared, write));
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
}

fn write_until_free(held_lock: &Mutex<Option<HeldLock>>, write: impl Fn() -> LockTry) {
    loop {
        thread::sleep(TRY_INTERVAL);
        match write() {
            LockTry::Busy => report_held(held_lock),
            LockTry::Closed => return,
            LockTry::Written => return report_free(held_lock),
        }
    }
}

fn report_held(held_lock: &Mutex<Option<HeldLock>>) {
    let mut held_lock = lock(held_lock);
    if let Some(held) = held_lock.as_mut()
        && !held.is_reported
        && held.since.elapsed() >= REPORT_AFTER
    {
        tracing::warn!("another process holds the lock of the index, requests do not wait");
        held.is_reported = true;
    }
}

fn report_free(held_lock: &Mutex<Option<HeldLock>>) {
    if let Some(held) = lock(held_lock).take()
        && held.is_reported
    {
        let held_ms = held.since.elapsed().as_millis();
        tracing::info!(held_ms, "lock of the index is free again");
    }
}
