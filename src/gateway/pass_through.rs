//! What passes through without being kept, and how many answers come from upstream at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{
    CacheRequest, CacheResponse, Endpoint, Gateway, HttpVersion, RequestError, RequestMethod,
};
use crate::model::{ExpectedDigests, FileType};
use crate::passthrough::{Method, PassThroughRequest};
use crate::policy::{Admitted, Class};

/// What is held of a passed body for a client that could not see where it was cut, in bytes.
const MAX_BUFFERED_BYTES: u64 = 1 << 20;

/// How many answers may pass through at once. A client that does not read holds what was received
/// for it: more than of a stored file, where it can be read again.
const MAX_PASSES: usize = 384;

/// How long one waits for such a place: most answers are over sooner, and few clients ask again
/// after a 503.
const PASS_TIMEOUT: Duration = Duration::from_secs(30);

/// The places of answers that do not come from the store. They must not take every place from those
/// whom it can serve.
pub(super) struct UpstreamLimits {
    /// From the first wait to the last byte.
    responses: Arc<Semaphore>,
    passes: Arc<Semaphore>,
    /// Those who wait for one of the passes.
    pass_queue: Semaphore,
}

impl UpstreamLimits {
    pub fn new(max_responses: usize) -> Self {
        Self {
            responses: Arc::new(Semaphore::new(max_responses)),
            passes: Arc::new(Semaphore::new(MAX_PASSES.min(max_responses.div_ceil(2)))),
            // With all that comes from upstream they leave places for what is stored.
            pass_queue: Semaphore::new(MAX_PASSES.min(max_responses / 4)),
        }
    }
}

impl Gateway {
    /// A place among the answers that come from upstream, to be held to their end.
    ///
    /// # Errors
    /// [`Problem::Busy`] if all are taken.
    pub fn acquire_upstream_permit(&self) -> Result<OwnedSemaphorePermit, RequestError> {
        Arc::clone(&self.upstream.responses)
            .try_acquire_owned()
            .map_err(|_| RequestError::Busy)
    }

    /// A place among those that pass through, waited for if need be.
    async fn acquire_pass_permit(&self) -> Result<OwnedSemaphorePermit, RequestError> {
        if let Ok(permit) = Arc::clone(&self.upstream.passes).try_acquire_owned() {
            return Ok(permit);
        }
        let _queued = self
            .upstream
            .pass_queue
            .try_acquire()
            .map_err(|_| RequestError::Busy)?;
        let permit = timeout(
            PASS_TIMEOUT,
            Arc::clone(&self.upstream.passes).acquire_owned(),
        )
        .await;
        Ok(permit
            .map_err(|_| RequestError::Busy)?
            .expect("this semaphore is never closed"))
    }

    /// Passes a request to the origin and stores nothing of it.
    pub(super) async fn pass_through(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let permits = [
            self.acquire_pass_permit().await?,
            self.acquire_upstream_permit()?,
        ];
        let (is_get, is_head) = (
            request.method == RequestMethod::Get,
            request.method == RequestMethod::Head,
        );
        let expected = if is_get {
            request.expected
        } else {
            ExpectedDigests::nothing()
        };
        let mut headers = request.forwarded_headers;
        if !expected.is_empty() {
            // A digest is that of the whole body, uncoded.
            headers.retain(|(name, _)| {
                !["range", "if-range", "accept-encoding"].contains(&name.as_str())
            });
        }
        let method = match request.method {
            RequestMethod::Get => Method::Get,
            RequestMethod::Head => Method::Head,
            RequestMethod::Other(name) => Method::Other(name),
        };
        let origin_request = PassThroughRequest {
            method,
            headers,
            body: request.body,
            follow_redirects: request.endpoint == Endpoint::Gateway,
            expected,
        };
        let mut passed = self
            .passthrough
            .send(admitted, origin_request)
            .await
            .map_err(RequestError::Origin)?;
        passed.permits = Some(permits);
        match passed.status {
            // The client's own range or condition is answered.
            412 | 416 => {}
            400.. if request.endpoint == Endpoint::Gateway => {
                return Err(RequestError::Origin(passed.as_error()));
            }
            200 if is_get
                && admitted.checks_file_type()
                && admitted.class() == Class::Immutable =>
            {
                let file_type = FileType::from_path(admitted.target().path());
                if !passed
                    .matches_file_type(file_type)
                    .await
                    .map_err(RequestError::Origin)?
                {
                    return Err(RequestError::WrongFileType);
                }
            }
            _ => {}
        }
        if request.version == HttpVersion::Http10
            && !is_head
            && passed.length.is_none()
            && !passed
                .buffer_to_end(MAX_BUFFERED_BYTES)
                .await
                .map_err(RequestError::Origin)?
        {
            let text = "the origin does not say how long this is, so that HTTP/1.0 could not tell its end from a cut: ask with HTTP/1.1";
            return Err(RequestError::BadRequest(text.to_owned()));
        }
        Ok(CacheResponse::PassThrough(Box::new(passed)))
    }
}
