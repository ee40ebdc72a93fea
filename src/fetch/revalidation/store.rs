//! Stores the response of an exchange: stages the body, shows it to readers while it arrives, and
//! publishes it.
//!
//! This file must not know which responses may be stored. The main function is
//! [`ExchangeTask::store`].

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::exchange::{SharedAnswer, StreamingResponse};
use super::task::{ExchangeEnd, ExchangeTask, NewResponse};
use crate::cache::{Finished, Staging};
use crate::fetch::error::{FetchError, Unconfirmed};
use crate::fetch::fetch_progress::Head;
use crate::fetch::format_end::{FormatEnd, find_format_end};
use crate::fetch::state::FetcherState;
use crate::fetch::withheld_end::WithheldEnd;
use crate::freshness::{Completeness, Observation, Staleness};
use crate::model::{ExpectedDigests, Hasher, Key, Record, Sha256, WrongFile};
use crate::origin::{ConnectionFault, OriginError, ReceivedResponse, Response};
use crate::policy::{PolicyDenied, file_and_companions};

impl ExchangeTask {
    /// Stages the body, shows it to readers while it arrives, and publishes it, or passes the
    /// response on.
    pub(super) async fn store(
        &self,
        state: &FetcherState,
        mut response: Response,
        new: NewResponse,
        handover: oneshot::Sender<ReceivedResponse>,
    ) -> Result<ExchangeEnd, FetchError> {
        let NewResponse {
            observation,
            before,
        } = new;
        let first = self.receive_first(&mut response).await?;
        let received = ReceivedResponse { response, first };
        if observation.status == 200 && !self.has_file_type(&received) {
            let stored = self.request.stored.as_ref();
            if stored.is_some_and(|stored| stored.if_unreachable == Staleness::MayServe) {
                return Err(FetchError::WrongFileType(WrongFile::of(
                    &received.first.concat(),
                )));
            }
            self.pass_on(state, received, handover);
            return Ok(ExchangeEnd::PassedOn);
        }
        let hasher = Hasher::new(&ExpectedDigests::nothing());
        let observations = state.cache.observations();
        let (readership, length) = (self.exchange.body.readership(), received.response.length());
        let staging = observations.stage_for(readership, length, hasher).await;
        let Ok(staging) = staging else {
            self.pass_on(state, received, handover);
            return Ok(ExchangeEnd::PassedOn);
        };
        let ends_with_connection = received.response.ends_with_connection();
        let staging = self.receive(state, received, &observation, staging).await?;
        let is_checked = ends_with_connection && !self.exchange.body.is_overflowing();
        let completeness = if is_checked {
            find_end(&staging).await?
        } else {
            Completeness::Confirmed
        };
        let finished = staging.finish()?;
        let end = WithheldEnd::new(&self.exchange.body, &finished, None);
        let new = NewResponse {
            observation: observation.with_completeness(completeness),
            before,
        };
        let published = end.show_after(self.publish(state, finished, new));
        published.await.map(ExchangeEnd::Stored)
    }

    /// Whether the first bytes are those of a file that the name promises.
    fn has_file_type(&self, received: &ReceivedResponse) -> bool {
        let label = received.response.list_header("content-encoding");
        let file_type = self.request.file_type;
        file_type.matches_labelled(&label, &received.first.concat())
    }

    /// Makes the body the newest response of the target. Returns its record.
    ///
    /// # Errors
    /// [`FetchError::Unconfirmed`] if the body is stored only to be compared with the next one.
    async fn publish(
        &self,
        state: &FetcherState,
        finished: Finished,
        new: NewResponse,
    ) -> Result<Arc<Record>, FetchError> {
        let NewResponse {
            mut observation,
            before,
        } = new;
        let sha256 = finished.digests.sha256;
        let sealed = finished.seal().await?;
        if self.exchange.is_superseded() {
            observation = observation.invalidated();
        }
        let observations = state.cache.observations();
        let observation = observations.publish(sealed, observation, before).await?;
        self.invalidate_if_superseded(state).await;
        self.invalidate_related(state, sha256).await;
        if observation.completeness == Completeness::Unconfirmed {
            return Err(Unconfirmed::End.into());
        }
        let record = Arc::new(observation.to_record());
        state
            .exchanges()
            .remember_current(&self.key, &Arc::new(observation));
        Ok(record)
    }

    /// Invalidates the stored response if the target has changed while it was stored.
    pub(super) async fn invalidate_if_superseded(&self, state: &FetcherState) {
        if self.exchange.is_superseded() {
            self.invalidate(state, vec![self.key.key]).await;
        }
    }

    /// Makes the companions of a changed file stale, or its file and its other companions. A
    /// signature of the old file must not be served with the new one. Other responses that arrive
    /// now may be older.
    async fn invalidate_related(&self, state: &FetcherState, sha256: Sha256) {
        let stored = self.request.stored.as_ref();
        if stored.is_some_and(|stored| stored.observation.sha256 == sha256) {
            return;
        }
        let related = file_and_companions(self.admitted.target());
        let keys: Vec<_> = related.iter().map(Key::new).collect();
        {
            let exchanges = state.exchanges();
            exchanges.supersede(self.key.key, Some(&self.exchange));
            for key in keys.iter().filter(|key| **key != self.key.key) {
                exchanges.supersede(*key, None);
            }
        }
        self.invalidate(state, keys).await;
    }

    async fn invalidate(&self, state: &FetcherState, keys: Vec<Key>) {
        if let Err(error) = state.cache.observations().invalidate(keys).await {
            tracing::warn!(%error, "stored responses could not be made stale");
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
        let limit = state.policy.max_object_size();
        let length = response.length();
        self.start_streaming(&response, observation, &staging);
        let mut first = first.into_iter();
        while let Some(chunk) = match first.next() {
            Some(chunk) => Some(chunk),
            None => response.next_chunk().await?,
        } {
            if staging.written_bytes() + chunk.len() as u64 > limit.bytes {
                return Err(OriginError::from(PolicyDenied::TooLarge(limit)).into());
            }
            self.append(state, &mut staging, chunk).await?;
        }
        if length.is_some_and(|length| length != staging.written_bytes()) {
            return Err(OriginError::from(ConnectionFault::Truncated).into());
        }
        Ok(staging)
    }

    /// Shows the head to readers.
    fn start_streaming(&self, response: &Response, observation: &Observation, staging: &Staging) {
        let head = Arc::new(Head {
            length: response.length(),
            headers: response.stored_headers(),
        });
        let body = &self.exchange.body;
        body.start_streaming(Arc::clone(&head), staging.file(), 0);
        let streaming = StreamingResponse {
            observation: Arc::new(observation.clone()),
            head,
        };
        self.exchange.set_answer(SharedAnswer::Streaming(streaming));
    }

    /// Stages a chunk and shows it to readers. After a failure of the disk, present readers get the
    /// rest of the body from memory.
    async fn append(
        &self,
        state: &FetcherState,
        staging: &mut Staging,
        chunk: Bytes,
    ) -> Result<(), FetchError> {
        let (body, start) = (&self.exchange.body, staging.written_bytes());
        if let Err(error) = staging.append(chunk.clone()).await {
            tracing::warn!(%error, "disk failed, the rest of the body goes through memory");
            body.start_overflow(start);
        }
        if body.is_overflowing() {
            let patience = state.config.idle_timeout.0;
            return body
                .push_overflow(staging.written_bytes(), chunk, patience)
                .await;
        }
        body.advance(staging.written_bytes(), chunk);
        Ok(())
    }
}

/// Returns what is known about the end of a body that ended with its connection.
async fn find_end(staging: &Staging) -> Result<Completeness, FetchError> {
    let (file, size_bytes) = (staging.file(), staging.written_bytes());
    let found = file
        .inspect(size_bytes, move |file| find_format_end(file, size_bytes))
        .await
        .map_err(|error| FetchError::from_read_error(&error))?;
    match found {
        FormatEnd::Complete => Ok(Completeness::Confirmed),
        FormatEnd::Missing => Err(OriginError::from(ConnectionFault::Truncated).into()),
        FormatEnd::Unknown => Ok(Completeness::Unconfirmed),
    }
}
