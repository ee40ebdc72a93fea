//! Fetching: one flight a target, however many want it.
//!
//! A flight belongs to no client: it is a task of its own, writes through the store's staging, and
//! goes on when everybody who followed it has left. The fetch path itself is [`job`]. This room
//! knows no HTTP server and makes no statuses. Its main type is [`Fetcher`].

mod changed_content;
mod config;
mod download;
mod download_spec;
mod error;
mod host_circuits;
mod host_limits;
mod in_flight;
mod job;
mod lease_record;
mod lock;
mod memory_overflow;
mod parent_cache;
mod peer;
mod refetch;
mod refresh;
mod resume;
mod source_loop;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::Config;
pub use error::FetchError;
pub use in_flight::{BodyReader, FirstResult, Head};
pub use refresh::Refreshed;

use crate::cache::Cache;
use crate::limits::MAX_IN_FLIGHT;
use crate::model::{Algorithm, EventSink, ExpectedDigests, Key, Target};
use crate::origin::Origin;
use crate::policy::{Admitted, Policy};
use host_circuits::HostCircuits;
use host_limits::HostLimiter;
use in_flight::InFlightFetch;

/// How many failures are remembered.
const MAX_REMEMBERED_FAILURES: u64 = 100_000;

/// What tells flights apart. Who expects certain bytes flies by himself, so that nobody's
/// expectation, which may be wrong, decides what others get.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FetchKey {
    key: Key,
    expected: ExpectedDigests,
}

/// The flights of this process, those of one target together.
#[derive(Default)]
struct InFlightMap {
    by_key: HashMap<Key, Vec<(ExpectedDigests, Arc<InFlightFetch>)>>,
    count: usize,
}

impl InFlightMap {
    fn get(&self, key: Key, expected: &ExpectedDigests) -> Option<&Arc<InFlightFetch>> {
        self.by_key
            .get(&key)?
            .iter()
            .find(|(other, _)| other == expected)
            .map(|(_, fetch)| fetch)
    }

    fn insert(&mut self, fetch_key: &FetchKey, fetch: Arc<InFlightFetch>) {
        self.by_key
            .entry(fetch_key.key)
            .or_default()
            .push((fetch_key.expected.clone(), fetch));
        self.count += 1;
    }

    fn remove(&mut self, fetch_key: &FetchKey) {
        let Some(of_key) = self.by_key.get_mut(&fetch_key.key) else {
            return;
        };
        if let Some(at) = of_key
            .iter()
            .position(|(expected, _)| *expected == fetch_key.expected)
        {
            of_key.swap_remove(at);
            self.count -= 1;
        }
        if of_key.is_empty() {
            self.by_key.remove(&fetch_key.key);
        }
    }
}

/// All flights of this process. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    max_in_flight: usize,
    cache: Cache,
    origin: Arc<Origin>,
    policy: Arc<Policy>,
    events: EventSink,
    in_flight: Mutex<InFlightMap>,
    failures: moka::sync::Cache<FetchKey, FetchError>,
    circuits: HostCircuits,
    host_limiter: HostLimiter,
    refreshes: Arc<Semaphore>,
    /// Flights run here, not on the threads that serve clients.
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Fetcher {
    /// Flights run on the runtime that this is called in, `max_in_flight` at once. A failure is
    /// remembered for `failure_ttl`.
    #[must_use]
    pub fn new(
        config: Config,
        max_in_flight: usize,
        cache: Cache,
        origin: Arc<Origin>,
        policy: Arc<Policy>,
        events: EventSink,
        failure_ttl: Duration,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                host_limiter: HostLimiter::new(config.concurrency, config.per_host),
                circuits: HostCircuits::new(config.breaker_failures, config.breaker_cooldown.0),
                refreshes: Arc::new(Semaphore::new(refresh::MAX_REFRESHES)),
                max_in_flight: max_in_flight.min(MAX_IN_FLIGHT),
                config,
                cache,
                origin,
                policy,
                events,
                in_flight: Mutex::default(),
                failures: moka::sync::Cache::builder()
                    .max_capacity(MAX_REMEMBERED_FAILURES)
                    .time_to_live(failure_ttl)
                    .build(),
                runtime: Handle::current(),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// Joins the flight for this target, or begins one.
    ///
    /// # Errors
    /// What a flight for it has come to lately, [`FetchError::TooManyFetches`], or
    /// [`FetchError::Stopping`].
    pub fn join_or_start(
        &self,
        admitted: &Admitted,
        expected: &ExpectedDigests,
    ) -> Result<BodyReader, FetchError> {
        let mut fetch_key = FetchKey {
            key: Key::new(admitted.target()),
            expected: expected.clone(),
        };
        // What the follower holds against the body himself.
        let mut own = ExpectedDigests::nothing();
        let is_fetched_elsewhere =
            !expected.is_empty() && self.shared.cache.is_probably_leased(fetch_key.key);
        let mut in_flight = self.shared.in_flight();
        if let Some(fetch) = in_flight.get(fetch_key.key, expected) {
            return fetch.join(own);
        }
        // Every flight computes SHA-256, so that whoever expects no more than that can read along
        // with the others.
        if expected
            .iter()
            .all(|digest| digest.algorithm() == Algorithm::Sha256)
        {
            if let Some(fetch) = in_flight.get(fetch_key.key, &ExpectedDigests::nothing()) {
                return fetch.join(expected.clone());
            }
            if is_fetched_elsewhere {
                own = std::mem::replace(&mut fetch_key.expected, ExpectedDigests::nothing());
            }
        }
        if let Some(failure) = self.shared.failures.get(&fetch_key) {
            return Err(failure);
        }
        if self.shared.stop.is_cancelled() || self.shared.tasks.is_closed() {
            return Err(FetchError::Stopping);
        }
        if in_flight.count >= self.shared.max_in_flight {
            return Err(FetchError::TooManyFetches);
        }
        let fetch = Arc::new(InFlightFetch::new());
        let reader = fetch.add_reader(false, own);
        in_flight.insert(&fetch_key, Arc::clone(&fetch));
        let task = job::run(Arc::clone(&self.shared), fetch, fetch_key, admitted.clone());
        self.shared.tasks.spawn_on(task, &self.shared.runtime);
        Ok(reader)
    }

    /// Whether a client may be sent elsewhere: nothing is known of the target, neither a flight,
    /// here or in another process, nor a failure of its own or of its host.
    #[must_use]
    pub fn has_no_state_for(&self, target: &Target) -> bool {
        let key = Key::new(target);
        let fetch_key = FetchKey {
            key,
            expected: ExpectedDigests::nothing(),
        };
        !self.shared.in_flight().by_key.contains_key(&key)
            && !self.shared.failures.contains_key(&fetch_key)
            && !self.shared.circuits.is_open(target)
            && !self.shared.cache.is_probably_leased(key)
    }

    /// Flights at this moment.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight().count
    }

    /// Takes no more flights, lets those that are under way come to their end for `grace`, then
    /// breaks them off.
    pub async fn stop(&self, grace: Duration) {
        self.shared.tasks.close();
        if tokio::time::timeout(grace, self.shared.tasks.wait())
            .await
            .is_err()
        {
            self.shared.stop.cancel();
            self.shared.tasks.wait().await;
        }
    }
}

impl Shared {
    fn in_flight(&self) -> MutexGuard<'_, InFlightMap> {
        lock::lock(&self.in_flight)
    }
}
