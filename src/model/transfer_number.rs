//! Numbers of the transfers that operators see in one list. The main type is [`TransferNumber`].

use std::sync::atomic::{AtomicU64, Ordering};

static LAST: AtomicU64 = AtomicU64::new(0);

/// Number of a transfer since the start of the process, from 1. Later ones have greater numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferNumber(u64);

impl TransferNumber {
    /// Returns the number of a transfer that starts now.
    #[must_use]
    pub fn next() -> Self {
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}
