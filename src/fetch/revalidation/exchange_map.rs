//! Registry of exchanges: those that requests can join, and the results of recent ones. The main
//! type is [`ExchangeMap`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::Exchange;
use super::request::ExchangeKey;
use crate::freshness::Observation;
use crate::model::Key;

/// Bound on the remembered requests whose responses could not be shared.
const MAX_UNSHAREABLE: u64 = 10_000;

/// How long requests are sent one by one after a response that could not be shared.
const UNSHAREABLE_TTL: Duration = Duration::from_mins(1);

/// Bound on the header fields of the remembered results of exchanges, in bytes.
const MAX_RECENT_BYTES: u64 = 16 << 20;

/// Memory that a remembered result takes beside its header fields, in bytes.
const RECENT_OVERHEAD_BYTES: usize = 1024;

/// How long the result of an exchange is remembered. A request that arrived before may still look
/// for the exchange.
const RECENT_TTL: Duration = Duration::from_secs(10);

type RecentResult = (Instant, Arc<Observation>);

/// Exchanges of this process.
pub struct ExchangeMap {
    by_target: HashMap<Key, Vec<RunningExchange>>,
    recent: moka::sync::Cache<ExchangeKey, RecentResult>,
    unshareable: moka::sync::Cache<ExchangeKey, ()>,
}

/// An exchange that has not ended.
struct RunningExchange {
    key: ExchangeKey,
    exchange: Arc<Exchange>,
    audience: Audience,
}

/// Requests that may have the response of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    EqualRequests,
    FirstRequest,
}

impl ExchangeMap {
    pub fn new() -> Self {
        Self {
            by_target: HashMap::new(),
            recent: moka::sync::Cache::builder()
                .max_capacity(MAX_RECENT_BYTES)
                .weigher(|_, (_, observation): &RecentResult| weight_bytes(observation))
                .time_to_live(RECENT_TTL)
                .build(),
            unshareable: moka::sync::Cache::builder()
                .max_capacity(MAX_UNSHAREABLE)
                .time_to_live(UNSHAREABLE_TTL)
                .build(),
        }
    }

    /// Returns the exchange that a request can join. If a client may have the whole response, the
    /// origin may have another one since.
    pub(super) fn get(&self, key: &ExchangeKey) -> Option<&Arc<Exchange>> {
        let running = self.by_target.get(&key.key)?.iter();
        let mut joinable = running.filter(|one| {
            one.audience == Audience::EqualRequests && !one.exchange.body.is_checked()
        });
        joinable
            .find(|one| one.key == *key)
            .map(|one| &one.exchange)
    }

    pub(super) fn insert(&mut self, key: ExchangeKey, exchange: Arc<Exchange>, audience: Audience) {
        let running = self.by_target.entry(key.key).or_default();
        running.push(RunningExchange {
            key,
            exchange,
            audience,
        });
    }

    pub(super) fn remove(&mut self, key: &ExchangeKey, exchange: &Arc<Exchange>) {
        let Some(running) = self.by_target.get_mut(&key.key) else {
            return;
        };
        running.retain(|one| !Arc::ptr_eq(&one.exchange, exchange));
        if running.is_empty() {
            self.by_target.remove(&key.key);
        }
    }

    /// Marks the running exchanges of a target, because the target has changed meanwhile. Their
    /// responses may be older. `newest` is the exchange that brought the change, if one did.
    pub fn supersede(&self, key: Key, newest: Option<&Arc<Exchange>>) {
        let running = self.by_target.get(&key).into_iter().flatten();
        for one in running.filter(|one| !newest.is_some_and(|own| Arc::ptr_eq(own, &one.exchange)))
        {
            one.exchange.supersede();
        }
    }

    /// Remembers the result of an exchange. It is current for requests that arrived before.
    pub(super) fn remember_current(&self, key: &ExchangeKey, observation: &Arc<Observation>) {
        let result = (Instant::now(), Arc::clone(observation));
        self.recent.insert(key.clone(), result);
    }

    /// Returns the result of an exchange that ended after the request arrived.
    pub(super) fn current(
        &self,
        key: &ExchangeKey,
        arrived_at: Instant,
    ) -> Option<Arc<Observation>> {
        let (ended_at, observation) = self.recent.get(key)?;
        (ended_at >= arrived_at).then_some(observation)
    }

    /// Returns which requests may have the response to a request.
    pub(super) fn audience(&self, key: &ExchangeKey) -> Audience {
        if self.unshareable.contains_key(key) {
            Audience::FirstRequest
        } else {
            Audience::EqualRequests
        }
    }

    pub(super) fn remember_unshareable(&self, key: &ExchangeKey) {
        self.unshareable.insert(key.clone(), ());
    }
}

fn weight_bytes(observation: &Observation) -> u32 {
    let size_bytes = observation.fields.size_bytes() + RECENT_OVERHEAD_BYTES;
    u32::try_from(size_bytes).unwrap_or(u32::MAX)
}
