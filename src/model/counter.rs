//! Counters that many threads increase without a lock.
//!
//! This file must not know what is counted. The main type is [`Counter`].

use std::sync::atomic::{AtomicU64, Ordering};

/// Number that only grows. Wraps after 2^64.
#[derive(Debug, Default)]
pub struct Counter {
    value: AtomicU64,
}

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`. Nothing else depends on the order of additions.
    pub fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the sum of all additions up to now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}
