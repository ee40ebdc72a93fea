//! Events for notification and incident tracking.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::client_net::ClientNet;
use super::{Sha256, Target};

/// Number of events that a slow subscriber may lag behind. Beyond it, the oldest are lost.
const EVENT_QUEUE_LENGTH: usize = 1024;

/// Event of one module. Events contain no secrets: a [`Target`] prints itself redacted.
#[derive(Debug, Clone)]
pub enum Event {
    /// A target's bytes were checked and published.
    Stored {
        target: Target,
        sha256: Sha256,
        size_bytes: u64,
    },
    /// A fetch failed, or completed with a problem that an operator may want to examine.
    FetchFailed {
        target: Target,
        cause: Cause,
        detail: String,
        /// Client that began the fetch. `None` for an exempt client and for Millpond itself.
        client: Option<ClientNet>,
    },
    /// A stored object is corrupt. The incident ends when these targets are stored again.
    CorruptionFound {
        targets: Vec<Target>,
        detail: String,
    },
    /// Corrupt objects were repaired, from the bucket or from upstream.
    Repaired { targets: Vec<Target> },
    /// An object was removed from the disk to make space.
    Evicted { sha256: Sha256, size_bytes: u64 },
    /// The bucket is unreachable, rejects requests, or is full.
    BucketFailed { detail: String },
    /// The bucket works again.
    BucketRecovered,
    /// The cache disk hangs, or cannot be written to.
    DiskFailed { detail: String },
    /// The cache disk can be written to again.
    DiskRecovered,
}

/// Cause of an incident, distinguished by what an operator can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The origin returned 404 or 410 for a target that was never stored: most likely a wrong URL.
    NotFound,
    /// The origin no longer has the target. The object was stored once and then evicted.
    RemovedUpstream,
    /// The origin returned another error status.
    UpstreamError,
    /// The host name has no address: most likely a typo in the URL.
    UnknownHost,
    /// The origin is unreachable or closed the connection.
    Unreachable,
    /// The fetch exceeded its deadline.
    Timeout,
    /// The origin's response is invalid: bad HTTP, an untrusted certificate, or a wrong length.
    InvalidResponse,
    /// The body does not have the file type that its name indicates.
    WrongFileType,
    /// The body does not match the digest of a record or of an operator. Nothing was stored.
    ChecksumMismatch,
    /// The body does not match the digest that a client stated: most likely a wrong digest.
    /// Nothing was stored.
    ClientDigest,
    /// The target returned other bytes than before.
    ContentChanged,
    /// There was no space to store the body. It was passed through.
    NoSpace,
    /// Storing the body on the disk or in the index failed. It was passed through.
    StoreFailed,
    /// A stored object is corrupt or cannot be read.
    Corruption,
    /// The bucket is unreachable, rejects requests, or is full. Millpond serves objects from the
    /// disk and fetches the others.
    Bucket,
    /// The cache disk hangs or cannot be written to. Millpond serves objects from the bucket, or
    /// passes requests through.
    Disk,
}

impl Cause {
    /// Returns the machine-readable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::RemovedUpstream => "removed_upstream",
            Self::UpstreamError => "upstream_error",
            Self::UnknownHost => "unknown_host",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::InvalidResponse => "invalid_response",
            Self::WrongFileType => "wrong_file_type",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::ClientDigest => "client_digest",
            Self::ContentChanged => "content_changed",
            Self::NoSpace => "no_space",
            Self::StoreFailed => "store_failed",
            Self::Corruption => "corruption",
            Self::Bucket => "bucket",
            Self::Disk => "disk",
        }
    }
}

/// Broadcast channel for events. Sending never blocks and never fails.
///
/// Without a subscriber, an event is dropped.
#[derive(Debug, Clone)]
pub struct EventSink {
    queue: broadcast::Sender<Arc<Event>>,
}

impl EventSink {
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: broadcast::Sender::new(EVENT_QUEUE_LENGTH),
        }
    }

    /// Sends an event to all subscribers.
    pub fn emit(&self, event: Event) {
        // An error means that there is no subscriber.
        drop(self.queue.send(Arc::new(event)));
    }

    /// Returns a receiver of all later events.
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
