//! How much one client may take: requests a second, downloads and tunnels at once, bytes a second.

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

/// `[limits]`: each for one client address, or one /64 of IPv6. Nought means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub requests_per_second: u32,
    /// Requests that may come at one moment after a rest.
    pub burst: u32,
    pub concurrent_downloads: u32,
    pub concurrent_tunnels: u32,
    /// Bytes a second of everything that one client takes.
    pub bandwidth: Rate,
    /// Bytes a second of this instance.
    pub total_bandwidth: Rate,
    /// Networks whose clients have no limits but the total bandwidth.
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
    /// # Errors
    /// A line that names the key whose value cannot work.
    pub fn check(&self) -> Result<(), String> {
        if self.requests_per_second > 0 && self.burst == 0 {
            return Err("limits.burst must be at least 1: otherwise no request would ever pass".to_owned());
        }
        Ok(())
    }
}

/// What a client wants to do for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A request and the body of its answer.
    Download,
    Tunnel,
}

/// Which limit a client is over. It may come again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverLimit {
    #[error("too many requests from your address; come again in a moment (limits.requests_per_second)")]
    Requests { wait: Duration },
    #[error("too many downloads at once from your address (limits.concurrent_downloads)")]
    Downloads,
    #[error("too many tunnels at once from your address (limits.concurrent_tunnels)")]
    Tunnels,
}

/// A client as far as limits go: an IPv4 address, or a /64 of IPv6, in which one customer can take any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNet(u64);

impl ClientNet {
    fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            // No IPv6 network that is in use begins like this.
            IpAddr::V4(address) => Self(0x0000_ffff_0000_0000 | u64::from(address.to_bits())),
            IpAddr::V6(address) => {
                Self(u64::try_from(address.to_bits() >> 64).expect("the upper half of 128 bits are 64"))
            }
        }
    }
}

/// What a client that is here now has open.
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

/// Clients that have something open, and no others.
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

    /// The same with another configuration: what is open stays counted, and what has not changed goes on.
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

    /// Counts a request, and says whether there is room for what it is about to open.
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

    /// Counts what a client opens.
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

    /// Nothing for a client who is exempt.
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

    /// Forgets clients who have rested for long enough to have their whole burst again.
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
    // Each change is a count up or down, so that a panic leaves none half done.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that a client has open. It counts until it is dropped.
#[derive(Debug)]
pub struct Transfer {
    limits: Arc<Limits>,
    /// Nothing for a client who is exempt.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    net: ClientNet,
    what: Use,
    turn: Arc<Turn>,
}

impl Transfer {
    /// What bytes to or from this client have to wait for. `None` if they need not.
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
