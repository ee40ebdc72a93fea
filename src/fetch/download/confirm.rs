//! Confirms what a response does not state: the end of a body that ended with its connection only,
//! the date of a file whose rest was requested by its date, and the digest of a body of a peer.
//!
//! Neither `Content-Length` nor a last chunk shows that such a body is complete (RFC 9112, section
//! 6.3). It is stored if its own format ends there, or if a second response has the same bytes. A
//! 206 need not repeat `Last-Modified` (RFC 9110, section 15.3.7), and some origins ignore
//! `If-Range`. The date is then requested again.

use super::Download;
use super::from_peer::{is_peer, peer_digest};
use super::status::has_whole_body;
use crate::fetch::content_encoding::CodingCheck;
use crate::fetch::error::{FetchError, Unconfirmed};
use crate::fetch::format_end::{FormatEnd, find_format_end};
use crate::fetch::parent_cache;
use crate::fetch::resume::{BodyEnd, CompletedBody, DateCheck, PartialBody};
use crate::origin::{ConnectionFault, Method, OriginError, OriginRequest, Response, Validity};
use crate::policy::Source;

/// Largest body that is requested again, in bytes. Its readers wait for the end meanwhile, and many
/// clients and front servers give up after a minute without bytes.
const MAX_REPEATED_BYTES: u64 = 64 << 20;

/// Maximum number of repeated requests. Each one after the first needs new bytes in the one before.
const MAX_REPEATS: u32 = 3;

impl<'a> Download<'a> {
    /// Confirms the end of a body that ended with its connection. If nothing contradicts the end
    /// and nothing confirms it, the body is marked as unconfirmed.
    ///
    /// # Errors
    /// [`FetchError`] if a response contradicts the end, or the format of the body shows that the
    /// body is truncated.
    pub(super) async fn confirm_end(&mut self, source: &'a Source) -> Result<(), FetchError> {
        if self.is_end_checked_elsewhere() {
            return Ok(());
        }
        let digests = self.body.as_ref().map(|body| body.staging.digests());
        let is_stated =
            digests.is_some_and(|digests| digests.first_mismatch(self.spec.expected).is_none());
        if is_stated && self.spec.expected.has_strong_digest() {
            return Ok(());
        }
        let format_end = self.find_format_end().await?;
        if format_end == FormatEnd::Complete {
            return Ok(());
        }
        let known = self.written_bytes();
        if known <= MAX_REPEATED_BYTES {
            match self.repeat_request(source).await {
                Ok(()) => return Ok(()),
                Err(error) if self.is_contradiction(&error, known) => return Err(error),
                Err(error) => tracing::debug!(%error, "end of the body was not confirmed"),
            }
        }
        if format_end == FormatEnd::Missing {
            return Err(truncated());
        }
        if let Some(body) = &mut self.body {
            body.end = BodyEnd::Unconfirmed(Unconfirmed::End);
        }
        Ok(())
    }

    /// Checks that policy allows the digests of a body, and compares them with those that a client
    /// states.
    ///
    /// # Errors
    /// [`OriginError::Denied`] for a denied digest, or [`FetchError::ChangedDuringFetch`].
    pub(super) async fn check_complete(
        &mut self,
        completed: &mut CompletedBody,
    ) -> Result<(), FetchError> {
        let allowed = self.state.policy.check_body(&completed.finished.digests);
        allowed.map_err(OriginError::from)?;
        self.compare_stated(completed).await
    }

    /// Compares a body of several responses with the digests that a client states. If they
    /// contradict it, the whole body is requested again and compared, because some origins reuse a
    /// validator. If the origin does not answer again, the body must not be stored.
    ///
    /// # Errors
    /// [`FetchError::ChangedDuringFetch`] if the bodies differ.
    pub(super) async fn compare_stated(
        &mut self,
        completed: &mut CompletedBody,
    ) -> Result<(), FetchError> {
        let digests = &completed.finished.digests;
        let is_stated = digests.first_mismatch(self.spec.expected).is_none();
        let Some(source) = self.source.filter(|_| completed.was_resumed && !is_stated) else {
            return Ok(());
        };
        let compared = self.compare_again(source, completed).await;
        if compared.is_err() || completed.require_end().is_err() {
            self.distrust_host(completed);
        }
        match compared {
            Err(FetchError::Origin(error)) => {
                tracing::debug!(%error, "resumed body was not confirmed");
                completed.end = BodyEnd::Unconfirmed(Unconfirmed::Resumption);
                Ok(())
            }
            result => result,
        }
    }

    /// Asks the host for no more ranges, after a body of several responses that has wrong bytes.
    pub(super) fn distrust_host(&self, completed: &CompletedBody) {
        if let Some(source) = self.source.filter(|_| completed.was_resumed) {
            let host = source.target().host();
            self.state.segment_hosts.record_refusal(host);
        }
    }

    /// Requests the whole body again, and compares it with a complete one. A body that is too large
    /// for that must not be stored.
    async fn compare_again(
        &mut self,
        source: &'a Source,
        completed: &mut CompletedBody,
    ) -> Result<(), FetchError> {
        let size_bytes = completed.finished.size_bytes();
        if size_bytes > MAX_REPEATED_BYTES {
            completed.end = BodyEnd::Unconfirmed(Unconfirmed::Resumption);
            return Ok(());
        }
        let response = self.request_whole_body(source).await?;
        let (mut chunks, file) = (response.into_body(), completed.finished.file());
        let mut offset = 0;
        while let Some(received) = chunks.next().await? {
            let stored = file.read(offset, received.len()).await;
            if stored.map_err(|error| FetchError::from_read_error(&error))? != received {
                return Err(FetchError::ChangedDuringFetch);
            }
            offset += received.len() as u64;
        }
        (offset == size_bytes)
            .then_some(())
            .ok_or(FetchError::ChangedDuringFetch)
    }

    /// Requests the date of a resumed body again, if the response for its rest does not state it.
    /// No byte of that response is taken before.
    ///
    /// # Errors
    /// [`ConnectionFault::ResumeFailed`] if the date is not confirmed. The next attempt requests
    /// the whole body, and compares it with the staged bytes.
    pub(super) async fn confirm_date(&mut self, source: &'a Source) -> Result<(), FetchError> {
        let is_pending = |body: &PartialBody| body.date == DateCheck::Pending;
        if !self.body.as_ref().is_some_and(is_pending) {
            return Ok(());
        }
        let request = OriginRequest {
            method: Method::Head,
            resume: None,
            ..self.request(source)
        };
        let response = self.send_request(source, request).await?;
        if let Some(body) = &mut self.body {
            if is_same_version(body, &response) {
                body.date = DateCheck::Done;
                return Ok(());
            }
            body.clear_validators();
        }
        Err(OriginError::from(ConnectionFault::ResumeFailed).into())
    }

    /// Requests the whole body, whatever is staged of it.
    ///
    /// # Errors
    /// The status of a response without a whole body.
    pub(super) async fn request_whole_body(
        &mut self,
        source: &'a Source,
    ) -> Result<Response, FetchError> {
        let request = OriginRequest {
            resume: None,
            ..self.request(source)
        };
        let response = self.send_request(source, request).await?;
        if has_whole_body(&response) {
            Ok(response)
        } else {
            Err(response.as_error().into())
        }
    }

    /// Asks the peer that has sent the body for its digest, which the peer does not know before the
    /// end of a growing body.
    ///
    /// # Errors
    /// [`OriginError::InvalidResponse`] if the peer states none. The next source then sends the
    /// whole body, which is compared with these bytes.
    pub(super) async fn require_peer_digest(&mut self) -> Result<(), FetchError> {
        let peer = self.source.filter(|source| is_peer(source));
        let Some(peer) = peer.filter(|_| self.stated_digest.is_none()) else {
            return Ok(());
        };
        let request = OriginRequest {
            headers: vec![("cache-control".to_owned(), b"only-if-cached".to_vec())],
            ..OriginRequest::new(Method::Head)
        };
        let response = self.send_request(peer, request).await?;
        self.stated_digest = peer_digest(&response);
        if self.stated_digest.is_none() {
            return Err(parent_cache::missing_digest().into());
        }
        Ok(())
    }

    /// Compares the bytes of a peer that has proven no digest with those of the source that has
    /// sent the rest. Readers have the other bytes meanwhile, and wait for the last one only.
    ///
    /// # Errors
    /// [`FetchError::ChangedDuringFetch`] if the bytes differ.
    pub(super) async fn confirm_peer_bytes(&mut self) -> Result<(), FetchError> {
        let unproven = self.body.as_ref().map_or(0, |body| body.unproven_bytes);
        let is_proven = self.stated_digest.is_some() || self.spec.required.has_strong_digest();
        let Some(source) = self.source.filter(|_| unproven > 0 && !is_proven) else {
            return Ok(());
        };
        let mut chunks = self.request_whole_body(source).await?.into_body();
        let mut position = 0;
        while position < unproven {
            let Some(bytes) = chunks.next().await? else {
                return Err(FetchError::ChangedDuringFetch);
            };
            position += bytes.len() as u64;
            self.compare_with_staged(bytes, position).await?;
        }
        if let Some(body) = &mut self.body {
            body.unproven_bytes = 0;
        }
        Ok(())
    }

    /// Whether a length or a digest decides on the end, or the body cannot be stored anyway.
    fn is_end_checked_elsewhere(&self) -> bool {
        let has_length = self
            .body
            .as_ref()
            .is_some_and(|body| body.complete_length.is_some());
        has_length
            || !self.spec.required.is_empty()
            || self.stated_digest.is_some()
            || self.shared_body.is_overflowing()
    }

    async fn find_format_end(&self) -> Result<FormatEnd, FetchError> {
        let body = self.body.as_ref().ok_or(FetchError::StoreFailed)?;
        let size_bytes = body.staging.written_bytes();
        body.file
            .inspect(size_bytes, move |file| find_format_end(file, size_bytes))
            .await
            .map_err(|error| FetchError::from_read_error(&error))
    }

    /// Requests the whole body again, and compares it with the staged bytes. If the new response is
    /// longer, the first one was truncated, and the new bytes are appended.
    async fn repeat_request(&mut self, source: &'a Source) -> Result<(), FetchError> {
        for _ in 0..MAX_REPEATS {
            let response = self.request_whole_body(source).await?;
            self.coding = Some(CodingCheck::new(&response, self.admitted));
            if let Some(body) = &mut self.body {
                body.validator = None;
                body.unconfirmed_validator = response.validator();
            }
            self.update_lease_record().await;
            let is_delimited = !response.ends_with_connection();
            let known = self.written_bytes();
            self.receive_body(response, 0).await?;
            if is_delimited
                || self.written_bytes() == known
                || self.find_format_end().await? == FormatEnd::Complete
            {
                return Ok(());
            }
        }
        Err(truncated())
    }

    /// Whether an error of a repeated request shows that the first body may be wrong. An origin
    /// that does not answer again shows nothing.
    fn is_contradiction(&self, error: &FetchError, known: u64) -> bool {
        let is_shorter = matches!(
            error,
            FetchError::Origin(OriginError::Unreachable(ConnectionFault::Truncated))
        );
        is_shorter || !matches!(error, FetchError::Origin(_)) || self.written_bytes() != known
    }
}

fn truncated() -> FetchError {
    OriginError::from(ConnectionFault::Truncated).into()
}

/// Whether the response to a HEAD request describes the staged bytes.
fn is_same_version(body: &PartialBody, response: &Response) -> bool {
    let has_length = response.length().is_none() || response.length() == body.complete_length;
    let has_date = body
        .validator
        .as_ref()
        .is_some_and(|validator| response.compare_validator(validator) == Validity::Same);
    has_whole_body(response) && has_length && has_date
}
