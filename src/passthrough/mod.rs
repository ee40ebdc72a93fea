//! What is passed on and not stored: tunnels, methods other than GET, targets of class passed.
//!
//! This room never touches the store and nothing in it is remembered. Its main type is [`Relay`].

mod response;
mod tunnel;

use std::sync::Arc;

use crate::dial::{DialError, Dialer};
use crate::model::ExpectedDigests;
use crate::origin::{Origin, OriginRequest};
use crate::policy::{Admitted, AdmittedTunnel, Policy};

pub use crate::origin::{Method, OriginError};
pub use response::{PassThroughResponse, is_end_to_end_header};
pub use tunnel::{Tunnel, TunnelEnd, TunnelReport};

/// A client's request that goes to the origin as it is.
#[derive(Debug)]
pub struct PassThroughRequest {
    pub method: Method,
    /// What [`forwardable`] has let through.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
    /// A proxy hands redirects on; a gateway whose client asked for a file follows them.
    pub follow_redirects: bool,
    /// What the body must be. It is checked on its way through.
    pub expected: ExpectedDigests,
}

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

    /// Passes a request to the origin and its answer back.
    ///
    /// # Errors
    /// [`OriginError`] where no answer came, or policy forbids its body.
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
        self.policy
            .admit_body(response.header("content-type"), response.length())?;
        Ok(PassThroughResponse::new(
            response,
            self.policy.max_object_size(),
            request.expected,
        ))
    }

    /// Opens a blind tunnel.
    ///
    /// # Errors
    /// [`DialError`] of the last address that was tried.
    pub async fn open_tunnel(&self, tunnel: &AdmittedTunnel) -> Result<Tunnel, DialError> {
        Ok(Tunnel::new(self.dialer.connect(tunnel).await?))
    }
}
