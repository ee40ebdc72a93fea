//! Requests that pass through without being stored: tunnels, methods other than GET, and targets of
//! class `pass`.
//!
//! This module must not know the cache, and keeps no state between requests. Its main type is
//! [`PassThrough`].

mod response;
mod tunnel;

use std::sync::Arc;
use std::time::SystemTime;

use crate::dial::{DialError, Dialer};
use crate::model::ExpectedDigests;
use crate::origin::{Origin, OriginRequest, ReceivedResponse};
use crate::policy::{Admitted, AdmittedTunnel, Policy};

pub use crate::origin::{Method, OriginError};
pub use response::PassThroughResponse;

pub use crate::model::is_end_to_end_header;
pub use tunnel::{Tunnel, TunnelEnd, TunnelReport};

/// Request of a client that goes to the origin unchanged.
#[derive(Debug)]
pub struct PassThroughRequest {
    pub method: Method,
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
    /// # Errors
    /// [`OriginError`] if there is no response, or if policy denies its body.
    pub async fn send(
        &self,
        admitted: &Admitted,
        request: PassThroughRequest,
    ) -> Result<PassThroughResponse, OriginError> {
        let response = self
            .origin
            .request(
                admitted,
                OriginRequest {
                    headers: request.headers,
                    body: request.body,
                    follow_redirects: request.follow_redirects,
                    digest_expected: request.expected.has_strong_digest(),
                    ..OriginRequest::new(request.method)
                },
            )
            .await?;
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
        if matches!(response.status(), 200 | 206) {
            admitted.check_age(response.stored_headers().modified_at(), SystemTime::now())?;
        }
        let limit = self.policy.max_object_size();
        Ok(PassThroughResponse::new(received, limit, expected))
    }

    /// Connects a blind tunnel to its target.
    ///
    /// # Errors
    /// [`DialError`] of the last address that was tried.
    pub async fn open_tunnel(&self, tunnel: &AdmittedTunnel) -> Result<Tunnel, DialError> {
        Ok(Tunnel::new(self.dialer.connect(tunnel).await?))
    }
}
