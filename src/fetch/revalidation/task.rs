//! Steps of an exchange, from the request to the stored response. [`run`] is the entry point.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::exchange::{Exchange, SharedAnswer, StreamingResponse};
use super::request::{ExchangeKey, SharedRequest};
use crate::cache::{Finished, Staging};
use crate::fetch::FetchError;
use crate::fetch::shared_body::Head;
use crate::fetch::state::FetcherState;
use crate::fetch::withheld_end::WithheldEnd;
use crate::freshness::{
    NotStorable, Observation, Redirects, Staleness, StoredResponse, VaryNames, WithoutValidator,
    check_storable, freshen,
};
use crate::model::{ExpectedDigests, Fields, Hasher, Key, Record, Sha256, is_end_to_end_header};
use crate::origin::{
    ConnectionFault, Method, OriginError, OriginRequest, ReceivedResponse, RequestFailed, Response,
};
use crate::policy::{Admitted, PolicyDenied, file_and_companions};

/// One exchange, and what its steps need.
pub(super) struct ExchangeTask {
    pub exchange: Arc<Exchange>,
    pub key: ExchangeKey,
    pub admitted: Admitted,
    pub request: SharedRequest,
}

/// Times of a request and its response.
#[derive(Clone, Copy)]
struct Times {
    requested_at: SystemTime,
    received_at: SystemTime,
}

impl Times {
    fn head(self, status: u16, fields: &Fields) -> StoredResponse<'_> {
        StoredResponse {
            status,
            fields,
            requested_at: self.requested_at,
            received_at: self.received_at,
        }
    }
}

/// Treatment of a response.
enum Verdict {
    /// The stored response is valid.
    NotModified(Observation),
    /// The stored response answers in place of this one.
    Away(FetchError),
    /// The response goes to the request that started the exchange.
    PassOn,
    Store(Observation),
}

/// Runs one exchange to its end. `handover` takes a response that is not shared.
pub(super) async fn run(
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
    guard.outcome = state.run_within_budget(work).await;
}

/// Ends an exchange when it is dropped, also by a panic. Otherwise its readers would wait forever.
struct ExchangeGuard<'a> {
    state: &'a FetcherState,
    task: &'a ExchangeTask,
    outcome: Result<Option<Arc<Record>>, FetchError>,
}

impl Drop for ExchangeGuard<'_> {
    fn drop(&mut self) {
        let exchange = &self.task.exchange;
        self.state.exchanges().remove(&self.task.key, exchange);
        match &self.outcome {
            Ok(Some(record)) => exchange.body.finish(Ok(Arc::clone(record))),
            Ok(None) => {}
            Err(error) => {
                exchange.set_answer(SharedAnswer::Failed(error.clone()));
                exchange.body.finish(Err(error.clone()));
            }
        }
    }
}

impl ExchangeTask {
    /// Sends the request, and stores or passes on the response. Returns the record of a stored
    /// body.
    async fn exchange(
        &self,
        state: &FetcherState,
        handover: oneshot::Sender<ReceivedResponse>,
    ) -> Result<Option<Arc<Record>>, FetchError> {
        let (response, times) = self.send(state).await?;
        state
            .policy
            .admit_body(response.header("content-type"), response.length())
            .map_err(OriginError::from)?;
        if response.status() == 200 {
            let modified_at = response.stored_headers().modified_at();
            let checked = self.admitted.check_age(modified_at, times.received_at);
            checked.map_err(OriginError::from)?;
        }
        match self.judge(&response, times) {
            Verdict::NotModified(observation) => {
                self.store_validated(state, observation).await;
                Ok(None)
            }
            Verdict::Away(error) => Err(error),
            Verdict::PassOn => {
                self.pass_on(state, response.into(), handover);
                Ok(None)
            }
            Verdict::Store(observation) => self.store(state, response, observation, handover).await,
        }
    }

    async fn send(&self, state: &FetcherState) -> Result<(Response, Times), FetchError> {
        let target = self.admitted.target();
        state.circuits.check(target)?;
        let _probe = state.circuits.try_acquire(target)?;
        let fields = self.request.upstream_fields();
        let request = OriginRequest {
            headers: fields
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect(),
            follow_redirects: self.request.redirects == Redirects::Followed,
            ..OriginRequest::new(Method::Get)
        };
        let requested_at = SystemTime::now();
        match state.origin.request(&self.admitted, request).await {
            Ok(response) => {
                state.circuits.record_success(target);
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
                if error.counts_against_host() && !is_redirected {
                    state.circuits.record_failure(target, &error);
                }
                Err(error.into())
            }
        }
    }

    fn judge(&self, response: &Response, times: Times) -> Verdict {
        let stored = self.request.stored.as_ref();
        let fields = end_to_end_fields(response);
        if let Some(stored) = stored.filter(|_| response.status() == 304) {
            let fields = freshen(&stored.observation.fields, &fields);
            let head = times.head(200, &fields);
            return Verdict::NotModified(stored.observation.validated(&head));
        }
        if let Some(stored) = stored.filter(|stored| stored.if_unreachable == Staleness::MayServe) {
            let status = response.as_error();
            if status.is_away() {
                return Verdict::Away(status.into());
            }
            if replaces_file_by_page(response, &stored.observation) {
                return Verdict::Away(FetchError::WrongFileType);
            }
        }
        match self.observe(response, &fields, times) {
            Ok(observation) => Verdict::Store(observation),
            Err(reason) => {
                let target = self.admitted.target();
                tracing::debug!(%target, %reason, "response is not shared");
                Verdict::PassOn
            }
        }
    }

    /// Returns the observation of a response that may be stored.
    fn observe(
        &self,
        response: &Response,
        fields: &Fields,
        times: Times,
    ) -> Result<Observation, NotStorable> {
        let head = times.head(response.status(), fields);
        let request = &self.request.fields;
        check_storable(request, &head, self.request.without_validator)?;
        let vary = VaryNames::from_response(fields)
            .select(request)
            .ok_or(NotStorable::VaryAny)?;
        let redirects = if response.is_redirected() {
            Redirects::Followed
        } else {
            Redirects::None
        };
        let target = self.admitted.target();
        Ok(Observation::new(target, vary, &head, response.source()).with_redirects(redirects))
    }

    /// Stores the head that a 304 has updated, unless it forbids that. Readers get it also if the
    /// disk fails.
    async fn store_validated(&self, state: &FetcherState, observation: Observation) {
        let (request, head) = (&self.request.fields, observation.response());
        let answer = match check_storable(request, &head, WithoutValidator::Store) {
            Ok(()) => self.replace_head(state, observation).await,
            Err(_) => observation,
        };
        let answer = Arc::new(answer);
        state.exchanges().remember_current(&self.key, &answer);
        self.exchange.set_answer(SharedAnswer::Current(answer));
    }

    async fn replace_head(&self, state: &FetcherState, observation: Observation) -> Observation {
        let replaced = state
            .cache
            .observations()
            .replace(observation.clone())
            .await;
        replaced.unwrap_or_else(|error| {
            tracing::warn!(%error, "validated response could not be updated");
            observation
        })
    }

    /// Gives the response to the request that started the exchange.
    fn pass_on(
        &self,
        state: &FetcherState,
        response: ReceivedResponse,
        handover: oneshot::Sender<ReceivedResponse>,
    ) {
        let exchanges = state.exchanges();
        exchanges.remember_unshareable(&self.key);
        drop(exchanges);
        // If the client has gone, the response is dropped.
        if handover.send(response).is_err() {
            tracing::debug!(target = %self.admitted.target(), "no client waits for the response");
        }
        self.exchange.set_answer(SharedAnswer::Unshareable);
    }

    /// Stages the body, shows it to readers while it arrives, and publishes it.
    async fn store(
        &self,
        state: &FetcherState,
        mut response: Response,
        observation: Observation,
        handover: oneshot::Sender<ReceivedResponse>,
    ) -> Result<Option<Arc<Record>>, FetchError> {
        let first = self.receive_first(&mut response).await?;
        let received = ReceivedResponse { response, first };
        if observation.status == 200 && !self.request.file_type.matches(&received.first.concat()) {
            let stored = self.request.stored.as_ref();
            if stored.is_some_and(|stored| stored.if_unreachable == Staleness::MayServe) {
                return Err(FetchError::WrongFileType);
            }
            self.pass_on(state, received, handover);
            return Ok(None);
        }
        let hasher = Hasher::new(&ExpectedDigests::nothing());
        let observations = state.cache.observations();
        let staging = observations.stage(received.response.length(), hasher).await;
        let Ok(staging) = staging else {
            self.pass_on(state, received, handover);
            return Ok(None);
        };
        let staging = self.receive(state, received, &observation, staging).await?;
        let finished = staging.finish()?;
        let end = WithheldEnd::new(&self.exchange.body, &finished, None);
        let published = end.show_after(self.publish(state, finished, observation));
        published.await.map(Some)
    }

    /// Makes the body the newest response of the target. Returns its record.
    async fn publish(
        &self,
        state: &FetcherState,
        finished: Finished,
        observation: Observation,
    ) -> Result<Arc<Record>, FetchError> {
        let sha256 = finished.digests.sha256;
        let sealed = finished.seal().await?;
        let observations = state.cache.observations();
        let observation = observations.publish(sealed, observation).await?;
        self.invalidate_related(state, sha256).await;
        let record = Arc::new(observation.to_record());
        state
            .exchanges()
            .remember_current(&self.key, &Arc::new(observation));
        Ok(record)
    }

    /// Makes the companions of a changed file stale, or its file and its other companions. A
    /// signature of the old file must not be served with the new one.
    async fn invalidate_related(&self, state: &FetcherState, sha256: Sha256) {
        let stored = self.request.stored.as_ref();
        if stored.is_some_and(|stored| stored.observation.sha256 == sha256) {
            return;
        }
        let related = file_and_companions(self.admitted.target());
        let keys = related.iter().map(Key::new).collect();
        if let Err(error) = state.cache.observations().invalidate(keys).await {
            tracing::warn!(%error, "stored companions could not be made stale");
        }
    }

    /// Receives the chunks that show the file type.
    async fn receive_first(&self, response: &mut Response) -> Result<Vec<Bytes>, FetchError> {
        let (mut first, mut size_bytes) = (Vec::new(), 0);
        while size_bytes < self.request.file_type.sniff_bytes() {
            let Some(chunk) = response.next_chunk().await? else {
                break;
            };
            size_bytes += chunk.len();
            first.push(chunk);
        }
        Ok(first)
    }

    /// Receives the body, and shows each chunk to readers once it is staged.
    async fn receive(
        &self,
        state: &FetcherState,
        received: ReceivedResponse,
        observation: &Observation,
        mut staging: Staging,
    ) -> Result<Staging, FetchError> {
        let ReceivedResponse {
            mut response,
            first,
        } = received;
        let (limit, body) = (state.policy.max_object_size(), &self.exchange.body);
        let length = response.length();
        let head = Arc::new(Head {
            length,
            headers: response.stored_headers(),
        });
        body.start_streaming(Arc::clone(&head), staging.file(), 0);
        let streaming = StreamingResponse {
            observation: Arc::new(observation.clone()),
            head,
        };
        self.exchange.set_answer(SharedAnswer::Streaming(streaming));
        let mut first = first.into_iter();
        while let Some(chunk) = match first.next() {
            Some(chunk) => Some(chunk),
            None => response.next_chunk().await?,
        } {
            if staging.written_bytes() + chunk.len() as u64 > limit.bytes {
                return Err(OriginError::from(PolicyDenied::TooLarge(limit)).into());
            }
            staging.append(chunk.clone()).await?;
            body.advance(staging.written_bytes(), chunk);
        }
        if length.is_some_and(|length| length != staging.written_bytes()) {
            return Err(OriginError::from(ConnectionFault::Truncated).into());
        }
        Ok(staging)
    }
}

/// Whether a response is a page in place of what was no page. A bot protection answers so, and a
/// host that has lost its files.
fn replaces_file_by_page(response: &Response, stored: &Observation) -> bool {
    let is_page = |content_type: Option<&str>| {
        content_type.is_some_and(|value| {
            let value = value.trim_start().to_ascii_lowercase();
            value.starts_with("text/html") || value.starts_with("application/xhtml")
        })
    };
    response.status() == 200
        && is_page(response.header("content-type"))
        && !is_page(stored.fields.first("content-type"))
}

/// Returns the fields that are stored with a response.
fn end_to_end_fields(response: &Response) -> Fields {
    let connection = response.list_header("connection");
    response
        .headers()
        .filter(|(name, _)| is_end_to_end_header(name, &connection))
        .collect()
}
