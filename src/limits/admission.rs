//! Admission control: limits open connections and responses, so that a process under load rejects
//! the excess at once and serves the rest.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of connections, however many descriptors there are. Each one costs memory.
const MAX_CONNECTIONS: usize = 10_500;

/// Maximum number of responses and tunnels, however many descriptors there are.
const MAX_RESPONSES: usize = 4096;

/// Maximum number of connections above the limit, for rejections and health checks.
const MAX_RESERVE: usize = 64;

/// Divisor of the descriptors that gives the share of these connections.
const RESERVE_FRACTION: usize = 8;

/// Divisor of the connection limit. If fewer permits than this share are free, every response
/// closes its connection, so that idle connections do not keep new clients out.
const PART_LEFT_WHEN_NEARLY_FULL: usize = 32;

/// Bounds of a body chunk, in bytes. Larger chunks cost memory for each client, smaller ones cost
/// CPU for each byte.
const MAX_CHUNK_BYTES: usize = 64 * 1024;
const MIN_CHUNK_BYTES: usize = 8 * 1024;

/// Total size of the chunks of all responses, in bytes, above which chunks get smaller. A client
/// that does not read keeps one chunk in memory.
const ALL_CHUNKS_BYTES: usize = 16 << 20;

/// Maximum numbers of connections and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    pub connections: usize,
    /// Connections above this limit, on which every request but a health check is rejected.
    pub reserve: usize,
    /// Responses and tunnels. Each may have a file or another connection open, beside its client's.
    pub responses: usize,
}

impl AdmissionLimits {
    /// Returns the limits for a number of descriptors. An idle connection needs one descriptor, a
    /// connection with a response needs two.
    #[must_use]
    pub fn for_descriptors(descriptors: usize) -> Self {
        let reserve = (descriptors / RESERVE_FRACTION).clamp(1, MAX_RESERVE);
        let left = descriptors.saturating_sub(reserve);
        let responses = (left / 3).clamp(1, MAX_RESPONSES);
        let connections = left.saturating_sub(responses).clamp(1, MAX_CONNECTIONS);
        Self {
            connections,
            reserve,
            responses,
        }
    }
}

/// Open connection within the limit. It is counted until it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

/// Active response or tunnel. It is counted until it is dropped.
#[derive(Debug)]
pub struct ResponsePermit {
    _permit: OwnedSemaphorePermit,
}

/// Permits for the connections and responses of this process.
#[derive(Debug)]
pub struct AdmissionControl {
    limits: AdmissionLimits,
    connections: Arc<Semaphore>,
    responses: Arc<Semaphore>,
}

impl AdmissionControl {
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            connections: Arc::new(Semaphore::new(limits.connections)),
            responses: Arc::new(Semaphore::new(limits.responses)),
        }
    }

    /// Returns how many connections may be open, with those that are only accepted to be rejected.
    pub(crate) fn max_connections(&self) -> usize {
        self.limits.connections + self.limits.reserve
    }

    /// Counts a connection. Returns `None` if the limit is reached.
    pub(crate) fn acquire_connection_permit(&self) -> Option<ConnectionPermit> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        Some(ConnectionPermit { _permit: permit })
    }

    /// Counts a response or a tunnel. Returns `None` if the limit is reached.
    pub(crate) fn acquire_response_permit(&self) -> Option<ResponsePermit> {
        let permit = Arc::clone(&self.responses).try_acquire_owned().ok()?;
        Some(ResponsePermit { _permit: permit })
    }

    /// Returns whether connections should close after their response.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.connections.available_permits()
            < self.limits.connections.div_ceil(PART_LEFT_WHEN_NEARLY_FULL)
    }

    /// Returns the chunk size of a body that starts now, in bytes.
    pub(crate) fn chunk_bytes(&self) -> usize {
        let responses = self
            .limits
            .responses
            .saturating_sub(self.responses.available_permits());
        (ALL_CHUNKS_BYTES / responses.max(1)).clamp(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES)
    }
}
