//! Request to stop the work on a folder. The main type is [`StopFlag`].

use std::sync::atomic::{AtomicBool, Ordering};

/// Request to stop. Work that has begun to store a file stores it.
#[derive(Debug, Default)]
pub struct StopFlag(AtomicBool);

impl StopFlag {
    /// Requests the stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
