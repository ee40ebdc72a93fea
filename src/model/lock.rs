//! Locking of mutexes that hold no partial changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also after a panic of another thread.
///
/// Callers change the value by single calls or by transactions of a database, so a panic leaves no
/// partial change.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
