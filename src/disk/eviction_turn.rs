//! State that the evictions of one process share. The main type is [`EvictionTurn`].

use std::time::Instant;

/// What the last eviction of this process found about the lock of the folder.
#[derive(Debug, Default)]
pub struct EvictionTurn {
    /// Time until which the lock is not awaited, because another process seems to hang.
    pub skips_lock_until: Option<Instant>,
}
