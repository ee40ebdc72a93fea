//! Asking the origin.
//!
//! One file or folder a scheme: [`http`] and [`ftp`]. An origin asks only for what policy has admitted, at every hop, and hands
//! the bytes on untouched. It knows nothing of flights, files or clients. Its main type is [`Origin`].

mod error;
mod ftp;
mod http;
mod request;
mod response;

use std::sync::Arc;
use std::time::Duration;

pub use error::OriginError;
pub use ftp::FtpTls;
pub use request::{Method, Request, Resume};
pub use response::{Body, Response};

use crate::dial::Dialer;
use crate::model::{Scheme, TargetError};
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
    pub fn new(config: &Config, policy: Arc<Policy>, dialer: Dialer) -> Result<Self, String> {
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
    /// [`OriginError`] where there is no final answer. An answer of 4xx or 5xx is an answer.
    pub async fn ask(&self, admitted: &Admitted, mut request: Request) -> Result<Response, OriginError> {
        let mut hop = admitted.clone();
        for _ in 0..=self.max_redirects {
            let response = match hop.target().scheme() {
                Scheme::Http | Scheme::Https => self.http.ask(&hop, &mut request).await?,
                Scheme::Ftp => self.ftp.ask(&hop, &request).await?,
            };
            let location = match response.location() {
                Some(location) if request.follow_redirects => location,
                _ => return Ok(response),
            };
            let location = location.map_err(|_| bad_location(TargetError::ControlByte))?;
            let next = hop.target().join(location).map_err(bad_location)?;
            if next.has_credentials() {
                return Err(bad_location(TargetError::Userinfo));
            }
            hop = self.policy.admit_hop(&hop, next, request.digest_expected)?;
        }
        Err(OriginError::Wrong(format!("more than {} redirects", self.max_redirects)))
    }
}

fn bad_location(error: TargetError) -> OriginError {
    OriginError::Wrong(format!("the origin redirects to something that is not fetched: {error}"))
}
