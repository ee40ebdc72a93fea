//! Events for notification and incident tracking.
//!
//! This file must not know who receives them. The main type is [`Event`].

use super::cause::Cause;
use super::client_net::ClientNet;
use super::{Sha256, Target};

/// Reason why an object was removed from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionReason {
    /// Millpond needed space or inodes for other objects.
    Space,
    /// An operator or a job ordered it.
    Operator,
}

impl EvictionReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 2] = [Self::Space, Self::Operator];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Space => "space",
            Self::Operator => "operator",
        }
    }
}

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
    /// An object was removed from the disk.
    Evicted {
        sha256: Sha256,
        size_bytes: u64,
        reason: EvictionReason,
    },
    /// The bucket is unreachable, rejects requests, or is full.
    BucketFailed { detail: String },
    /// The bucket works again.
    BucketRecovered,
    /// A near replica of the bucket is unreachable, or rejects requests. The bucket itself is read.
    ReplicaFailed { replica: String, detail: String },
    /// The replica works again.
    ReplicaRecovered { replica: String },
    /// The cache disk hangs, or cannot be written to.
    DiskFailed { detail: String },
    /// The cache disk can be written to again.
    DiskRecovered,
}
