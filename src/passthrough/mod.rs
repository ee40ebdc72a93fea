//! Requests that pass through without being stored: tunnels, methods other than GET, and targets of
//! class `pass`.
//!
//! This module must not know the cache, and keeps no state between requests. Its main type is
//! [`PassThrough`].

mod response;
mod tunnel;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::dial::{DialError, Dialer};
use crate::model::{ExpectedDigests, HttpVersion, Target};
use crate::origin::{Origin, OriginRequest, ProtocolFault, ReceivedResponse, Response};
use crate::policy::{Admitted, AdmittedTunnel, Policy};

pub use crate::origin::{FailureKind, Method, OriginError};
pub use response::PassThroughResponse;

pub use crate::model::is_end_to_end_header;
pub use tunnel::{IdleLimit, STOPPING_IDLE_TIMEOUT, Tunnel, TunnelEnd, TunnelReport};

/// Statuses with which origins refuse a HEAD that they would answer as GET.
const HEAD_REFUSED: [u16; 3] = [403, 405, 501];

/// Fields that ask for a part of a body. A HEAD has no part.
const RANGE_FIELDS: [&str; 2] = ["if-range", "range"];

/// Maximum wait for the addresses of a host to which a client may be redirected.
const KNOWN_HOST_WAIT: Duration = Duration::from_millis(100);

/// Request of a client that goes to the origin unchanged.
#[derive(Debug)]
pub struct PassThroughRequest {
    pub method: Method,
    /// Version of the client's request.
    pub version: HttpVersion,
    /// End-to-end header fields, as [`is_end_to_end_header`] selects them.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
    /// True at the gateway endpoint, whose client wants a file. A proxy passes redirects on.
    pub follow_redirects: bool,
    /// Expected digests of the body. They are checked while it passes.
    pub expected: ExpectedDigests,
}

/// Sender of pass-through requests, and opener of tunnels.
#[derive(Debug)]
pub struct PassThrough {
    origin: Arc<Origin>,
    policy: Arc<Policy>,
    dialer: Dialer,
}

impl PassThrough {
    #[must_use]
    pub fn new(origin: Arc<Origin>, policy: Arc<Policy>, dialer: Dialer) -> Self {
        Self {
            origin,
            policy,
            dialer,
        }
    }

    /// Sends a request to the origin and returns the response.
    ///
    /// Some origins refuse HEAD and answer GET. A GET then answers a HEAD at the gateway endpoint,
    /// and its body is not read.
    ///
    /// # Errors
    /// [`OriginError`] if there is no response, or if policy denies its body.
    pub async fn send(
        &self,
        admitted: &Admitted,
        request: PassThroughRequest,
    ) -> Result<PassThroughResponse, OriginError> {
        let digest_expected = request.expected.has_strong_digest();
        let as_get = (request.method == Method::Head && request.follow_redirects).then(|| {
            let mut headers = request.headers.clone();
            headers.retain(|(name, _)| !RANGE_FIELDS.contains(&name.as_str()));
            OriginRequest {
                received: request.version,
                headers,
                digest_expected,
                ..OriginRequest::new(Method::Get)
            }
        });
        let request_to_origin = OriginRequest {
            received: request.version,
            headers: request.headers,
            body: request.body,
            follow_redirects: request.follow_redirects,
            digest_expected,
            ..OriginRequest::new(request.method)
        };
        // Many clients take a 304 for an empty file.
        let is_304_unasked =
            request_to_origin.method == Method::Get && !request_to_origin.is_conditional();
        let mut response = self.origin.request(admitted, request_to_origin).await?;
        if response.status() == 304 && is_304_unasked {
            return Err(ProtocolFault::ForeignNotModified.into());
        }
        if let Some(as_get) = as_get.filter(|_| HEAD_REFUSED.contains(&response.status())) {
            response = self.origin.request(admitted, as_get).await?;
        }
        self.pass_on(admitted, ReceivedResponse::from(response), request.expected)
    }

    /// Passes on a response that was requested for another purpose.
    ///
    /// # Errors
    /// [`OriginError`] if policy denies its body.
    pub fn pass_on(
        &self,
        admitted: &Admitted,
        received: ReceivedResponse,
        expected: ExpectedDigests,
    ) -> Result<PassThroughResponse, OriginError> {
        let response = &received.response;
        self.policy
            .admit_body(admitted, response.header("content-type"), response.length())?;
        if matches!(response.status(), 200 | 203 | 206 | 226) {
            admitted.check_age(response.stored_headers().modified_at(), SystemTime::now())?;
        }
        let limit = self.policy.max_object_size();
        let page_target = expected
            .is_empty()
            .then(|| self.page_target(admitted, response))
            .flatten();
        let mut passed = PassThroughResponse::new(received, limit, expected);
        passed.page_target = page_target;
        Ok(passed)
    }

    /// Returns the target of the last redirect, if it led to a web page that a client may request
    /// there. A signed target is the secret of its redirect.
    fn page_target(&self, admitted: &Admitted, response: &Response) -> Option<Target> {
        let last = response.redirected_to().filter(|last| {
            let is_shown = !last.is_signed() && !last.has_credentials();
            let is_moved = *last != admitted.target();
            response.status() == 200 && response.is_page() && is_moved && is_shown
        })?;
        self.policy
            .admit(last.clone())
            .is_ok()
            .then(|| last.clone())
    }

    /// Notes that another proxy has sent a request, so that requests to egress proxies can loop.
    pub fn note_relayed_request(&self) {
        self.origin.note_relayed_request();
    }

    /// Returns whether all addresses of the target's host are known at once, and allowed.
    pub async fn is_host_known(&self, admitted: &Admitted) -> bool {
        self.dialer
            .is_known_allowed(admitted, KNOWN_HOST_WAIT)
            .await
    }

    /// Connects a blind tunnel to its target.
    ///
    /// # Errors
    /// [`DialError`] of the last address that was tried.
    pub async fn open_tunnel(&self, tunnel: &AdmittedTunnel) -> Result<Tunnel, DialError> {
        Ok(Tunnel::new(self.dialer.connect(tunnel).await?))
    }
}
