//! What happens that somebody may want to be told of.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{Sha256, Target};

/// How many events a slow subscriber may lag behind before it loses the oldest.
const EVENT_QUEUE_LENGTH: usize = 1024;

/// One thing that happened. Events hold no secret: a [`Target`] prints itself redacted.
#[derive(Debug, Clone)]
pub enum Event {
    /// A target's bytes were checked and published.
    Stored { target: Target, sha256: Sha256, size_bytes: u64 },
    /// The last attempt of a fetch has come to something that an operator may want to look after.
    Trouble { target: Target, cause: Cause, detail: String },
    /// What is kept is not what it was. What becomes stored again of these targets shows that it is mended.
    Rotten { targets: Vec<Target>, detail: String },
    /// What was found to be damaged is right again, wherever it was had from.
    Mended { targets: Vec<Target> },
    /// An object was removed from the disk to make space.
    Evicted { sha256: Sha256, size_bytes: u64 },
    /// The bucket does not answer, refuses, or is full.
    BucketFailed { detail: String },
    /// It does as it is asked again.
    BucketBack,
    /// The disk of the cache hangs, or refuses to be written to.
    DiskFailed { detail: String },
    /// It can be written to again.
    DiskBack,
}

/// What was wrong with a fetch, told apart by what an operator can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The origin does not have it (404, 410), and nobody has ever got it here: most likely a wrong URL.
    Absent,
    /// The origin does not have it any more. It was kept here once, and its bytes were evicted.
    Gone,
    /// The origin answered with an error of another kind.
    Status,
    /// The origin did not answer, or broke off.
    Silent,
    /// The fetch took longer than its budget.
    Slow,
    /// The origin's answer is none: no HTTP, no trust in its certificate, another length than it said.
    Wrong,
    /// The origin sent something that the name does not promise.
    Impostor,
    /// Other bytes came than a client expects. Nothing was stored.
    Mismatch,
    /// A target gave other bytes than it gave before.
    Changed,
    /// There was no space to store it. It was passed through.
    NoSpace,
    /// The folder or the index refused to store it. It was passed through.
    StoreFailed,
    /// Bytes on the disk are not those that were stored, or cannot be read.
    Rotten,
    /// The bucket does not answer, refuses, or is full. What the disk has is served on, what it lacks is fetched.
    Bucket,
    /// The disk of the cache hangs or cannot be written to. What it does not give comes from the bucket or passes through.
    Disk,
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
