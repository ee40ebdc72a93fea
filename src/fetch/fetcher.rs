//! Entry point of the module: starts fetches and joins requests to them. The main type is
//! [`Fetcher`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::adopt::adopt_observation;
use super::body_reader::BodyReader;
use super::host_circuits::OpenCircuit;
use super::host_limits::HostPermit;
use super::in_flight::FetchPurpose;
use super::job::{self, FetchInput};
use super::live_fetches::{FetchAim, FetchView};
use super::pieces::PeerPieces;
use super::revalidation::{self, ExchangeReader, SharedRequest};
use super::shared_body::SharedBody;
use super::state::{FetcherLimits, FetcherServices, FetcherState};
use super::unread_fetches::is_surplus;
use super::{Config, FetchError};
use crate::cache::CacheError;
use crate::freshness::Staleness;
use crate::limits::PoolLevel;
use crate::metrics::FetchCounts;
use crate::model::{ExpectedDigests, Key, Sha256, Target};
use crate::policy::{Admitted, Class};

/// Load of all fetches at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLoad {
    pub in_flight: usize,
    /// Fetches that have begun, those that wait included.
    pub begun: PoolLevel,
    /// Exchanges of class `revalidate`.
    pub exchanges: PoolLevel,
    /// Fetches that may use the network.
    pub slots: PoolLevel,
    /// Hosts with an open circuit.
    pub open_circuits: usize,
}

/// All fetches of this process. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    pub(super) state: Arc<FetcherState>,
}

impl Fetcher {
    /// Fetches run on the runtime of the caller.
    #[must_use]
    pub fn new(config: Config, limits: FetcherLimits, services: FetcherServices) -> Self {
        Self {
            state: Arc::new(FetcherState::new(config, limits, services)),
        }
    }

    /// Joins the in-flight fetch of a target, or starts one. The reader checks `expected`, and the
    /// fetch does not depend on it.
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
        let input = FetchInput {
            admitted: admitted.clone(),
            purpose: FetchPurpose::Answer,
            wanted: expected.clone(),
            peers: self.peers_for(admitted),
        };
        self.join_or_start_for(input, || Ok(()))
    }

    /// Starts the fetch of a target that no process fetches and no peer owns, for later requests.
    ///
    /// # Errors
    /// As [`Fetcher::join_or_start`], and [`FetchError::Abandoned`] if the client has too many
    /// fetches that wait without a reader.
    pub fn start_unread(&self, admitted: &Admitted) -> Result<(), FetchError> {
        if is_surplus(&self.state, admitted) {
            return Err(FetchError::Abandoned);
        }
        let reader = self.join_or_start(admitted, &ExpectedDigests::nothing())?;
        drop(reader);
        Ok(())
    }

    /// Returns the state of all bodies that come in pieces from peers.
    #[must_use]
    pub fn peer_pieces(&self) -> Arc<PeerPieces> {
        Arc::clone(&self.state.peer_pieces)
    }

    /// Returns the peers that own a target before this node does. A request of a peer is never sent
    /// on.
    fn peers_for(&self, admitted: &Admitted) -> Vec<Target> {
        // A peer gets nothing that only a credential of this node gives.
        let is_private = admitted.target().is_private();
        if is_private || admitted.is_from_peer() || admitted.class() != Class::Immutable {
            return Vec::new();
        }
        let key = Key::new(admitted.target());
        self.state.cluster.owners_before_self(key)
    }

    /// Joins the fetch of `input`, or starts it if `may_start` allows that. No other fetch starts
    /// or ends between the two.
    fn join_or_start_for(
        &self,
        input: FetchInput,
        may_start: impl FnOnce() -> Result<(), FetchError>,
    ) -> Result<BodyReader, FetchError> {
        let (admitted, purpose, expected) = (&input.admitted, input.purpose, &input.wanted);
        let key = Key::new(admitted.target());
        let mut in_flight = self.state.in_flight();
        if let Some(body) = in_flight.get(key, purpose) {
            if admitted.is_from_peer() && body.asks_peers() {
                return Err(FetchError::AsksPeer);
            }
            return body.join(admitted.pool_client(), expected.clone());
        }
        if let Some(failure) = self.state.negative_cache.get(&key)
            // The failed request may have lacked the authorization of this one.
            && !(admitted.has_own_authorization() && failure.is_denial())
        {
            return Err(failure);
        }
        if self.state.has_stopped() {
            return Err(FetchError::Stopping);
        }
        let client = admitted.pool_client();
        let begun = self.state.fetches.try_acquire(client);
        let begun = begun.map_err(|_| FetchError::TooManyFetches)?;
        may_start()?;
        let cache = self.state.cache.clone();
        let mut body = SharedBody::new(cache, client);
        if !input.peers.is_empty() {
            body = body.asking_peers();
        }
        let body = Arc::new(body);
        let reader = body.first_reader(client, expected.clone());
        let begun = body.readership().hold(begun);
        let aim = match purpose {
            FetchPurpose::Answer => FetchAim::Answer,
            FetchPurpose::OtherBytes => FetchAim::OtherBytes,
        };
        let place = self
            .state
            .live
            .register(admitted.target(), aim, body.meter());
        in_flight.insert(key, purpose, Arc::clone(&body));
        let task = job::run(Arc::clone(&self.state), body, input);
        let task = async move {
            task.await;
            drop((begun, place));
        };
        self.state.tasks.spawn_on(task, &self.state.runtime);
        Ok(reader)
    }

    /// Does the same as [`Fetcher::join_or_start`] for a target of which no stored object has the
    /// stated digests. `found` is the digest of its answer.
    ///
    /// # Errors
    /// [`FetchError::Mismatch`] if upstream did not have the digests a while ago, or was asked for
    /// others too often. Otherwise as [`Fetcher::join_or_start`].
    pub fn request_other_bytes(
        &self,
        admitted: &Admitted,
        stated: &ExpectedDigests,
        found: Sha256,
    ) -> Result<BodyReader, FetchError> {
        let key = Key::new(admitted.target());
        let refusals = &self.state.refusals;
        let mismatch = |found| FetchError::Mismatch {
            expected: stated.clone(),
            found,
        };
        let check_refusal = || {
            refusals
                .get(key, stated)
                .map_or(Ok(()), |found| Err(mismatch(found)))
        };
        check_refusal()?;
        let input = FetchInput {
            admitted: admitted.clone(),
            purpose: FetchPurpose::OtherBytes,
            wanted: stated.clone(),
            peers: Vec::new(),
        };
        self.join_or_start_for(input, || {
            // A fetch of the same bytes may have ended since.
            check_refusal()?;
            let is_allowed = refusals.count_request(key, admitted.pool_client());
            is_allowed.then_some(()).ok_or_else(|| mismatch(found))
        })
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

    /// Waits for permission to send a request that no other request shares. The permit is held
    /// until the response begins. `if_unreachable` says whether a stored response can answer.
    ///
    /// # Errors
    /// [`FetchError::TooManyFetches`] after `fetch.idle_timeout`, and earlier if a stored response
    /// can answer.
    pub async fn acquire_lone_permit(
        &self,
        admitted: &Admitted,
        if_unreachable: Staleness,
    ) -> Result<HostPermit, FetchError> {
        let longest = self.state.config.longest_host_wait(if_unreachable);
        let acquired = self.state.host_limiter.acquire_lone(admitted);
        let acquired = timeout(longest, acquired).await;
        acquired.map_err(|_| FetchError::TooManyFetches)?
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

    /// Whether this node fetches nothing for peers.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.state.cluster.is_draining()
    }

    /// Returns whether a peer may ask this node for a target.
    ///
    /// # Errors
    /// [`FetchError::AsksPeer`] or [`FetchError::Stopping`].
    pub fn accept_peer(&self, target: &Target) -> Result<(), FetchError> {
        match self.find_body(target) {
            Some(body) if body.asks_peers() => Err(FetchError::AsksPeer),
            None if self.state.is_stopping() => Err(FetchError::Stopping),
            _ => Ok(()),
        }
    }

    /// Whether this process fetches the target, and asks no peer for it.
    #[must_use]
    pub fn is_fetching_alone(&self, target: &Target) -> bool {
        self.find_body(target)
            .is_some_and(|body| !body.asks_peers())
    }

    /// Waits for the end of the in-flight fetch of a target, if there is one. The budget of a fetch
    /// bounds that.
    pub async fn wait_finished(&self, target: &Target) {
        if let Some(body) = self.find_body(target) {
            body.wait_finished().await;
        }
    }

    fn find_body(&self, target: &Target) -> Option<Arc<SharedBody>> {
        let in_flight = self.state.in_flight();
        let key = Key::new(target);
        in_flight.get(key, FetchPurpose::Answer).cloned()
    }

    /// Whether this process fetches the target.
    #[must_use]
    pub fn is_fetching(&self, target: &Target) -> bool {
        self.state
            .in_flight()
            .get(Key::new(target), FetchPurpose::Answer)
            .is_some()
    }

    /// Whether a client may be redirected to the origin: no process fetches the target, no peer
    /// owns it, and neither the target nor its host has failed recently. A fetch of another process
    /// matters only if this one has a permit to follow it.
    #[must_use]
    pub fn has_no_state_for(&self, admitted: &Admitted) -> bool {
        let key = Key::new(admitted.target());
        self.state
            .in_flight()
            .get(key, FetchPurpose::Answer)
            .is_none()
            && !self.state.negative_cache.contains_key(&key)
            && !self.state.circuits.is_open(admitted)
            && self.peers_for(admitted).is_empty()
            && (self.state.fetches.free_for(admitted.pool_client()) == 0
                || !self.state.cache.leases().is_probably_held(key))
    }

    /// Number of in-flight fetches.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.state.in_flight().count()
    }

    /// Returns the load of all fetches at present.
    #[must_use]
    pub fn load(&self) -> FetchLoad {
        FetchLoad {
            in_flight: self.in_flight(),
            begun: self.state.fetches.level(),
            exchanges: self.state.exchange_permits.level(),
            slots: self.state.host_limiter.total_level(),
            open_circuits: self.state.circuits.count_open(),
        }
    }

    /// Returns the fetches that run now, the oldest first.
    #[must_use]
    pub fn views(&self) -> Vec<FetchView> {
        self.state.live.views()
    }

    /// Returns up to `limit` circuits that hold requests back.
    #[must_use]
    pub fn open_circuits(&self, limit: usize) -> Vec<OpenCircuit> {
        self.state.circuits.list_open(limit)
    }

    /// Returns the counts of the fetches up to now.
    #[must_use]
    pub fn counts(&self) -> &Arc<FetchCounts> {
        &self.state.counts
    }

    /// Refuses new fetches of operators and peers, waits up to `grace` for in-flight fetches, and
    /// then cancels them.
    pub async fn stop(&self, grace: Duration) {
        self.state.tasks.close();
        if timeout(grace, self.state.tasks.wait()).await.is_err() {
            self.state.stop.cancel();
            self.state.tasks.wait().await;
        }
    }
}
