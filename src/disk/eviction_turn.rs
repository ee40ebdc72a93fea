//! State that the evictions of one process share. The main type is [`EvictionTurn`].

use std::time::Instant;

/// State of the lock of the folder, as the last eviction of this process found it.
#[derive(Debug, Default)]
pub struct EvictionTurn {
    /// Time until which the lock is not awaited, because another process seems to hang.
    pub skips_lock_until: Option<Instant>,
}
