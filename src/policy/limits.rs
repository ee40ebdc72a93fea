//! Client limits: requests per second, concurrent downloads and tunnels, bytes per second.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::bandwidth::{Bandwidth, Pacer, Turn};
use super::{Client, contains};
use crate::model::Rate;

/// Configuration section `[limits]`.
///
/// Each limit applies to one IPv4 address or one IPv6 /64 network. Zero means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub requests_per_second: u32,
    /// Requests that an idle client may send at once.
    pub burst: u32,
    pub concurrent_downloads: u32,
    pub concurrent_tunnels: u32,
    /// Bytes per second for all transfers of one client.
    pub bandwidth: Rate,
    /// Bytes per second for this instance.
    pub total_bandwidth: Rate,
    /// Networks whose clients are only subject to the total bandwidth.
    pub exempt_clients: Vec<IpNet>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_second: 100,
            burst: 1000,
            concurrent_downloads: 1000,
            concurrent_tunnels: 1000,
            bandwidth: Rate::UNLIMITED,
            total_bandwidth: Rate::UNLIMITED,
            exempt_clients: Vec::new(),
        }
    }
}

impl LimitsConfig {
    /// Checks the section.
    ///
    /// # Errors
    /// A text with the configuration key whose value is invalid.
    pub fn check(&self) -> Result<(), String> {
        if self.requests_per_second > 0 && self.burst == 0 {
            return Err("limits.burst must be at least 1, or every request would be rejected".to_owned());
        }
        Ok(())
    }
}

/// Kind of a client's transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A request and its response body.
    Download,
    Tunnel,
}

/// Error returned when a client exceeds a limit. The client may retry later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverLimit {
    #[error("too many requests from your address; retry later (limits.requests_per_second)")]
    Requests { wait: Duration },
    #[error("too many concurrent downloads from your address (limits.concurrent_downloads)")]
    Downloads,
    #[error("too many concurrent tunnels from your address (limits.concurrent_tunnels)")]
    Tunnels,
}

/// Client network for limits: an IPv4 address, or an IPv6 /64, in which one client can use any
/// address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNet(u64);

impl ClientNet {
    fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            // No allocated IPv6 network has this prefix.
            IpAddr::V4(address) => Self(0x0000_ffff_0000_0000 | u64::from(address.to_bits())),
            IpAddr::V6(address) => {
                Self(u64::try_from(address.to_bits() >> 64).expect("the upper half of 128 bits has 64 bits"))
            }
        }
    }
}

/// Active transfers of one client.
#[derive(Debug, Default)]
struct Open {
    downloads: u32,
    tunnels: u32,
    turn: Arc<Turn>,
}

impl Open {
    fn count(&mut self, what: Use) -> &mut u32 {
        match what {
            Use::Download => &mut self.downloads,
            Use::Tunnel => &mut self.tunnels,
        }
    }
}

/// Clients with active transfers.
type OpenClients = Mutex<HashMap<ClientNet, Open>>;

#[derive(Debug)]
pub struct Limits {
    config: LimitsConfig,
    requests: Option<Arc<DefaultKeyedRateLimiter<ClientNet>>>,
    clock: DefaultClock,
    pub(super) bandwidth: Arc<Bandwidth>,
    open: Arc<OpenClients>,
}

impl Limits {
    pub fn new(config: LimitsConfig) -> Self {
        Self {
            requests: requests_limiter(&config),
            clock: DefaultClock::default(),
            bandwidth: Arc::new(Bandwidth::new(config.bandwidth, config.total_bandwidth)),
            open: Arc::default(),
            config,
        }
    }

    /// Returns the limits with another configuration.
    ///
    /// Active transfers stay counted, and limiters whose settings did not change keep their state.
    pub fn adjusted(&self, config: LimitsConfig) -> Self {
        let fresh = Self::new(config);
        let (old, new) = (&self.config, &fresh.config);
        let same_requests = (old.requests_per_second, old.burst) == (new.requests_per_second, new.burst);
        let same_bandwidth = (old.bandwidth, old.total_bandwidth) == (new.bandwidth, new.total_bandwidth);
        Self {
            requests: if same_requests { self.requests.clone() } else { fresh.requests },
            bandwidth: if same_bandwidth { Arc::clone(&self.bandwidth) } else { fresh.bandwidth },
            open: Arc::clone(&self.open),
            clock: fresh.clock,
            config: fresh.config,
        }
    }

    /// Counts a request, and checks the limit for the transfer that it starts.
    pub fn count_request(&self, client: Client, what: Use) -> Result<(), OverLimit> {
        let Some(net) = self.net_of(client) else { return Ok(()) };
        if let Some(requests) = &self.requests
            && let Err(not_until) = requests.check_key(&net)
        {
            return Err(OverLimit::Requests { wait: not_until.wait_time_from(self.clock.now()) });
        }
        match lock(&self.open).get_mut(&net) {
            Some(held) => self.check_room(*held.count(what), what),
            None => Ok(()),
        }
    }

    /// Counts a transfer of a client.
    pub fn begin(self: &Arc<Self>, client: Client, what: Use) -> Result<Transfer, OverLimit> {
        let Some(net) = self.net_of(client) else {
            return Ok(Transfer { limits: Arc::clone(self), counted: None });
        };
        let mut open = lock(&self.open);
        self.check_room(open.get_mut(&net).map_or(0, |held| *held.count(what)), what)?;
        let held = open.entry(net).or_default();
        *held.count(what) += 1;
        let turn = Arc::clone(&held.turn);
        Ok(Transfer { limits: Arc::clone(self), counted: Some(Counted { net, what, turn }) })
    }

    /// Returns the client's network, or `None` for an exempt client.
    fn net_of(&self, client: Client) -> Option<ClientNet> {
        let is_exempt = contains(&self.config.exempt_clients, client.address());
        (!is_exempt).then(|| ClientNet::of(client.address()))
    }

    fn check_room(&self, held: u32, what: Use) -> Result<(), OverLimit> {
        let (limit, over) = match what {
            Use::Download => (self.config.concurrent_downloads, OverLimit::Downloads),
            Use::Tunnel => (self.config.concurrent_tunnels, OverLimit::Tunnels),
        };
        if limit > 0 && held >= limit { Err(over) } else { Ok(()) }
    }

    /// Removes clients that have been idle until their full burst was available again.
    pub fn forget_rested(&self) {
        if let Some(requests) = &self.requests {
            requests.retain_recent();
            requests.shrink_to_fit();
        }
        self.bandwidth.forget_rested();
        lock(&self.open).shrink_to_fit();
    }
}

fn requests_limiter(config: &LimitsConfig) -> Option<Arc<DefaultKeyedRateLimiter<ClientNet>>> {
    let rate = NonZeroU32::new(config.requests_per_second)?;
    let burst = NonZeroU32::new(config.burst).unwrap_or(NonZeroU32::MIN);
    Some(Arc::new(RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))))
}

fn lock(open: &OpenClients) -> MutexGuard<'_, HashMap<ClientNet, Open>> {
    // Each change only increments or decrements a counter, so a panic cannot leave it inconsistent.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Active transfer of a client. It is counted until it is dropped.
#[derive(Debug)]
pub struct Transfer {
    limits: Arc<Limits>,
    /// `None` for an exempt client.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    net: ClientNet,
    what: Use,
    turn: Arc<Turn>,
}

impl Transfer {
    /// Returns the bandwidth limiter for this client's bytes. `None` if they are not limited.
    #[must_use]
    pub fn pacer(&self) -> Option<Pacer> {
        let client = self.counted.as_ref().map(|counted| (counted.net, Arc::clone(&counted.turn)));
        Pacer::new(&self.limits.bandwidth, client)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let Some(Counted { net, what, .. }) = self.counted else { return };
        let mut open = lock(&self.limits.open);
        if let Entry::Occupied(mut held) = open.entry(net) {
            *held.get_mut().count(what) -= 1;
            if (held.get().downloads, held.get().tunnels) == (0, 0) {
                held.remove();
            }
        }
    }
}
