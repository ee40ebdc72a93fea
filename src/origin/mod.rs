//! Asking the origin.
//!
//! One file or folder a scheme: [`http`] and [`ftp`]. An origin asks only for what policy has
//! admitted, at every hop, and hands the bytes on untouched. It knows nothing of flights, files or
//! clients. Its main type is [`Origin`].

mod error;
mod ftp;
mod http;
mod http_clients;
mod request;
mod response;
mod reuse;

use std::str::Utf8Error;
use std::sync::Arc;
use std::time::Duration;

pub use error::{OriginError, RequestFailed};
pub use ftp::FtpTls;
pub use request::{Method, Request, Resume};
pub use response::{Body, Response};

use crate::dial::Dialer;
use crate::model::{ConfigError, Scheme, TargetError};
use crate::policy::{Admitted, Policy};
use ftp::FtpOrigin;
use http::HttpOrigin;

#[derive(Debug, Clone)]
pub struct Config {
    pub connect_timeout: Duration,
    /// How long an origin may say nothing, before its head and between bytes.
    pub idle_timeout: Duration,
    /// In bytes a second, over [`Config::idle_timeout`].
    pub min_speed_bytes: u64,
    pub max_redirects: usize,
    /// Connections of ftp at once to one server.
    pub per_host: usize,
    pub ftp_tls: FtpTls,
    /// Empty: none. Of http and https only.
    pub egress_proxy: String,
    /// Our name in `Via`.
    pub name: String,
}

/// All origins.
#[derive(Debug)]
pub struct Origin {
    http: HttpOrigin,
    ftp: FtpOrigin,
    policy: Arc<Policy>,
    max_redirects: usize,
}

impl Origin {
    /// # Errors
    /// A line that names the key, if the egress proxy is no URL or the machine has no certificates.
    pub fn new(config: &Config, policy: Arc<Policy>, dialer: Dialer) -> Result<Self, ConfigError> {
        Ok(Self {
            http: HttpOrigin::new(config.clone(), dialer.clone())?,
            ftp: FtpOrigin::new(config.clone(), dialer)?,
            policy,
            max_redirects: config.max_redirects,
        })
    }

    /// Asks for an admitted target and follows redirects, each of which policy judges.
    ///
    /// # Errors
    /// [`RequestFailed`] where there is no final answer. An answer of 4xx or 5xx is an answer.
    pub async fn ask(
        &self,
        admitted: &Admitted,
        mut request: Request,
    ) -> Result<Response, RequestFailed> {
        let mut hop = admitted.clone();
        for count in 0..=self.max_redirects {
            let failed = |error| RequestFailed {
                error,
                is_redirected: count > 0,
            };
            let response = self.ask_hop(&hop, &mut request).await.map_err(failed)?;
            let location = match response.location() {
                Some(location) if request.follow_redirects => location,
                _ => return Ok(response.with_redirect_count(count)),
            };
            hop = self.next_hop(&hop, location, &request).map_err(failed)?;
        }
        let error =
            OriginError::InvalidResponse(format!("more than {} redirects", self.max_redirects));
        Err(RequestFailed {
            error,
            is_redirected: true,
        })
    }

    async fn ask_hop(
        &self,
        hop: &Admitted,
        request: &mut Request,
    ) -> Result<Response, OriginError> {
        match hop.target().scheme() {
            Scheme::Http | Scheme::Https => self.http.ask(hop, request).await,
            Scheme::Ftp => self.ftp.ask(hop, request).await,
        }
    }

    fn next_hop(
        &self,
        hop: &Admitted,
        location: Result<&str, Utf8Error>,
        request: &Request,
    ) -> Result<Admitted, OriginError> {
        let location = location.map_err(|_| bad_location(TargetError::ControlByte))?;
        let next = hop.target().join(location).map_err(bad_location)?;
        if next.has_credentials() {
            return Err(bad_location(TargetError::Userinfo));
        }
        Ok(self.policy.admit_hop(hop, next, request.digest_expected)?)
    }
}

fn bad_location(error: TargetError) -> OriginError {
    OriginError::InvalidResponse(format!(
        "the origin redirects to something that is not fetched: {error}"
    ))
}
