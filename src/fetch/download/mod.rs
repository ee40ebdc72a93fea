//! Download of one body into the staging folder, over several attempts and sources.
//!
//! This file sends requests and checks the complete body. `receive` takes in the bytes, `chunks`
//! and `split` decide whether they come over several connections, and `confirm` asks again for what
//! a response did not state. The main type is [`Download`].

mod chunks;
mod confirm;
mod from_peer;
mod receive;
mod spec;
mod split;
mod status;

pub use spec::DownloadSpec;

use std::time::SystemTime;

use super::FetchError;
use super::content_encoding::CodingCheck;
use super::fetch_progress::Rejection;
use super::host_limits::{HostPermit, HostUse};
use super::moving_permit::MovingPermit;
use super::multi_process::{LeaseRecord, PeerBody};
use super::parent_cache;
use super::resume::{CompletedBody, PartialBody};
use super::shared_body::SharedBody;
use super::state::FetcherState;
use super::task::FetchTask;
use super::unread_fetches::await_surplus;
use crate::cache::Lease;
use crate::cluster::ORIGIN_TAG_FIELD;
use crate::model::{ExpectedDigests, FileType, Hasher, Key, Sha256};
use crate::origin::{ConnectionFault, Method, OriginError, OriginRequest, Response};
use crate::policy::{Admitted, Source, SourceKind};
use from_peer::{exchange, is_peer, limiter_for, origin_validator, peer_digest};
use status::{LastResponse, check_status, has_whole_body};

/// Body that is being downloaded, and the state of its attempts.
pub struct Download<'a> {
    state: &'a FetcherState,
    admitted: &'a Admitted,
    /// Body as the readers see it.
    shared_body: &'a SharedBody,
    spec: DownloadSpec<'a>,
    /// Lease with the record that other processes read.
    lease: Option<&'a Lease>,
    file_type: FileType,
    /// Content coding that the last response stated.
    coding: Option<CodingCheck>,
    /// Source of the last attempt, or the origin before any attempt.
    source: Option<&'a Source>,
    permit: MovingPermit<'a>,
    last_response: LastResponse,
    body: Option<PartialBody>,
    /// Readers have seen the beginning of a body whose digest is wrong.
    readers_saw_bad_bytes: bool,
    /// SHA-256 that a parent or a peer states for its body.
    stated_digest: Option<Sha256>,
}

impl<'a> Download<'a> {
    pub fn new(task: &FetchTask<'a>, spec: DownloadSpec<'a>, lease: Option<&'a Lease>) -> Self {
        let admitted = task.admitted;
        let file_type = admitted.file_type();
        // A body of another process came from there.
        let mut sources = spec.sources.iter();
        let source = sources.find(|source| source.kind() == SourceKind::Origin);
        let permit = MovingPermit::new(
            &task.state.host_limiter,
            task.body.readership(),
            HostUse::Fetch,
            task.state.config.budget.0,
        );
        Self {
            state: task.state,
            admitted,
            shared_body: task.body,
            spec,
            lease,
            file_type,
            coding: None,
            source,
            permit,
            last_response: LastResponse::default(),
            body: None,
            readers_saw_bad_bytes: false,
            stated_digest: None,
        }
    }

    pub fn sources(&self) -> &'a [Source] {
        self.spec.sources
    }

    pub fn last_response(&self) -> LastResponse {
        self.last_response
    }

    /// Waits for the permit of a source's host.
    ///
    /// # Errors
    /// [`FetchError::TooManyFetches`] if too many fetches wait. [`FetchError::Abandoned`] if the
    /// client has too many that wait without a reader.
    pub async fn acquire_permit(&mut self, source: &Source) -> Result<(), FetchError> {
        self.permit.use_limiter(limiter_for(self.state, source));
        let has_begun = self.has_begun();
        let key = Key::new(self.admitted.target());
        let is_surplus = await_surplus(self.state, self.shared_body, key);
        tokio::select! {
            biased;
            acquired = self.permit.acquire(source.admitted()) => acquired,
            () = is_surplus, if !has_begun => Err(FetchError::Abandoned),
        }
    }

    /// Returns the permit of the host that was asked last.
    pub fn take_permit(&mut self) -> Option<HostPermit> {
        self.permit.take()
    }

    /// Whether the body must have a digest, so that more sources may be asked than a peer asks.
    pub fn requires_digest(&self) -> bool {
        !self.spec.required.is_empty()
    }

    /// Whether a part of the body is staged, so that the same source should continue it.
    pub fn has_begun(&self) -> bool {
        self.written_bytes() > 0
    }

    /// Whether the staged part belongs to one version of the file at the last source, which is the
    /// origin before any attempt.
    pub fn has_validator(&self) -> bool {
        self.body
            .as_ref()
            .is_some_and(|body| body.validator.is_some())
    }

    /// Whether readers have seen bytes with which no source can continue.
    pub fn readers_saw_bad_bytes(&self) -> bool {
        self.readers_saw_bad_bytes
    }

    /// Begins with the partial body of another process, of which readers have seen a part.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] or [`FetchError::StoreFailed`] if the body cannot be copied.
    pub async fn resume_from_peer(&mut self, peer_body: PeerBody) -> Result<(), FetchError> {
        let hasher = Hasher::new(self.spec.expected);
        let (cache, readership) = (&self.state.cache, self.shared_body.readership());
        let body = PartialBody::copy_from_peer(cache, readership, peer_body, hasher).await?;
        self.shared_body
            .switch_file(body.file.clone(), body.staging.written_bytes());
        self.body = Some(body);
        self.update_lease_record().await;
        Ok(())
    }

    /// Sends one request to a source, for the whole body or the rest, and receives the response.
    ///
    /// # Errors
    /// [`FetchError`]. The received bytes stay for the next attempt, if they may be the beginning
    /// of the right body.
    pub async fn attempt(&mut self, source: &'a Source) -> Result<CompletedBody, FetchError> {
        self.switch_source(source);
        let request = self.request(source);
        let is_resuming = request.resume.is_some();
        let response = self.send_request(source, request).await;
        let (response, start) = if is_resuming {
            self.continue_at(response)?
        } else {
            (check_status(source, response?)?, 0)
        };
        self.state
            .policy
            .admit_body(
                self.admitted,
                response.header("content-type"),
                response.length(),
            )
            .map_err(OriginError::from)?;
        self.admitted
            .check_age(response.stored_headers().modified_at(), SystemTime::now())
            .map_err(OriginError::from)?;
        if start == 0 {
            self.coding = Some(CodingCheck::new(&response, self.admitted));
            self.begin(&response).await?;
            self.set_stated_digest(source, &response)?;
        }
        self.confirm_date(source).await?;
        let ends_with_connection = response.ends_with_connection();
        self.receive_body(response, start).await?;
        if ends_with_connection {
            self.confirm_end(source).await?;
        }
        self.finish().await
    }

    fn switch_source(&mut self, source: &'a Source) {
        let is_other = self
            .source
            .is_none_or(|last| last.target() != source.target());
        let was_peer = self.source.is_some_and(is_peer);
        self.source = Some(source);
        if let Some(body) = self.body.as_mut().filter(|_| is_other) {
            body.clear_validators();
            if was_peer && source.kind() == SourceKind::Origin {
                body.continue_at_origin();
            }
        }
    }

    fn request(&self, source: &Source) -> OriginRequest {
        OriginRequest {
            resume: self.body.as_ref().and_then(PartialBody::resume),
            // A digest that only a client states does not vouch for bytes from a plain connection.
            digest_expected: self.spec.is_on_record,
            headers: parent_cache::request_headers(source, self.spec.required),
            ..OriginRequest::new(Method::Get)
        }
    }

    async fn send_request(
        &mut self,
        source: &Source,
        request: OriginRequest,
    ) -> Result<Response, OriginError> {
        let (state, target) = (self.state, self.admitted.target());
        let exchanged = exchange(state, target, &mut self.permit, (source, request)).await;
        let answer;
        (self.last_response, answer) = exchanged;
        if self.last_response.has_answered {
            self.state.circuits.record_first_response(source.admitted());
        }
        answer.map_err(|error| parent_cache::read_error(source, error))
    }

    /// Returns the response to a range request, with the offset of its first byte in the body.
    ///
    /// # Errors
    /// Every response but a whole body and a fitting 206 ends resuming. The next attempt requests
    /// the whole body.
    fn continue_at(
        &mut self,
        response: Result<Response, OriginError>,
    ) -> Result<(Response, u64), FetchError> {
        let error = match response {
            Ok(response) if has_whole_body(&response) => return Ok((response, 0)),
            Ok(response) if self.is_continued_by(&response) => {
                let start = self.written_bytes() - response.overlap_bytes();
                return Ok((response, start));
            }
            Ok(response) => response.as_error(),
            Err(error @ OriginError::Unreachable(_)) => return Err(error.into()),
            Err(error) => error,
        };
        self.body.iter_mut().for_each(PartialBody::clear_validators);
        // Other errors would end the fetch, although they concern the range only.
        Err(if error.is_transient() {
            error.into()
        } else {
            OriginError::from(ConnectionFault::ResumeFailed).into()
        })
    }

    fn is_continued_by(&mut self, response: &Response) -> bool {
        // The label of a part cannot be judged by the first bytes of the body.
        let rest = CodingCheck::new(response, self.admitted);
        response.status() == 206
            && rest.continues(self.coding.as_ref())
            && self
                .body
                .as_mut()
                .is_some_and(|body| body.is_continued_by(response))
    }

    /// Begins a body, or restarts it. A body that readers have seen must keep its length.
    async fn begin(&mut self, response: &Response) -> Result<(), FetchError> {
        let peer = self.source.filter(|source| is_peer(source));
        let validator = peer.and_then(|peer| origin_validator(peer, response));
        if let Some(body) = self.body.as_mut().filter(|body| body.is_streaming) {
            body.restart(response)?;
            body.keep_origin_validator(validator.as_ref());
            self.update_lease_record().await;
            return Ok(());
        }
        // Release the space of the old body before reserving space again.
        self.body = None;
        let hasher = Hasher::new(self.spec.expected);
        let (readership, length) = (self.shared_body.readership(), response.length());
        let staging = self.state.cache.stage_for(readership, length, hasher);
        let staging = staging.await?;
        self.shared_body.meter().set_length(length);
        self.shared_body.meter().set_received(0);
        let mut body = PartialBody::new(staging, response);
        body.origin_validator = validator;
        if peer.is_some() {
            body.headers.etag = response.header(ORIGIN_TAG_FIELD).map(str::to_owned);
        }
        self.body = Some(body);
        Ok(())
    }

    /// Reads the digest that a parent or a peer states. A body from a parent needs a strong digest.
    fn set_stated_digest(
        &mut self,
        source: &Source,
        response: &Response,
    ) -> Result<(), FetchError> {
        self.stated_digest = match source.kind() {
            SourceKind::Parent => parent_cache::response_digest(response),
            SourceKind::Peer => peer_digest(response),
            _ => None,
        };
        if source.kind() == SourceKind::Parent
            && self.stated_digest.is_none()
            && !self.spec.required.has_strong_digest()
        {
            return Err(parent_cache::missing_digest().into());
        }
        Ok(())
    }

    /// Compares the digests of the complete body with the expected ones.
    async fn finish(&mut self) -> Result<CompletedBody, FetchError> {
        self.require_peer_digest().await?;
        self.confirm_peer_bytes().await?;
        let body = self.body.take().ok_or(FetchError::StoreFailed)?;
        let is_streaming = body.is_streaming;
        let mut completed = body.finish()?;
        if let Err(error) = self.check_complete(&mut completed).await {
            self.readers_saw_bad_bytes = is_streaming;
            return Err(error);
        }
        let digests = &completed.finished.digests;
        let stated_digest = ExpectedDigests::from_iter(self.stated_digest.map(Into::into));
        let mismatch = [self.spec.required, &stated_digest]
            .into_iter()
            .find(|expected| digests.first_mismatch(expected).is_some());
        let Some(expected) = mismatch else {
            return Ok(completed);
        };
        self.readers_saw_bad_bytes = is_streaming;
        self.distrust_host(&completed);
        let is_by_path = self.admitted.requires_only_path_digest()
            && self.spec.known_content.is_none()
            && digests.first_mismatch(&stated_digest).is_none();
        if is_by_path {
            let target = self.admitted.target();
            tracing::info!(%target, "passed on a body that does not have the digest in its path");
        }
        if is_streaming {
            let rejection = if is_by_path {
                Rejection::ByPath
            } else {
                Rejection::ByRecord
            };
            // A reader may have stated the digests of these bytes.
            self.shared_body.mark_rejected(rejection, digests.clone());
        }
        let error = FetchError::Mismatch {
            expected: expected.clone(),
            found: digests.sha256,
        };
        // Bytes that must not be stored are no change either.
        let is_change = self.is_at_origin() && completed.require_end().is_ok();
        if let Some(known_content) = self.spec.known_content.filter(|_| is_change) {
            known_content
                .record_change(self.state, self.admitted, self.spec.required, completed)
                .await;
        }
        Err(error)
    }

    fn is_at_origin(&self) -> bool {
        self.source
            .is_some_and(|source| source.kind() == SourceKind::Origin)
    }

    fn written_bytes(&self) -> u64 {
        self.body
            .as_ref()
            .map_or(0, |body| body.staging.written_bytes())
    }

    /// Lets other processes follow the body. Called before bytes under another validator are
    /// written.
    async fn update_lease_record(&self) {
        let streaming = self.body.as_ref().filter(|body| body.is_streaming);
        if let (Some(lease), Some(body)) = (self.lease, streaming) {
            let kind = self.source.map(Source::kind);
            LeaseRecord::Streaming(body.staged_body(kind))
                .write(lease)
                .await;
        }
    }
}
