//! What happens that somebody may want to be told of.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{Expected, Sha256, Target};

/// How many events a slow subscriber may lag behind before it loses the oldest.
const EVENT_QUEUE_LENGTH: usize = 1024;

/// One thing that happened. Events hold no secret: a [`Target`] prints itself redacted.
#[derive(Debug, Clone)]
pub enum Event {
    /// A target's bytes were checked and published.
    Stored { target: Target, sha256: Sha256, size_bytes: u64 },
    /// A fetch ended without a body after its last attempt.
    FetchFailed { target: Target, cause: String },
    /// Other bytes came than were expected; nothing was stored.
    Mismatch { target: Target, expected: Expected, found: Sha256 },
    /// The origin sent something that the name does not promise.
    Impostor { target: Target },
    /// A target gave other bytes than it gave before; both are on record.
    Changed { target: Target, kept: Sha256, seen: Sha256 },
    /// There was no space to store a target; it was passed through.
    NoSpace { target: Target },
    /// An object was removed from the disk to make space.
    Evicted { sha256: Sha256, size_bytes: u64 },
}

/// Where rooms put events. Putting one in never waits and never fails: without a subscriber it is dropped.
#[derive(Debug, Clone)]
pub struct EventSink {
    queue: broadcast::Sender<Arc<Event>>,
}

impl EventSink {
    #[must_use]
    pub fn new() -> Self {
        Self { queue: broadcast::Sender::new(EVENT_QUEUE_LENGTH) }
    }

    pub fn tell(&self, event: Event) {
        // An error means that nobody listens, which is no fault of the teller.
        drop(self.queue.send(Arc::new(event)));
    }

    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.queue.subscribe()
    }
}

impl Default for EventSink {
    fn default() -> Self {
        Self::new()
    }
}
