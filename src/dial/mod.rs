//! Outgoing connections: resolve once, check every address, connect to a checked address.
//!
//! Apart from the HTTP client, which resolves through [`CheckedResolver`], no other module connects
//! to an origin. The module is independent of the protocol. Its main type is [`Dialer`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::policy::{Admitted, AdmittedTunnel, Policy};

/// Maximum number of addresses that are tried for one name. Each may take the whole timeout.
const MAX_ADDRESSES: usize = 8;

/// Error returned when a connection cannot be opened. Each variant contains the host.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// Policy allows none of the host's addresses.
    #[error("the address of {0} is private or reserved (policy.allow_networks)")]
    Forbidden(String),
    #[error("host name {0} has no address")]
    Unresolved(String),
    #[error("the look-up of host name {0} timed out")]
    LookupTimeout(String),
    #[error("cannot connect to {0}: the connection was refused")]
    Refused(String),
    #[error("cannot connect to {0}")]
    Unreachable(String),
    #[error("connection to {0} timed out")]
    Timeout(String),
}

/// Opens connections to addresses that policy allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    policy: Arc<Policy>,
    connect_timeout: Duration,
}

impl Dialer {
    #[must_use]
    pub fn new(policy: Arc<Policy>, connect_timeout: Duration) -> Self {
        Self {
            policy,
            connect_timeout,
        }
    }

    /// Resolves a name and returns the addresses that policy allows.
    ///
    /// # Errors
    /// [`DialError::Forbidden`] if none of its addresses is allowed, [`DialError::Unresolved`] if
    /// it has no address, [`DialError::LookupTimeout`] if the lookup takes too long.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let found = timeout(self.connect_timeout, lookup_host((host, port)))
            .await
            .map_err(|_| DialError::LookupTimeout(host.to_owned()))?
            .map_err(|_| DialError::Unresolved(host.to_owned()))?;
        let mut has_address = false;
        let allowed: Vec<_> = found
            .inspect(|_| has_address = true)
            .filter(|address| self.policy.may_connect_to(address.ip()))
            .take(MAX_ADDRESSES)
            .collect();
        match allowed.is_empty() {
            false => Ok(allowed),
            true if has_address => Err(DialError::Forbidden(host.to_owned())),
            true => Err(DialError::Unresolved(host.to_owned())),
        }
    }

    /// Connects a tunnel to the first reachable address.
    ///
    /// # Errors
    /// As [`Dialer::resolve`]; [`DialError::Refused`], [`DialError::Unreachable`] or
    /// [`DialError::Timeout`] for the last address that was tried.
    pub async fn connect(&self, tunnel: &AdmittedTunnel) -> Result<TcpStream, DialError> {
        self.connect_to_host(tunnel.host(), tunnel.port(), tunnel.address())
            .await
    }

    /// Connects to the origin of a target, at the first reachable address.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_to_origin(&self, admitted: &Admitted) -> Result<TcpStream, DialError> {
        let target = admitted.target();
        self.connect_to_host(target.host(), target.port(), target.address())
            .await
    }

    /// Connects to an address that a server sent.
    ///
    /// # Errors
    /// [`DialError`] with that address in place of a host.
    pub async fn connect_to_address(&self, address: SocketAddr) -> Result<TcpStream, DialError> {
        self.connect_to_host(
            &address.ip().to_string(),
            address.port(),
            Some(address.ip()),
        )
        .await
    }

    /// Connects to `address`, or to the first reachable address of `host`.
    async fn connect_to_host(
        &self,
        host: &str,
        port: u16,
        address: Option<IpAddr>,
    ) -> Result<TcpStream, DialError> {
        let addresses = match address {
            Some(address) => vec![self.check(host, SocketAddr::new(address, port))?],
            None => self.resolve(host, port).await?,
        };
        let mut failure = DialError::Unresolved(host.to_owned());
        for address in addresses {
            match timeout(self.connect_timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    failure = DialError::Refused(host.to_owned());
                }
                Ok(Err(_)) => failure = DialError::Unreachable(host.to_owned()),
                Err(_) => failure = DialError::Timeout(host.to_owned()),
            }
        }
        Err(failure)
    }

    /// Checks that policy allows an address.
    fn check(&self, host: &str, address: SocketAddr) -> Result<SocketAddr, DialError> {
        let allowed = self.policy.may_connect_to(address.ip());
        if allowed {
            Ok(address)
        } else {
            Err(DialError::Forbidden(host.to_owned()))
        }
    }
}

/// Resolver for the HTTP client. It returns only addresses that policy allows.
///
/// The client does not resolve a host that is an IP address. Policy checks it in the target.
#[derive(Debug)]
pub struct CheckedResolver {
    dialer: Dialer,
    /// Host of the configured egress proxy. Its address may be private.
    egress_proxy: Option<String>,
}

impl CheckedResolver {
    #[must_use]
    pub fn new(dialer: Dialer, egress_proxy: Option<String>) -> Self {
        Self {
            dialer,
            egress_proxy,
        }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let dialer = self.dialer.clone();
        let is_egress_proxy = self.egress_proxy.as_deref() == Some(name.as_str());
        Box::pin(async move {
            // The client sets the port itself.
            let addresses: Vec<SocketAddr> = if is_egress_proxy {
                lookup_host((name.as_str(), 0)).await?.collect()
            } else {
                dialer.resolve(name.as_str(), 0).await?
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Returns the host of a URL as the resolver gets it, or `None` if the host is an IP address.
#[must_use]
pub fn resolvable_host(url: &url::Url) -> Option<String> {
    let host = url.host_str()?;
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (!is_address).then(|| host.to_owned())
}
