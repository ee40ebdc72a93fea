//! Responses from a fetch: its arriving body, the object that it has stored, or what is left if it
//! failed.

use std::sync::Arc;

use super::Gateway;
use super::error::RequestError;
use super::in_flight::{ArrivingBody, can_stream_unverified, stream_in_flight};
use super::lookup::find_with_digests;
use super::representation::Representation;
use super::request::{CacheRequest, RequestMethod};
use super::required_digest::{is_path_digest_optional, without_path_digest};
use super::response::{CacheResponse, CacheStatus};
use crate::fetch::{BodyReader, FetchError, FirstResult};
use crate::limits::UpstreamPermit;
use crate::model::{ExpectedDigests, Key, Record, Sha256};
use crate::passthrough::OriginError;
use crate::policy::{Admitted, PolicyDenied};

/// Length below which a body is checked before it is sent, in bytes, if a client states digests
/// that no stored object has. A wrong digest then gets a status, and not a transfer without its
/// end.
const MAX_AWAITED_BYTES: u64 = 16 << 20;

impl Gateway {
    /// Joins or starts the fetch of the target, and streams its body.
    pub(super) async fn join_fetch(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let upstream = &self.services.upstream;
        let permit = upstream.acquire_upstream_permit(admitted.pool_client())?;
        // A foreign site may mean something else by a digest in the path. The fetch checks it.
        let accepts_mismatch = is_path_digest_optional(admitted, &request);
        let nothing = ExpectedDigests::nothing();
        let stated = if accepts_mismatch {
            &nothing
        } else {
            &request.expected
        };
        match self.services.fetcher.join_or_start(admitted, stated) {
            Ok(reader) => {
                let reader = if accepts_mismatch {
                    reader.accepting_mismatch()
                } else {
                    reader
                };
                self.serve_fetch(admitted, request, (reader, permit), 0)
                    .await
            }
            Err(error) => {
                drop(permit);
                self.serve_after_failure(admitted, request, error).await
            }
        }
    }

    /// Serves a request that states digests which the answer of the target does not have. Another
    /// stored object may have them, or the origin has released the target again. `found` is the
    /// digest of the answer.
    pub(super) async fn serve_stated_digest(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        found: Sha256,
    ) -> Result<CacheResponse, RequestError> {
        if let Some(response) = self.serve_other_record(admitted, &request).await? {
            return Ok(response);
        }
        let may_ask_origin = request.method == RequestMethod::Get
            && !request.only_if_cached
            && admitted.required_digests().is_empty();
        if !may_ask_origin {
            return Err(RequestError::Mismatch {
                expected: request.expected,
                found,
            });
        }
        let upstream = &self.services.upstream;
        let permit = upstream.acquire_upstream_permit(admitted.pool_client())?;
        let fetcher = &self.services.fetcher;
        let reader = fetcher.request_other_bytes(admitted, &request.expected, found)?;
        self.serve_fetch(admitted, request, (reader, permit), MAX_AWAITED_BYTES)
            .await
    }

    /// Serves another stored object of the target, if one has the digests that the client expects.
    pub(super) async fn serve_other_record(
        &self,
        admitted: &Admitted,
        request: &CacheRequest,
    ) -> Result<Option<CacheResponse>, RequestError> {
        let cache = &self.services.cache;
        let verification = self.services.verification(request);
        let (target, expected) = (admitted.target(), &request.expected);
        match find_with_digests(cache, verification, target, expected).await {
            Some(hit) => {
                self.hit_responder(request)
                    .serve(hit, CacheStatus::Hit)
                    .await
            }
            None => Ok(None),
        }
    }

    /// Serves the body of a fetch. A body shorter than `awaited_bytes` is checked before it is
    /// sent.
    async fn serve_fetch(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        (mut reader, permit): (BodyReader, UpstreamPermit),
        awaited_bytes: u64,
    ) -> Result<CacheResponse, RequestError> {
        let is_awaited = |length: Option<u64>| length.is_some_and(|length| length < awaited_bytes);
        let status = CacheStatus::Miss {
            collapsed: reader.is_collapsed(),
        };
        let record = match reader.first_result().await {
            Ok(FirstResult::Streaming(head))
                if can_stream_unverified(&request, &head) && !is_awaited(head.length) =>
            {
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
            Ok(Some(hit)) => match self.hit_responder(&request).serve(hit, status).await {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(mismatch @ RequestError::Mismatch { .. }) => {
                    let other = self.serve_other_record(admitted, &request).await?;
                    return other.ok_or(mismatch);
                }
                Err(error) => return Err(error),
            },
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
            // A foreign site may mean something else by a digest in the path.
            FetchError::Mismatch { .. } if is_path_digest_optional(admitted, &request) => {
                let request = without_path_digest(admitted, request);
                self.pass_through(admitted, request).await
            }
            // The fetch may have stored the bytes that this client expects.
            FetchError::Mismatch { found, .. } if !request.expected.is_empty() => {
                let other = self.serve_other_record(admitted, &request).await?;
                other.ok_or_else(|| RequestError::Mismatch {
                    expected: request.expected.clone(),
                    found,
                })
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
