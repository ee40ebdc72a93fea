//! Requests to origins.
//!
//! There is one client for http and https ([`http`]) and one for ftp ([`ftp`]). Policy has admitted
//! every target that is requested, and admits the target of each redirect. The bytes of a body are
//! not changed. This module must not know fetches, stored files or clients. Its main type is
//! [`Origin`].

mod body;
mod config;
mod error;
mod fault;
mod ftp;
mod http;
mod http_clients;
mod http_error;
mod proxy_error;
mod request;
mod response;
mod reuse;

use std::str::Utf8Error;
use std::sync::Arc;

pub use body::Body;
pub use config::{Config, FtpTls};
pub use error::{OriginError, RequestFailed};
pub use fault::{ConnectionFault, ProtocolFault, RequestFault, TimeoutPhase, TlsFault};
pub use request::{Method, OriginRequest, Resume};
pub use response::{ReceivedResponse, Response};

use crate::dial::Dialer;
use crate::model::{ConfigError, Scheme, TargetError};
use crate::policy::{Admitted, Policy};
use ftp::FtpOrigin;
use http::HttpOrigin;

/// Client for the origins of all schemes.
#[derive(Debug)]
pub struct Origin {
    http: HttpOrigin,
    ftp: FtpOrigin,
    policy: Arc<Policy>,
    max_redirects: usize,
}

impl Origin {
    /// # Errors
    /// A text with the invalid configuration key, or with the reason why TLS is unavailable.
    pub fn new(config: &Config, policy: Arc<Policy>, dialer: Dialer) -> Result<Self, ConfigError> {
        Ok(Self {
            http: HttpOrigin::new(config.clone(), dialer.clone())?,
            ftp: FtpOrigin::new(config.clone(), dialer)?,
            policy,
            max_redirects: config.max_redirects,
        })
    }

    /// Requests an admitted target and follows redirects. Policy must admit each one.
    ///
    /// # Errors
    /// [`RequestFailed`] if there is no final response. A response with 4xx or 5xx is a response.
    pub async fn request(
        &self,
        admitted: &Admitted,
        mut request: OriginRequest,
    ) -> Result<Response, RequestFailed> {
        let mut hop = admitted.clone();
        for count in 0..=self.max_redirects {
            let failed = |error| RequestFailed {
                error,
                is_redirected: count > 0,
            };
            let response = self.send(&hop, &mut request).await.map_err(failed)?;
            let location = match response.location() {
                Some(location) if request.follow_redirects => location,
                _ => return Ok(response.with_redirect_count(count)),
            };
            hop = self.next_hop(&hop, location, &request).map_err(failed)?;
        }
        Err(RequestFailed {
            error: ProtocolFault::TooManyRedirects(self.max_redirects).into(),
            is_redirected: true,
        })
    }

    /// Sends one request, without following a redirect.
    async fn send(
        &self,
        hop: &Admitted,
        request: &mut OriginRequest,
    ) -> Result<Response, OriginError> {
        match hop.target().scheme() {
            Scheme::Http | Scheme::Https => self.http.send(hop, request).await,
            Scheme::Ftp => self.ftp.send(hop, request).await,
        }
    }

    /// Resolves and admits the target of a redirect.
    fn next_hop(
        &self,
        hop: &Admitted,
        location: Result<&str, Utf8Error>,
        request: &OriginRequest,
    ) -> Result<Admitted, OriginError> {
        let location =
            location.map_err(|_| ProtocolFault::RedirectTarget(TargetError::ControlByte))?;
        let next = hop
            .target()
            .join(location)
            .map_err(ProtocolFault::RedirectTarget)?;
        if next.has_credentials() {
            return Err(ProtocolFault::RedirectTarget(TargetError::Userinfo).into());
        }
        Ok(self.policy.admit_hop(hop, next, request.digest_expected)?)
    }
}
