//! Etiquette towards hosts that are asked for several ranges at once: an interval between new
//! connections, and a memory of hosts that did not take it well. The main type is [`SegmentHosts`].

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::model::lock;

/// Interval between two further connections to one host, by all fetches together. Some servers
/// refuse clients that connect faster.
const CONNECT_INTERVAL: Duration = Duration::from_millis(500);

/// How long a host that has refused a range gets whole requests only.
const REFUSAL_TIME: Duration = Duration::from_hours(1);

/// Maximum number of remembered hosts. Above it, a refusal is not remembered, and costs one more
/// attempt.
const MAX_HOSTS: usize = 10_000;

/// Maximum number of pieces in memory, of all fetches together.
const MAX_PIECES: usize = 48;

/// Hosts that were asked for ranges, and the memory that the pieces of all fetches may take.
pub struct SegmentHosts {
    hosts: Mutex<HashMap<String, HostState>>,
    pieces: Semaphore,
}

#[derive(Debug, Clone, Copy)]
enum HostState {
    /// No further connection before this time.
    Busy(Instant),
    /// No ranges before this time.
    Refused(Instant),
}

impl HostState {
    fn until(self) -> Instant {
        match self {
            Self::Busy(until) | Self::Refused(until) => until,
        }
    }
}

impl SegmentHosts {
    pub fn new() -> Self {
        Self {
            hosts: Mutex::default(),
            pieces: Semaphore::new(MAX_PIECES),
        }
    }

    /// Returns whether a host may be asked for ranges.
    pub fn may_ask(&self, host: &str) -> bool {
        let hosts = lock(&self.hosts);
        !matches!(hosts.get(host), Some(HostState::Refused(until)) if *until > Instant::now())
    }

    /// Reserves the time of the next connection to a host.
    ///
    /// # Errors
    /// The time at which another one may be reserved.
    pub fn reserve_connection(&self, host: &str) -> Result<(), Instant> {
        let now = Instant::now();
        let mut hosts = lock(&self.hosts);
        if let Some(state) = hosts.get(host).filter(|state| state.until() > now) {
            return Err(state.until());
        }
        remember(&mut hosts, host, HostState::Busy(now + CONNECT_INTERVAL));
        Ok(())
    }

    /// Notes that a host has refused a range, or has answered it with other bytes.
    pub fn record_refusal(&self, host: &str) {
        let until = Instant::now() + REFUSAL_TIME;
        remember(&mut lock(&self.hosts), host, HostState::Refused(until));
    }

    /// Returns a place in memory for a piece, if there is one.
    pub fn try_place(&self) -> Option<SemaphorePermit<'_>> {
        self.pieces.try_acquire().ok()
    }
}

fn remember(hosts: &mut HashMap<String, HostState>, host: &str, state: HostState) {
    if hosts.len() >= MAX_HOSTS {
        let now = Instant::now();
        hosts.retain(|_, state| state.until() > now);
    }
    if hosts.len() < MAX_HOSTS || hosts.contains_key(host) {
        hosts.insert(host.to_owned(), state);
    }
}
