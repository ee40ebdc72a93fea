//! Fetching: one flight a target, however many want it.
//!
//! A flight belongs to no client: it is a task of its own, writes through the store's staging, and goes on when everybody
//! who followed it has left. The fetch path itself is [`path`]. This room knows no HTTP server and makes no statuses. Its
//! main type is [`Fetcher`].

mod adrift;
mod attempts;
mod breaker;
mod config;
mod error;
mod flight;
mod intake;
mod neighbour;
mod note;
mod parent;
mod partial;
mod path;
mod places;
mod refresh;
mod restore;
mod witness;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::Config;
pub use error::FetchError;
pub use flight::{Arrival, Follower, Head};
pub use refresh::Refreshed;

use crate::cache::Cache;
use crate::model::{Algorithm, EventSink, Expected, Key, Target};
use crate::origin::Origin;
use crate::policy::{Admitted, Policy};
use breaker::{Breakers, Limits};
use flight::Flight;
use places::Places;

/// How many flights there may be at once, flying or waiting for their turn. Further ones are refused.
pub const MAX_FLIGHTS: usize = 4096;

/// How many failures are remembered.
const MAX_REMEMBERED_FAILURES: u64 = 100_000;

/// What tells flights apart. Who expects certain bytes flies by himself, so that nobody's expectation, which may be wrong,
/// decides what others get.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FlightKey {
    key: Key,
    expected: Expected,
}

/// The flights of this process, those of one target together.
#[derive(Default)]
struct Flights {
    by_key: HashMap<Key, Vec<(Expected, Arc<Flight>)>>,
    count: usize,
}

impl Flights {
    fn get(&self, key: Key, expected: &Expected) -> Option<&Arc<Flight>> {
        self.by_key.get(&key)?.iter().find(|(other, _)| other == expected).map(|(_, flight)| flight)
    }

    fn insert(&mut self, name: &FlightKey, flight: Arc<Flight>) {
        self.by_key.entry(name.key).or_default().push((name.expected.clone(), flight));
        self.count += 1;
    }

    fn remove(&mut self, name: &FlightKey) {
        let Some(of_key) = self.by_key.get_mut(&name.key) else { return };
        if let Some(at) = of_key.iter().position(|(expected, _)| *expected == name.expected) {
            of_key.swap_remove(at);
            self.count -= 1;
        }
        if of_key.is_empty() {
            self.by_key.remove(&name.key);
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
    max_flights: usize,
    cache: Cache,
    origin: Arc<Origin>,
    policy: Arc<Policy>,
    events: EventSink,
    flights: Mutex<Flights>,
    failures: moka::sync::Cache<FlightKey, FetchError>,
    breakers: Breakers,
    places: Places,
    refreshes: Arc<Semaphore>,
    /// Flights run here, not on the threads that serve clients.
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Fetcher {
    /// Flights run on the runtime that this is called in, `max_flights` at once. A failure is remembered for `failure_ttl`.
    #[must_use]
    pub fn new(
        config: Config,
        max_flights: usize,
        cache: Cache,
        origin: Arc<Origin>,
        policy: Arc<Policy>,
        events: EventSink,
        failure_ttl: Duration,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                places: Places::new(config.concurrency, config.per_host),
                breakers: Breakers::new(Limits { failures: config.breaker_failures, rest: config.breaker_rest.0 }),
                refreshes: Arc::new(Semaphore::new(refresh::MAX_REFRESHES)),
                max_flights: max_flights.min(MAX_FLIGHTS),
                config,
                cache,
                origin,
                policy,
                events,
                flights: Mutex::default(),
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
    /// What a flight for it has come to lately, [`FetchError::Busy`], or [`FetchError::Stopping`].
    pub fn follow(&self, admitted: &Admitted, expected: &Expected) -> Result<Follower, FetchError> {
        let mut name = FlightKey { key: Key::of(admitted.target()), expected: expected.clone() };
        // What the follower holds against the body himself.
        let mut own = Expected::nothing();
        let is_fetched_elsewhere = !expected.is_empty() && self.shared.cache.is_probably_leased(name.key);
        let mut flights = self.shared.flights();
        if let Some(flight) = flights.get(name.key, expected) {
            return flight.join(own);
        }
        // Every flight computes SHA-256, so that whoever expects no more than that can read along with the others.
        if expected.iter().all(|digest| digest.algorithm() == Algorithm::Sha256) {
            if let Some(flight) = flights.get(name.key, &Expected::nothing()) {
                return flight.join(expected.clone());
            }
            if is_fetched_elsewhere {
                own = std::mem::replace(&mut name.expected, Expected::nothing());
            }
        }
        if let Some(failure) = self.shared.failures.get(&name) {
            return Err(failure);
        }
        if self.shared.stop.is_cancelled() || self.shared.tasks.is_closed() {
            return Err(FetchError::Stopping);
        }
        if flights.count >= self.shared.max_flights {
            return Err(FetchError::Busy);
        }
        let flight = Arc::new(Flight::new());
        let follower = flight.follow(false, own);
        flights.insert(&name, Arc::clone(&flight));
        let task = path::fly(Arc::clone(&self.shared), flight, name, admitted.clone());
        self.shared.tasks.spawn_on(task, &self.shared.runtime);
        Ok(follower)
    }

    /// Whether a client may be sent elsewhere: nothing is known of the target, neither a flight, here or in another process,
    /// nor a failure of its own or of its host.
    #[must_use]
    pub fn knows_nothing_of(&self, target: &Target) -> bool {
        let key = Key::of(target);
        let name = FlightKey { key, expected: Expected::nothing() };
        !self.shared.flights().by_key.contains_key(&key)
            && !self.shared.failures.contains_key(&name)
            && !self.shared.breakers.is_open(target)
            && !self.shared.cache.is_probably_leased(key)
    }

    /// Flights at this moment.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.shared.flights().count
    }

    /// Takes no more flights, lets those that are under way come to their end for `grace`, then breaks them off.
    pub async fn stop(&self, grace: Duration) {
        self.shared.tasks.close();
        if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
            self.shared.stop.cancel();
            self.shared.tasks.wait().await;
        }
    }
}

impl Shared {
    fn flights(&self) -> MutexGuard<'_, Flights> {
        lock(&self.flights)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of these maps is one call, so that a panic leaves none half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
