//! More clients than there is room for. Connections and answers are counted, and who comes when all
//! places are taken hears so at once, while those who have one go on.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once, however many descriptors there are: each costs memory.
const MAX_CONNECTIONS: usize = 10_500;

/// Answers and tunnels at once, likewise.
const MAX_RESPONSES: usize = 4096;

/// Connections above all places, for those who are turned away and for health checks: at most so
/// many, and at most such a part of the descriptors.
const MAX_RESERVE: usize = 64;
const RESERVE_FRACTION: usize = 8;

/// While less than this part of the places is free, each answer is its connection's last: who rests
/// makes room.
const PART_LEFT_WHEN_NEARLY_FULL: usize = 32;

/// The largest and the smallest piece in which a body is handed to its connection, in bytes: larger
/// ones cost memory a client, smaller ones CPU a byte.
const MAX_PIECE_BYTES: usize = 64 * 1024;
const MIN_PIECE_BYTES: usize = 8 * 1024;

/// What the pieces of all bodies together may be, in bytes, before they become smaller: a client
/// that does not read keeps one.
const ALL_PIECES_BYTES: usize = 16 << 20;

/// How many connections and answers there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    pub connections: usize,
    /// Connections above these, which are turned away.
    pub reserve: usize,
    /// Each may hold a file or another connection open, beside the client's.
    pub responses: usize,
}

impl AdmissionLimits {
    /// What can be done with so many descriptors. Idle connections need one, the others two.
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

/// The places of this process.
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

    /// How many connections may be open, with those that are turned away.
    pub(crate) fn max_connections(&self) -> usize {
        self.limits.connections + self.limits.reserve
    }

    /// A place for a connection, if there is one.
    pub(crate) fn admit_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// A place for an answer or a tunnel, if there is one.
    pub(crate) fn acquire_response_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.responses).try_acquire_owned().ok()
    }

    pub(crate) fn is_nearly_full(&self) -> bool {
        self.connections.available_permits()
            < self.limits.connections.div_ceil(PART_LEFT_WHEN_NEARLY_FULL)
    }

    /// In what pieces a body that begins now is to be handed over, in bytes.
    pub(crate) fn piece_bytes(&self) -> usize {
        let responses = self
            .limits
            .responses
            .saturating_sub(self.responses.available_permits());
        (ALL_PIECES_BYTES / responses.max(1)).clamp(MIN_PIECE_BYTES, MAX_PIECE_BYTES)
    }
}
