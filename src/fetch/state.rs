//! State that all fetches share, and the time budget of a fetch. The main type is
//! [`FetcherState`].

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::host_circuits::HostCircuits;
use super::host_limits::HostLimiter;
use super::in_flight::InFlightMap;
use super::live_fetches::LiveFetches;
use super::pieces::PeerPieces;
use super::refusals::DigestRefusals;
use super::revalidation::ExchangeMap;
use super::segments::SegmentHosts;
use super::{Config, FetchError};
use crate::cache::Cache;
use crate::cluster::Cluster;
use crate::limits::{FairPool, MAX_IN_FLIGHT};
use crate::metrics::FetchCounts;
use crate::model::{EventSink, Key, lock};
use crate::origin::Origin;
use crate::policy::Policy;

/// Maximum number of entries of the negative cache.
const MAX_NEGATIVE_ENTRIES: u64 = 100_000;

/// Maximum number of concurrent refreshes. Further ones are refused.
const MAX_REFRESHES: usize = 16;

/// Maximum number of fetches without a reader that wait for a permit. One client alone has three
/// quarters of them, with about 35 KiB each.
const MAX_UNREAD_WAITING: usize = 512;

/// Limits of a [`Fetcher`](super::Fetcher) that other sections of the configuration set.
#[derive(Debug, Clone, Copy)]
pub struct FetcherLimits {
    /// Maximum number of in-flight fetches, including those that wait for a permit.
    pub max_in_flight: usize,
    /// How long a failure is returned without asking the origin again.
    pub negative_ttl: Duration,
}

/// Services that a [`Fetcher`](super::Fetcher) uses.
pub struct FetcherServices {
    pub cache: Cache,
    pub origin: Arc<Origin>,
    pub policy: Arc<Policy>,
    pub cluster: Arc<Cluster>,
    pub events: EventSink,
}

/// State that all fetches of this process share.
pub struct FetcherState {
    pub config: Config,
    /// Permits for in-flight fetches, including those that wait for a host.
    pub fetches: FairPool,
    /// Fetches without a reader that wait for a permit.
    pub unread_waiting: FairPool,
    /// Permits for exchanges of class `revalidate`, including those that no request can join.
    pub exchange_permits: FairPool,
    pub cache: Cache,
    pub origin: Arc<Origin>,
    pub policy: Arc<Policy>,
    pub cluster: Arc<Cluster>,
    pub events: EventSink,
    pub negative_cache: moka::sync::Cache<Key, FetchError>,
    /// Digests that upstream does not have.
    pub refusals: DigestRefusals,
    pub circuits: HostCircuits,
    pub host_limiter: HostLimiter,
    pub segment_hosts: SegmentHosts,
    pub peer_pieces: Arc<PeerPieces>,
    /// Permits for bodies of peers. A peer may wait for a permit of this node, so these are apart.
    pub peer_limiter: HostLimiter,
    pub refresh_permits: Arc<Semaphore>,
    pub counts: Arc<FetchCounts>,
    /// Runtime of the fetches. It is not the one that serves clients.
    pub runtime: Handle,
    pub tasks: TaskTracker,
    /// Cancelled when fetches must end at once.
    pub stop: CancellationToken,
    pub live: Arc<LiveFetches>,
    in_flight: Mutex<InFlightMap>,
    exchanges: Mutex<ExchangeMap>,
}

impl FetcherState {
    /// Fetches run on the runtime of the caller.
    pub fn new(config: Config, limits: FetcherLimits, services: FetcherServices) -> Self {
        let share = services.policy.client_share();
        let max_in_flight = limits.max_in_flight.min(MAX_IN_FLIGHT);
        Self {
            fetches: FairPool::new(max_in_flight, 0, &share),
            unread_waiting: FairPool::new(MAX_UNREAD_WAITING, 0, &share),
            exchange_permits: FairPool::new(max_in_flight, 0, &share),
            peer_limiter: HostLimiter::new(max_in_flight, max_in_flight, share.clone()),
            host_limiter: HostLimiter::new(config.concurrency, config.per_host, share),
            segment_hosts: SegmentHosts::new(),
            peer_pieces: Arc::new(PeerPieces::new(
                Arc::clone(&services.cluster),
                services.events.clone(),
            )),
            circuits: HostCircuits::new(config.breaker_failures, config.breaker_cooldown.0),
            refresh_permits: Arc::new(Semaphore::new(MAX_REFRESHES)),
            counts: Arc::default(),
            config,
            cache: services.cache,
            origin: services.origin,
            policy: services.policy,
            cluster: services.cluster,
            events: services.events,
            negative_cache: moka::sync::Cache::builder()
                .max_capacity(MAX_NEGATIVE_ENTRIES)
                .time_to_live(limits.negative_ttl)
                .build(),
            refusals: DigestRefusals::new(limits.negative_ttl),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            live: Arc::default(),
            in_flight: Mutex::default(),
            exchanges: Mutex::new(ExchangeMap::new()),
        }
    }

    pub fn in_flight(&self) -> MutexGuard<'_, InFlightMap> {
        lock(&self.in_flight)
    }

    pub fn exchanges(&self) -> MutexGuard<'_, ExchangeMap> {
        lock(&self.exchanges)
    }

    /// Whether this process stops, so that fetches of operators and peers are refused.
    pub fn is_stopping(&self) -> bool {
        self.has_stopped() || self.tasks.is_closed()
    }

    /// Whether new fetches are refused. A request that arrived before a stop may still begin one,
    /// since a client need not know another node.
    pub fn has_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Runs a fetch until it ends, its time budget is used up, or Millpond stops.
    ///
    /// # Errors
    /// The error of `work`, [`FetchError::DeadlineExceeded`], or [`FetchError::Stopping`].
    pub async fn run_within_budget<T>(
        &self,
        work: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        tokio::select! {
            outcome = timeout(self.config.budget.0, work) => {
                outcome.unwrap_or(Err(FetchError::DeadlineExceeded))
            }
            () = self.stop.cancelled() => Err(FetchError::Stopping),
        }
    }
}
