//! Client limits: requests per second, concurrent downloads and tunnels, bytes per second and day.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::bandwidth::{Bandwidth, FairQueue, Pacer};
use super::config::LimitsConfig;
use super::pool::{ClientShare, PoolClient};
use super::quota::{DailyUse, DailyUses};
use crate::model::{ClientNet, lock};

/// Kind of a client's transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// A request and its response body.
    Download,
    Tunnel,
}

/// Whether a request counts against the limit of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RequestCount {
    #[default]
    New,
    /// A step of a request that was counted before.
    Counted,
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
    #[error("your address has received all bytes of its day (limits.bytes_per_day)")]
    Bytes { wait: Duration },
}

/// Error returned when a client has had too many new targets stored within an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many new targets from one address (limits.new_targets_per_hour)")]
pub struct TooManyNewTargets;

/// Active transfers of one client.
#[derive(Debug, Default)]
struct ActiveTransfers {
    downloads: u32,
    tunnels: u32,
    fair_queue: Arc<FairQueue>,
}

impl ActiveTransfers {
    fn count(&mut self, kind: TransferKind) -> &mut u32 {
        match kind {
            TransferKind::Download => &mut self.downloads,
            TransferKind::Tunnel => &mut self.tunnels,
        }
    }
}

/// Clients with active transfers.
type ClientTransfers = Mutex<HashMap<ClientNet, ActiveTransfers>>;

/// Limits of all client networks, and their current use.
#[derive(Debug)]
pub struct ClientLimits {
    config: LimitsConfig,
    requests: Option<Arc<DefaultKeyedRateLimiter<ClientNet>>>,
    new_targets: Option<Arc<DefaultKeyedRateLimiter<ClientNet>>>,
    clock: DefaultClock,
    pub bandwidth: Arc<Bandwidth>,
    /// Share of the pools. They keep it when the configuration is replaced.
    share: ClientShare,
    transfers: Arc<ClientTransfers>,
    /// Bytes of each client, counted only while there is a quota.
    daily_uses: Arc<DailyUses>,
}

impl ClientLimits {
    pub fn new(config: LimitsConfig) -> Self {
        Self {
            requests: requests_limiter(&config),
            new_targets: new_targets_limiter(&config),
            clock: DefaultClock::default(),
            bandwidth: Arc::new(Bandwidth::new(config.bandwidth, config.total_bandwidth)),
            share: ClientShare::new(config.client_share),
            transfers: Arc::default(),
            daily_uses: Arc::default(),
            config,
        }
    }

    /// Returns the limits with another configuration.
    ///
    /// Active transfers stay counted, and limiters whose settings did not change keep their state.
    pub fn with_config(&self, config: LimitsConfig) -> Self {
        let fresh = Self::new(config);
        self.share.set(fresh.config.client_share);
        let (old, new) = (&self.config, &fresh.config);
        let same_requests =
            (old.requests_per_second, old.burst) == (new.requests_per_second, new.burst);
        let same_bandwidth =
            (old.bandwidth, old.total_bandwidth) == (new.bandwidth, new.total_bandwidth);
        Self {
            requests: if same_requests {
                self.requests.clone()
            } else {
                fresh.requests
            },
            new_targets: if old.new_targets_per_hour == new.new_targets_per_hour {
                self.new_targets.clone()
            } else {
                fresh.new_targets
            },
            bandwidth: if same_bandwidth {
                Arc::clone(&self.bandwidth)
            } else {
                fresh.bandwidth
            },
            share: self.share.clone(),
            transfers: Arc::clone(&self.transfers),
            daily_uses: Arc::clone(&self.daily_uses),
            clock: fresh.clock,
            config: fresh.config,
        }
    }

    /// Counts a target that will be stored for the first time.
    pub fn count_new_target(&self, client: IpAddr) -> Result<(), TooManyNewTargets> {
        let (Some(net), Some(new_targets)) = (self.client_network(client), &self.new_targets)
        else {
            return Ok(());
        };
        new_targets.check_key(&net).map_err(|_| TooManyNewTargets)
    }

    /// Counts a request, and checks the limit for the transfer that it starts.
    pub fn admit(
        self: Arc<Self>,
        client: IpAddr,
        kind: TransferKind,
        count: RequestCount,
    ) -> Result<PendingTransfer, OverLimit> {
        if kind == TransferKind::Tunnel {
            self.check_quota(client)?;
        }
        let client = self.client_network(client);
        if let Some(net) = client {
            if let Some(requests) = &self.requests
                && count == RequestCount::New
                && let Err(not_until) = requests.check_key(&net)
            {
                return Err(OverLimit::Requests {
                    wait: not_until.wait_time_from(self.clock.now()),
                });
            }
            if let Some(active) = lock(&self.transfers).get_mut(&net) {
                self.check_limit(*active.count(kind), kind)?;
            }
        }
        Ok(PendingTransfer {
            limits: self,
            client,
            kind,
        })
    }

    /// Checks whether a client may receive bytes. A transfer that has begun goes on.
    pub fn check_quota(&self, client: IpAddr) -> Result<(), OverLimit> {
        let (Some(net), Some(bytes)) = (
            self.client_network(client),
            self.config.bytes_per_day.bytes(),
        ) else {
            return Ok(());
        };
        match self.daily_uses.wait(net, bytes, Instant::now()) {
            Some(wait) => Err(OverLimit::Bytes { wait }),
            None => Ok(()),
        }
    }

    /// Returns the share of the pools.
    pub fn share(&self) -> &ClientShare {
        &self.share
    }

    /// Returns the client that permits of pools count for.
    pub fn pool_client(&self, client: IpAddr) -> PoolClient {
        let net = ClientNet::from_address(client);
        let mut exempt = self.config.exempt_clients.iter().chain(&self.config.peers);
        if exempt.any(|network| network.contains(&client)) {
            PoolClient::Exempt(net)
        } else {
            PoolClient::Shared(net)
        }
    }

    /// Returns the client's network, or `None` for an exempt client.
    fn client_network(&self, client: IpAddr) -> Option<ClientNet> {
        match self.pool_client(client) {
            PoolClient::Shared(net) => Some(net),
            PoolClient::Exempt(_) | PoolClient::Own => None,
        }
    }

    fn check_limit(&self, active: u32, kind: TransferKind) -> Result<(), OverLimit> {
        let (limit, over) = match kind {
            TransferKind::Download => (self.config.concurrent_downloads, OverLimit::Downloads),
            TransferKind::Tunnel => (self.config.concurrent_tunnels, OverLimit::Tunnels),
        };
        if limit > 0 && active >= limit {
            Err(over)
        } else {
            Ok(())
        }
    }

    /// Removes clients that have been idle until their full burst was available again.
    pub fn prune_idle(&self) {
        if let Some(requests) = &self.requests {
            requests.retain_recent();
            requests.shrink_to_fit();
        }
        if let Some(new_targets) = &self.new_targets {
            new_targets.retain_recent();
            new_targets.shrink_to_fit();
        }
        self.bandwidth.prune_idle();
        self.daily_uses.prune(Instant::now());
        lock(&self.transfers).shrink_to_fit();
    }
}

fn requests_limiter(config: &LimitsConfig) -> Option<Arc<DefaultKeyedRateLimiter<ClientNet>>> {
    let rate = NonZeroU32::new(config.requests_per_second)?;
    let burst = NonZeroU32::new(config.burst).unwrap_or(NonZeroU32::MIN);
    Some(Arc::new(RateLimiter::keyed(
        Quota::per_second(rate).allow_burst(burst),
    )))
}

fn new_targets_limiter(config: &LimitsConfig) -> Option<Arc<DefaultKeyedRateLimiter<ClientNet>>> {
    let per_hour = NonZeroU32::new(config.new_targets_per_hour)?;
    Some(Arc::new(RateLimiter::keyed(Quota::per_hour(per_hour))))
}

/// Transfer that an admitted client may begin. A client that waits for its response does not count,
/// because Millpond notices only while it sends that the client has disconnected.
#[derive(Debug)]
pub struct PendingTransfer {
    limits: Arc<ClientLimits>,
    /// `None` for an exempt client.
    client: Option<ClientNet>,
    kind: TransferKind,
}

impl PendingTransfer {
    /// Returns whether bandwidth is limited, so that Millpond must send every body itself.
    #[must_use]
    pub fn is_bandwidth_limited(&self) -> bool {
        self.limits.bandwidth.is_limited()
    }

    /// Counts the transfer from now on, until the permit is dropped.
    ///
    /// # Errors
    /// The limit that the client has reached meanwhile.
    pub fn begin(self) -> Result<TransferPermit, OverLimit> {
        let Self {
            limits,
            client,
            kind,
        } = self;
        let Some(net) = client else {
            return Ok(TransferPermit { limits, slot: None });
        };
        let fair_queue = {
            let mut transfers = lock(&limits.transfers);
            let count = transfers
                .get_mut(&net)
                .map_or(0, |active| *active.count(kind));
            limits.check_limit(count, kind)?;
            let active = transfers.entry(net).or_default();
            *active.count(kind) += 1;
            Arc::clone(&active.fair_queue)
        };
        let has_quota = limits.config.bytes_per_day.bytes().is_some();
        let daily_use = has_quota
            .then(|| limits.daily_uses.of(net, Instant::now()))
            .flatten();
        let slot = Some(TransferSlot {
            net,
            kind,
            fair_queue,
            daily_use,
        });
        Ok(TransferPermit { limits, slot })
    }
}

/// Active transfer of a client. It is counted until it is dropped.
#[derive(Debug)]
pub struct TransferPermit {
    limits: Arc<ClientLimits>,
    /// `None` for an exempt client.
    slot: Option<TransferSlot>,
}

#[derive(Debug)]
struct TransferSlot {
    net: ClientNet,
    kind: TransferKind,
    fair_queue: Arc<FairQueue>,
    /// `None` without a quota.
    daily_use: Option<Arc<DailyUse>>,
}

impl TransferPermit {
    /// Counts bytes that the client receives.
    pub fn count_bytes(&self, bytes: u64) {
        if let Some(slot) = &self.slot
            && let Some(daily_use) = &slot.daily_use
        {
            let uses = &self.limits.daily_uses;
            uses.add(slot.net, daily_use, bytes, Instant::now());
        }
    }

    /// Returns the bandwidth limiter for this client's bytes. `None` if they are not limited.
    #[must_use]
    pub fn pacer(&self) -> Option<Pacer> {
        let client = self
            .slot
            .as_ref()
            .map(|slot| (slot.net, Arc::clone(&slot.fair_queue)));
        Pacer::new(&self.limits.bandwidth, client)
    }
}

impl Drop for TransferPermit {
    fn drop(&mut self) {
        let Some(TransferSlot { net, kind, .. }) = self.slot else {
            return;
        };
        let mut transfers = lock(&self.limits.transfers);
        if let Entry::Occupied(mut active) = transfers.entry(net) {
            *active.get_mut().count(kind) -= 1;
            if (active.get().downloads, active.get().tunnels) == (0, 0) {
                active.remove();
            }
        }
    }
}
