//! Entry point of the module: starts fetches and joins requests to them. The main type is
//! [`Fetcher`].

use std::sync::Arc;
use std::time::Duration;

use super::adopt::adopt_observation;
use super::body_reader::BodyReader;
use super::in_flight::{FetchKey, InFlightMap};
use super::job;
use super::revalidation::{self, ExchangeReader, SharedRequest};
use super::shared_body::SharedBody;
use super::state::{FetcherLimits, FetcherServices, FetcherState};
use super::{Config, FetchError};
use crate::cache::CacheError;
use crate::model::{Algorithm, ExpectedDigests, Key, Target};
use crate::policy::Admitted;

/// All fetches of this process. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    pub(super) state: Arc<FetcherState>,
}

/// Fetch that a request starts, because it can join none.
struct NewFetch {
    fetch_key: FetchKey,
    /// Digests that the reader checks, because the fetch does not.
    reader_expects: ExpectedDigests,
}

impl Fetcher {
    /// Fetches run on the runtime of the caller.
    #[must_use]
    pub fn new(config: Config, limits: FetcherLimits, services: FetcherServices) -> Self {
        Self {
            state: Arc::new(FetcherState::new(config, limits, services)),
        }
    }

    /// Joins the in-flight fetch of a target, or starts one.
    ///
    /// # Errors
    /// The error of a recent fetch from the negative cache, [`FetchError::TooManyFetches`], or
    /// [`FetchError::Stopping`]. [`FetchError::NoSpace`] if the disk has failed during the
    /// in-flight fetch.
    pub fn join_or_start(
        &self,
        admitted: &Admitted,
        expected: &ExpectedDigests,
    ) -> Result<BodyReader, FetchError> {
        let key = Key::new(admitted.target());
        // This look at the disk precedes the lock.
        let is_fetched_elsewhere =
            !expected.is_empty() && self.state.cache.leases().is_probably_held(key);
        let mut in_flight = self.state.in_flight();
        if let Some((body, reader_expects)) = find_fetch(&in_flight, key, expected) {
            return body.join(reader_expects);
        }
        let NewFetch {
            fetch_key,
            reader_expects,
        } = NewFetch::plan(key, expected, is_fetched_elsewhere);
        if let Some(failure) = self.state.negative_cache.get(&fetch_key) {
            return Err(failure);
        }
        if self.state.is_stopping() {
            return Err(FetchError::Stopping);
        }
        if in_flight.count() >= self.state.max_in_flight {
            return Err(FetchError::TooManyFetches);
        }
        let body = Arc::new(SharedBody::new());
        let reader = body.first_reader(reader_expects);
        in_flight.insert(&fetch_key, Arc::clone(&body));
        let task = job::run(Arc::clone(&self.state), body, fetch_key, admitted.clone());
        self.state.tasks.spawn_on(task, &self.state.runtime);
        Ok(reader)
    }

    /// Makes the newest stored response of class `revalidate` the record of a target that is
    /// immutable now. Returns whether the target has a record. While the disk fails, it has none.
    pub async fn adopt_observation(&self, admitted: &Admitted) -> bool {
        let adopted = adopt_observation(&self.state, admitted).await;
        adopted.unwrap_or_else(|error| {
            tracing::warn!(%error, target = %admitted.target(), "stored response was not adopted");
            false
        })
    }

    /// Joins the exchange of an equal request for a target of class `revalidate`, or starts one.
    ///
    /// # Errors
    /// [`FetchError::TooManyFetches`] or [`FetchError::Stopping`].
    pub fn exchange(
        &self,
        admitted: &Admitted,
        request: SharedRequest,
    ) -> Result<ExchangeReader, FetchError> {
        revalidation::join_or_start(&self.state, admitted, request)
    }

    /// Makes responses of class `revalidate` that arrive now for a target count as older than a
    /// change of the target.
    pub fn supersede(&self, key: Key) {
        self.state.exchanges().supersede(key, None);
    }

    /// Removes all stored responses of a target of class `revalidate`, because it has changed.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn remove_stored(&self, key: Key) -> Result<(), CacheError> {
        self.supersede(key);
        self.state.cache.observations().remove(key).await
    }

    /// Whether this process fetches the target.
    #[must_use]
    pub fn is_fetching(&self, target: &Target) -> bool {
        self.state.in_flight().contains_target(Key::new(target))
    }

    /// Whether a client may be redirected to the origin: no process fetches the target, and neither
    /// the target nor its host has failed recently.
    #[must_use]
    pub fn has_no_state_for(&self, target: &Target) -> bool {
        let key = Key::new(target);
        !self.state.in_flight().contains_target(key)
            && !self
                .state
                .negative_cache
                .contains_key(&FetchKey::without_digest(key))
            && !self.state.circuits.is_open(target)
            && !self.state.cache.leases().is_probably_held(key)
    }

    /// Number of in-flight fetches.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.state.in_flight().count()
    }

    /// Refuses new fetches, waits up to `grace` for in-flight fetches, and then cancels them.
    pub async fn stop(&self, grace: Duration) {
        self.state.tasks.close();
        if tokio::time::timeout(grace, self.state.tasks.wait())
            .await
            .is_err()
        {
            self.state.stop.cancel();
            self.state.tasks.wait().await;
        }
    }
}

impl NewFetch {
    /// If another process fetches the target, the fetch expects no digest and the reader checks it.
    /// The fetch then reads the body of the other process.
    fn plan(key: Key, expected: &ExpectedDigests, is_fetched_elsewhere: bool) -> Self {
        if is_fetched_elsewhere && is_only_sha256(expected) {
            return Self {
                fetch_key: FetchKey::without_digest(key),
                reader_expects: expected.clone(),
            };
        }
        Self {
            fetch_key: FetchKey {
                key,
                expected: expected.clone(),
            },
            reader_expects: ExpectedDigests::nothing(),
        }
    }
}

/// Returns a fetch that the request can join, and the digests that its reader must check.
///
/// Every fetch computes SHA-256, so a request that expects nothing else can join a fetch without an
/// expected digest.
fn find_fetch<'a>(
    in_flight: &'a InFlightMap,
    key: Key,
    expected: &ExpectedDigests,
) -> Option<(&'a Arc<SharedBody>, ExpectedDigests)> {
    let nothing = ExpectedDigests::nothing();
    if let Some(body) = in_flight.get(key, expected) {
        return Some((body, nothing));
    }
    if !is_only_sha256(expected) {
        return None;
    }
    let body = in_flight.get(key, &nothing)?;
    Some((body, expected.clone()))
}

fn is_only_sha256(expected: &ExpectedDigests) -> bool {
    expected
        .iter()
        .all(|digest| digest.algorithm() == Algorithm::Sha256)
}
