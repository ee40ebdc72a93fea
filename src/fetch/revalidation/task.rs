//! Steps of an exchange, from the request to the answer. [`run`] is the entry point.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::exchange::{Exchange, SharedAnswer};
use super::judge::{Times, Verdict, is_foreign_not_modified, judge};
use super::request::{ExchangeKey, SharedRequest};
use crate::cache::TargetSnapshot;
use crate::fetch::FetchError;
use crate::fetch::fetch_meter::ByteOrigin;
use crate::fetch::host_limits::HostUse;
use crate::fetch::moving_permit::MovingPermit;
use crate::fetch::state::FetcherState;
use crate::freshness::{Observation, Redirects, Staleness};
use crate::metrics::ExchangeResult;
use crate::model::{Fields, Key, Record};
use crate::origin::{
    Method, OriginError, OriginRequest, ReceivedResponse, RequestFailed, Response,
};
use crate::policy::{Admitted, SourceKind, file_of_companion};

/// One exchange, and what its steps need.
pub struct ExchangeTask {
    pub exchange: Arc<Exchange>,
    pub key: ExchangeKey,
    pub admitted: Admitted,
    pub request: SharedRequest,
}

/// Response to store.
pub(super) struct NewResponse {
    pub observation: Observation,
    /// Snapshot of the target before the request was sent, if the disk could be read.
    pub before: Option<TargetSnapshot>,
}

/// Runs one exchange to its end. `handover` takes a response that is not shared.
pub async fn run(
    state: Arc<FetcherState>,
    task: ExchangeTask,
    handover: oneshot::Sender<ReceivedResponse>,
) {
    let mut guard = ExchangeGuard {
        state: &state,
        task: &task,
        outcome: Err(FetchError::StoreFailed),
    };
    let work = Box::pin(task.exchange(&state, handover));
    let outcome = state.run_within_budget(work).await;
    let result = match &outcome {
        Ok(ExchangeEnd::NotModified) => ExchangeResult::NotModified,
        Ok(ExchangeEnd::PassedOn) => ExchangeResult::Passed,
        Ok(ExchangeEnd::Stored(_)) => ExchangeResult::Stored,
        Err(_) => ExchangeResult::Failed,
    };
    state.counts.exchanges.at(result).increment();
    guard.outcome = outcome;
}

/// Ends an exchange when it is dropped, also by a panic. Otherwise its readers would wait forever.
struct ExchangeGuard<'a> {
    state: &'a FetcherState,
    task: &'a ExchangeTask,
    outcome: Result<ExchangeEnd, FetchError>,
}

/// End of an exchange.
pub(super) enum ExchangeEnd {
    /// The stored response is valid.
    NotModified,
    /// The response went to the request that started the exchange, and was not stored.
    PassedOn,
    /// The body was stored under this record.
    Stored(Arc<Record>),
}

impl Drop for ExchangeGuard<'_> {
    fn drop(&mut self) {
        let exchange = &self.task.exchange;
        self.state.exchanges().remove(&self.task.key, exchange);
        match &self.outcome {
            Ok(ExchangeEnd::Stored(record)) => exchange.body.finish(Ok(Arc::clone(record))),
            Ok(ExchangeEnd::NotModified | ExchangeEnd::PassedOn) => {}
            Err(error) => {
                exchange.set_answer(SharedAnswer::Failed(error.clone()));
                exchange.body.finish(Err(error.clone()));
            }
        }
    }
}

impl ExchangeTask {
    /// Sends the request, and stores or passes on the response.
    async fn exchange(
        &self,
        state: &FetcherState,
        handover: oneshot::Sender<ReceivedResponse>,
    ) -> Result<ExchangeEnd, FetchError> {
        let mut permit = self.acquire_permit(state).await?;
        let before = self.take_snapshot(state).await;
        let origin = ByteOrigin::Source(SourceKind::Origin);
        self.exchange.body.meter().set_origin(origin);
        let (response, times) = self.request(state, &mut permit).await?;
        self.exchange.body.meter().set_length(response.length());
        state
            .policy
            .admit_body(
                &self.admitted,
                response.header("content-type"),
                response.length(),
            )
            .map_err(OriginError::from)?;
        if matches!(response.status(), 200 | 203 | 226) {
            let modified_at = response.stored_headers().modified_at();
            let checked = self.admitted.check_age(modified_at, times.received_at);
            checked.map_err(OriginError::from)?;
        }
        match judge(self.admitted.target(), &self.request, &response, times) {
            Verdict::NotModified(observation) => {
                self.store_validated(state, observation).await;
                Ok(ExchangeEnd::NotModified)
            }
            Verdict::NotModifiedForFirst(observation) => {
                state.exchanges().remember_unshareable(&self.key);
                let answer = SharedAnswer::CurrentForFirst(Arc::new(observation));
                self.exchange.set_answer(answer);
                Ok(ExchangeEnd::NotModified)
            }
            Verdict::Away(error) => Err(error),
            Verdict::PassOn => {
                self.pass_on(state, response.into(), handover);
                Ok(ExchangeEnd::PassedOn)
            }
            Verdict::Store(observation) => {
                let new = NewResponse {
                    observation,
                    before,
                };
                self.store(state, response, new, handover).await
            }
        }
    }

    /// Waits until the host may be asked. A response that is passed on needs no permit any more,
    /// because the client's own limits bound it.
    ///
    /// # Errors
    /// [`FetchError::TooManyFetches`] after `fetch.idle_timeout`, and earlier if a stored response
    /// can answer. [`OriginError::CircuitOpen`] at once.
    async fn acquire_permit<'a>(
        &'a self,
        state: &'a FetcherState,
    ) -> Result<MovingPermit<'a>, FetchError> {
        // Fail before waiting for a permit.
        state.circuits.check(&self.admitted)?;
        let stored = self.request.stored.as_ref();
        let if_unreachable = stored.map_or(Staleness::MustNotServe, |stored| stored.if_unreachable);
        let longest = state.config.longest_host_wait(if_unreachable);
        let readership = self.exchange.body.readership();
        let limiter = &state.host_limiter;
        let mut permit = MovingPermit::new(limiter, readership, HostUse::Exchange, longest);
        permit.acquire(&self.admitted).await?;
        Ok(permit)
    }

    /// Returns what is stored before the request is sent, or `None` if the disk fails.
    async fn take_snapshot(&self, state: &FetcherState) -> Option<TargetSnapshot> {
        let file = file_of_companion(self.admitted.target());
        let observations = state.cache.observations();
        let file = file.as_ref().map(Key::new);
        let read = observations.snapshot(self.key.key, file).await;
        read.inspect_err(|error| tracing::warn!(%error, "stored responses cannot be read"))
            .ok()
    }

    /// Sends the request, and once more without validators if a 304 is about another response than
    /// the stored one.
    async fn request(
        &self,
        state: &FetcherState,
        permit: &mut MovingPermit<'_>,
    ) -> Result<(Response, Times), FetchError> {
        let fields = self.request.upstream_fields();
        let (response, times) = self.send(state, permit, &fields).await?;
        if !is_foreign_not_modified(&self.request, &response) {
            return Ok((response, times));
        }
        let target = self.admitted.target();
        tracing::debug!(%target, "the origin confirmed another response than the stored one");
        drop(response);
        permit.acquire(&self.admitted).await?;
        let fields = self.request.unconditional_fields();
        self.send(state, permit, &fields).await
    }

    async fn send(
        &self,
        state: &FetcherState,
        permit: &mut MovingPermit<'_>,
        fields: &Fields,
    ) -> Result<(Response, Times), FetchError> {
        let _probe = state.circuits.try_acquire(&self.admitted)?;
        let request = OriginRequest {
            headers: fields
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect(),
            follow_redirects: self.request.redirects == Redirects::Followed,
            ..OriginRequest::new(Method::Get)
        };
        let requested_at = SystemTime::now();
        let origin = &state.origin;
        match origin.request_within(&self.admitted, request, permit).await {
            Ok(response) => {
                state.circuits.record_success(&self.admitted);
                let times = Times {
                    requested_at,
                    received_at: SystemTime::now(),
                };
                Ok((response, times))
            }
            Err(RequestFailed {
                error,
                is_redirected,
            }) => {
                if let Some(fault) = error.host_fault().filter(|_| !is_redirected) {
                    let circuits = &state.circuits;
                    circuits.record_failure(&self.admitted, fault, &error);
                }
                Err(error.into())
            }
        }
    }

    /// Stores the head that a 304 has updated. Readers get it also if the disk fails, or if another
    /// response has been stored since.
    async fn store_validated(&self, state: &FetcherState, observation: Observation) {
        let replaced = self.replace_head(state, observation.clone()).await;
        let answer = Arc::new(replaced.unwrap_or(observation));
        let mut exchanges = state.exchanges();
        exchanges.remember_current(&self.key, &answer);
        // A request that arrives after the answer asks the origin again.
        exchanges.remove(&self.key, &self.exchange);
        drop(exchanges);
        self.exchange.set_answer(SharedAnswer::Current(answer));
    }

    async fn replace_head(
        &self,
        state: &FetcherState,
        observation: Observation,
    ) -> Option<Observation> {
        // The 304 may be older than the change.
        if self.exchange.is_superseded() {
            return None;
        }
        let validated = Arc::clone(&self.request.stored.as_ref()?.observation);
        let replaced = state
            .cache
            .observations()
            .replace_head(validated, observation)
            .await;
        let replaced = replaced.inspect_err(|error| {
            tracing::warn!(%error, "validated response could not be updated");
        });
        self.invalidate_if_superseded(state).await;
        replaced.ok().flatten()
    }

    /// Gives the response to the request that started the exchange.
    pub(super) fn pass_on(
        &self,
        state: &FetcherState,
        response: ReceivedResponse,
        handover: oneshot::Sender<ReceivedResponse>,
    ) {
        state.exchanges().remember_unshareable(&self.key);
        // If the client has gone, the response is dropped.
        if handover.send(response).is_err() {
            tracing::debug!(target = %self.admitted.target(), "no client waits for the response");
        }
        self.exchange.set_answer(SharedAnswer::Unshareable);
    }
}
