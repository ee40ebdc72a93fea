//! Sign of life of a future that waits for a disk thread. The main type is [`Caller`].

use std::sync::{Arc, Weak};

use super::DiskError;

/// The future that waits for a reservation. An abandoned reservation must not evict, because the
/// retry of its caller may evict for the same body.
pub struct Caller(Arc<()>);

/// Shows a disk thread whether the [`Caller`] still waits.
pub struct CallerObserver(Weak<()>);

impl Caller {
    pub fn new() -> Self {
        Self(Arc::new(()))
    }

    pub fn observe(&self) -> CallerObserver {
        CallerObserver(Arc::downgrade(&self.0))
    }
}

impl CallerObserver {
    /// # Errors
    /// [`DiskError::Timeout`] if the caller has stopped waiting.
    pub fn check(&self) -> Result<(), DiskError> {
        match self.0.strong_count() {
            0 => Err(DiskError::Timeout),
            _ => Ok(()),
        }
    }
}
