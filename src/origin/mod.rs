//! Requests to origins.
//!
//! There is one client for http and https ([`http`]) and one for ftp ([`ftp`]). Policy has admitted
//! every target that is requested, and admits the target of each redirect. The bytes of a body are
//! not changed. This module must not know fetches, stored files or clients. Its main type is
//! [`Origin`].

mod body;
mod config;
mod cookie_date;
mod cookies;
mod egress_proxy;
mod error;
mod failure_kind;
mod fault;
mod ftp;
mod head_reader;
mod head_repair;
mod http;
mod http_clients;
mod http_connector;
mod http_error;
mod http_stream;
mod loop_watch;
mod opened;
mod request;
mod response;
mod reuse;
mod tls;
mod validator;

use std::sync::Arc;
use std::time::SystemTime;

pub use body::Body;
pub use config::{Config, FtpTls};
pub use error::{HostFault, OriginError, RequestFailed};
pub use failure_kind::FailureKind;
pub use fault::{ConnectionFault, ProtocolFault, RequestFault, TimeoutPhase, TlsFault};
pub use head_reader::{HeadFault, HeadReader, Requests};
pub use request::{Method, OriginRequest, Resume};
pub use response::{ReceivedResponse, Response, is_page_type};
pub use tls::check_certificate_store;
pub use validator::{Validator, Validity};

use crate::dial::Dialer;
use crate::metrics::{OriginCounts, OriginResult, StatusClass};
use crate::model::{ConfigError, Scheme, TargetError};
use crate::policy::{Admitted, Policy};
use cookies::ChainCookies;
use ftp::FtpOrigin;
use http::HttpOrigin;
use tls::TrustedCertificates;

/// Permits of a caller for the hosts that it asks.
pub trait HostPermits: Send {
    /// Waits until the host of a redirect may be asked. The host before it is asked no more.
    ///
    /// # Errors
    /// [`OriginError`] if the wait is too long.
    fn move_to(&mut self, hop: &Admitted) -> impl Future<Output = Result<(), OriginError>> + Send;
}

/// Permits of requests that other limits bound.
struct UnlimitedHosts;

impl HostPermits for UnlimitedHosts {
    async fn move_to(&mut self, _hop: &Admitted) -> Result<(), OriginError> {
        Ok(())
    }
}

/// Client for the origins of all schemes.
#[derive(Debug)]
pub struct Origin {
    http: HttpOrigin,
    ftp: FtpOrigin,
    policy: Arc<Policy>,
    max_redirects: usize,
    counts: Arc<OriginCounts>,
}

impl Origin {
    /// # Errors
    /// A text with the invalid configuration key, or with the reason why TLS is unavailable.
    pub fn new(
        config: &Config,
        policy: Arc<Policy>,
        dialer: Dialer,
        counts: OriginCounts,
    ) -> Result<Self, ConfigError> {
        let trusted = TrustedCertificates::load()?;
        Ok(Self {
            http: HttpOrigin::new(config.clone(), dialer.clone(), &trusted)?,
            ftp: FtpOrigin::new(config.clone(), dialer, &trusted)?,
            policy,
            max_redirects: config.max_redirects,
            counts: Arc::new(counts),
        })
    }

    /// Returns the counts of the requests up to now.
    #[must_use]
    pub fn counts(&self) -> &Arc<OriginCounts> {
        &self.counts
    }

    /// Notes that this node has received a request from another proxy, so that a loop is possible.
    pub fn note_relayed_request(&self) {
        self.http.loop_watch().note_relayed();
    }

    /// Requests an admitted target and follows redirects. Policy must admit each one.
    ///
    /// # Errors
    /// [`RequestFailed`] if there is no final response. A response with 4xx or 5xx is a response.
    pub async fn request(
        &self,
        admitted: &Admitted,
        request: OriginRequest,
    ) -> Result<Response, RequestFailed> {
        self.request_within(admitted, request, &mut UnlimitedHosts)
            .await
    }

    /// Sends a request as [`Origin::request`] does. Each redirect to another host waits for its
    /// permit.
    ///
    /// # Errors
    /// As [`Origin::request`].
    pub async fn request_within(
        &self,
        admitted: &Admitted,
        mut request: OriginRequest,
        hosts: &mut impl HostPermits,
    ) -> Result<Response, RequestFailed> {
        let has_range = request.asks_for_range();
        let (mut hop, mut cookies) = (admitted.renewed().await, ChainCookies::default());
        for count in 0..=self.max_redirects {
            let failed = |error| RequestFailed {
                error,
                is_redirected: count > 0,
            };
            let sent = self.send(&hop, &mut request, &cookies).await;
            let response = sent.map_err(failed)?;
            let Some(location) = response.location().filter(|_| request.follow_redirects) else {
                let redirected_to = (count > 0).then(|| hop.target().clone());
                let mut response = response.with_redirect(redirected_to);
                if !has_range {
                    response = response.into_complete();
                }
                check_asked(&request, response.status()).map_err(|fault| failed(fault.into()))?;
                return Ok(response);
            };
            cookies.store(hop.target(), response.all_headers(), SystemTime::now());
            // The connection is free before the next host is waited for.
            drop(response);
            let next = self.next_hop(&hop, &location, &request).map_err(failed)?;
            if next.target().host() != hop.target().host() {
                hosts.move_to(&next).await.map_err(failed)?;
            }
            hop = next;
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
        cookies: &ChainCookies,
    ) -> Result<Response, OriginError> {
        let sent = match hop.target().scheme() {
            Scheme::Http | Scheme::Https => self.http.send(hop, request, cookies).await,
            Scheme::Ftp => self.ftp.send(hop, request).await,
        };
        let counts = self.counts.of_host(hop.target().host());
        counts.requests.at(result_of(&sent)).increment();
        Ok(sent?.counting_body(Arc::clone(counts)))
    }

    /// Resolves and admits the target of a redirect.
    fn next_hop(
        &self,
        hop: &Admitted,
        location: &str,
        request: &OriginRequest,
    ) -> Result<Admitted, OriginError> {
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

fn result_of(sent: &Result<Response, OriginError>) -> OriginResult {
    let status = match sent {
        Ok(response) => response.status(),
        Err(OriginError::Status { status, .. }) => *status,
        Err(OriginError::Unreachable(_)) => return OriginResult::Unreachable,
        Err(OriginError::TlsFailure(_)) => return OriginResult::Tls,
        Err(OriginError::InvalidResponse(_)) => return OriginResult::Invalid,
        Err(
            OriginError::Denied(_)
            | OriginError::InvalidRequest(_)
            | OriginError::CircuitOpen { .. },
        ) => return OriginResult::NotSent,
    };
    match StatusClass::of(status) {
        StatusClass::Informational => OriginResult::Invalid,
        StatusClass::Success => OriginResult::Success,
        StatusClass::Redirection => OriginResult::Redirection,
        StatusClass::ClientError => OriginResult::ClientError,
        StatusClass::ServerError => OriginResult::ServerError,
    }
}

/// Checks that a part of a body was asked for. Many clients take the body of any 2xx for the whole
/// file, and a 416 for the end of a file that they have.
fn check_asked(request: &OriginRequest, status: u16) -> Result<(), ProtocolFault> {
    if request.method != Method::Get || request.asks_for_range() {
        return Ok(());
    }
    match status {
        206 => Err(ProtocolFault::UnaskedRange),
        416 => Err(ProtocolFault::UnaskedRefusal),
        _ => Ok(()),
    }
}
