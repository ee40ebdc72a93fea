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

#[derive(Debug)]
pub struct Limits {
    config: LimitsConfig,
    requests: Option<DefaultKeyedRateLimiter<ClientNet>>,
    clock: DefaultClock,
    pub(super) bandwidth: Bandwidth,
    /// Clients that have something open, and no others.
    open: Mutex<HashMap<ClientNet, Open>>,
}

impl Limits {
    pub fn new(config: LimitsConfig) -> Self {
        let requests = NonZeroU32::new(config.requests_per_second).map(|rate| {
            let burst = NonZeroU32::new(config.burst).unwrap_or(NonZeroU32::MIN);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        let bandwidth = Bandwidth::new(config.bandwidth, config.total_bandwidth);
        Self { config, requests, clock: DefaultClock::default(), bandwidth, open: Mutex::default() }
    }

    pub fn config(&self) -> &LimitsConfig {
        &self.config
    }

    /// Counts a request, and what it opens.
    pub fn begin(self: &Arc<Self>, client: Client, what: Use) -> Result<Transfer, OverLimit> {
        if contains(&self.config.exempt_clients, client.address()) {
            return Ok(Transfer { limits: Arc::clone(self), counted: None });
        }
        let net = ClientNet::of(client.address());
        if let Some(requests) = &self.requests
            && let Err(not_until) = requests.check_key(&net)
        {
            return Err(OverLimit::Requests { wait: not_until.wait_time_from(self.clock.now()) });
        }
        let turn = self.count(net, what)?;
        Ok(Transfer { limits: Arc::clone(self), counted: Some(Counted { net, what, turn }) })
    }

    fn count(&self, net: ClientNet, what: Use) -> Result<Arc<Turn>, OverLimit> {
        let mut open = self.open();
        let entry = open.entry(net);
        let held = match &entry {
            Entry::Occupied(held) => (held.get().downloads, held.get().tunnels),
            Entry::Vacant(_) => (0, 0),
        };
        let is_over = |held: u32, limit: u32| limit > 0 && held >= limit;
        match what {
            Use::Download if is_over(held.0, self.config.concurrent_downloads) => return Err(OverLimit::Downloads),
            Use::Tunnel if is_over(held.1, self.config.concurrent_tunnels) => return Err(OverLimit::Tunnels),
            Use::Download | Use::Tunnel => {}
        }
        let held = entry.or_default();
        match what {
            Use::Download => held.downloads += 1,
            Use::Tunnel => held.tunnels += 1,
        }
        Ok(Arc::clone(&held.turn))
    }

    fn end(&self, net: ClientNet, what: Use) {
        let mut open = self.open();
        let Entry::Occupied(mut held) = open.entry(net) else { return };
        match what {
            Use::Download => held.get_mut().downloads -= 1,
            Use::Tunnel => held.get_mut().tunnels -= 1,
        }
        if (held.get().downloads, held.get().tunnels) == (0, 0) {
            held.remove();
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ClientNet, Open>> {
        // Each change is a count up or down, so that a panic leaves none half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets clients who have rested for long enough to have their whole burst again.
    pub fn forget_rested(&self) {
        if let Some(requests) = &self.requests {
            requests.retain_recent();
            requests.shrink_to_fit();
        }
        self.bandwidth.forget_rested();
        self.open().shrink_to_fit();
    }
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
        Pacer::new(&self.limits, client)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(counted) = &self.counted {
            self.limits.end(counted.net, counted.what);
        }
    }
}
