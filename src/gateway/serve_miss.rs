//! Misses: a redirect to the origin, a fetch that is joined or started, or a pass-through.
//!
//! The entry point is [`Gateway::serve_miss`].

use std::sync::Arc;

use super::Gateway;
use super::config::MissPolicy;
use super::error::RequestError;
use super::in_flight::{ArrivingBody, can_stream_unverified, stream_in_flight};
use super::lookup::MissKind;
use super::new_target;
use super::representation::Representation;
use super::request::{CacheRequest, ClientRedirects, RequestMethod};
use super::required_digest::{is_path_digest_optional, without_path_digest};
use super::response::{CacheResponse, CacheStatus};
use crate::fetch::{FetchError, FirstResult};
use crate::model::{ExpectedDigests, Key, Record, Scheme};
use crate::passthrough::OriginError;
use crate::policy::{Admitted, PolicyDenied};

impl Gateway {
    /// Serves a target whose bytes are not stored.
    ///
    /// # Errors
    /// [`RequestError`] if neither a fetch nor the origin gives a response.
    pub(super) async fn serve_miss(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        kind: MissKind,
    ) -> Result<CacheResponse, RequestError> {
        let request = request.requiring_sha256(kind.required_sha256(admitted))?;
        request.reject_only_if_cached()?;
        let may_redirect =
            kind == MissKind::NeverStored && self.can_redirect_to_origin(&request, admitted);
        match request.method {
            RequestMethod::Head => self.pass_through(admitted, request).await,
            _ if new_target::count(&self.services, admitted, request.client, kind).is_err() => {
                self.pass_through(admitted, request).await
            }
            _ if may_redirect => Ok(self.redirect_and_fetch(admitted)),
            _ => self.join_fetch(admitted, request).await,
        }
    }

    /// Returns whether the client may be redirected to the origin. It must be known to follow
    /// redirects, and must get the same bytes there.
    fn can_redirect_to_origin(&self, request: &CacheRequest, admitted: &Admitted) -> bool {
        let config = self.config.load();
        config.miss == MissPolicy::Redirect
            && request.redirects == ClientRedirects::Allowed
            && request.method == RequestMethod::Get
            && request.range.is_none()
            && request.expected.is_empty()
            && config.follows_redirects(&request.user_agent)
            // Few clients follow a redirect from http to ftp.
            && admitted.target().scheme() != Scheme::Ftp
            && !admitted.needs_server_side_fetch()
            && self.services.fetcher.has_no_state_for(admitted.target())
    }

    /// Redirects the client to the origin, and starts a fetch for later clients.
    fn redirect_and_fetch(&self, admitted: &Admitted) -> CacheResponse {
        // The fetch continues without the reader, which is dropped at once. If no fetch can start,
        // a later request may start one.
        if let Err(error) = self
            .services
            .fetcher
            .join_or_start(admitted, &ExpectedDigests::nothing())
        {
            tracing::debug!(
                target = %admitted.target(),
                %error,
                "redirected a client without starting a fetch"
            );
        }
        CacheResponse::Redirect(admitted.target().clone())
    }

    /// Joins or starts the fetch of the target, and streams its body.
    async fn join_fetch(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let permit = self.acquire_upstream_permit()?;
        let fetcher = &self.services.fetcher;
        let mut reader = match fetcher.join_or_start(admitted, &request.expected) {
            // A foreign site may mean something else by a digest in the path.
            Ok(reader) if is_path_digest_optional(admitted, &request) => {
                reader.accepting_mismatch()
            }
            Ok(reader) => reader,
            Err(error) => {
                drop(permit);
                return self.serve_after_failure(admitted, request, error).await;
            }
        };
        let status = CacheStatus::Miss {
            collapsed: reader.is_collapsed(),
        };
        let record = match reader.first_result().await {
            Ok(FirstResult::Streaming(head)) if can_stream_unverified(&request, &head) => {
                let representation = Representation::from_head(&head, admitted.target());
                let body = ArrivingBody {
                    reader,
                    head,
                    permit,
                };
                return Ok(stream_in_flight(&request, representation, body, status));
            }
            Ok(FirstResult::Stored(record)) => Ok(record),
            Ok(FirstResult::Streaming(_)) => reader.wait_stored().await,
            Err(error) => Err(error),
        };
        drop(permit);
        match record {
            Ok(record) => {
                self.serve_completed(admitted, request, record, status)
                    .await
            }
            Err(error) => self.serve_after_failure(admitted, request, error).await,
        }
    }

    /// Serves what a fetch has stored. If the object has been evicted since, or the bucket does not
    /// have it, the request passes through.
    async fn serve_completed(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        record: Arc<Record>,
        status: CacheStatus,
    ) -> Result<CacheResponse, RequestError> {
        let key = Key::new(admitted.target());
        let opened = self.services.cache.open_record(key, Arc::clone(&record));
        match opened.await {
            Ok(Some(hit)) => {
                if let Some(response) = self.hit_responder(&request).serve(hit, status).await? {
                    return Ok(response);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, %key, "opening an object failed directly after its fetch");
            }
        }
        let request = request.requiring_sha256(Some(record.sha256))?;
        self.pass_through(admitted, request).await
    }

    /// Passes the request through if that can still succeed, and returns the error otherwise.
    async fn serve_after_failure(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        error: FetchError,
    ) -> Result<CacheResponse, RequestError> {
        match error {
            FetchError::Page => self.pass_through(admitted, request).await,
            error if error.is_only_unstored() => self.pass_through(admitted, request).await,
            FetchError::Mismatch { .. } if is_path_digest_optional(admitted, &request) => {
                let request = without_path_digest(admitted, request);
                self.pass_through(admitted, request).await
            }
            // The client's digest makes the downgrade safe for this client only.
            FetchError::Origin(OriginError::Denied(PolicyDenied::Downgrade))
                if request.expected.has_strong_digest() =>
            {
                self.pass_through(admitted, request).await
            }
            error => Err(error.into()),
        }
    }
}
