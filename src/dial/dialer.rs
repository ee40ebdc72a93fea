//! Opens connections to addresses that policy allows. The main type is [`Dialer`].

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::candidates::{AddressCandidates, AddressVerdict, NoCandidate};
use super::config::Config;
use super::error::{DialError, OwnShortage};
use super::lookup_table::Asker;
use super::race::{RaceError, race};
use super::resolver::Resolver;
use crate::limits::DialLimits;
use crate::metrics::LookupCounts;
use crate::model::ConfigError;
use crate::policy::{Admitted, AdmittedTunnel, Policy};

/// How long the known addresses of one family wait for the lookup of the other one.
const OTHER_FAMILY_DELAY: Duration = Duration::from_millis(300);

/// Addresses that a connection may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those that policy allows.
    Policy,
    /// All, because the operator has configured the host. It is an egress proxy.
    Configured,
}

/// Opens connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    policy: Arc<Policy>,
    resolver: Arc<Resolver>,
    extra_attempts: Arc<Semaphore>,
    connect_timeout: Duration,
}

impl Dialer {
    /// # Errors
    /// [`ConfigError`] if a name server is invalid.
    pub fn new(
        config: &Config,
        policy: Arc<Policy>,
        connect_timeout: Duration,
        limits: DialLimits,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            policy,
            resolver: Arc::new(Resolver::new(config, limits.lookups)?),
            extra_attempts: Arc::new(Semaphore::new(limits.extra_attempts)),
            connect_timeout,
        })
    }

    /// Returns the counts of the lookups up to now.
    #[must_use]
    pub fn lookup_counts(&self) -> &Arc<LookupCounts> {
        self.resolver.counts()
    }

    /// Connects a tunnel to its target.
    ///
    /// # Errors
    /// As [`Dialer::connect_to_host`].
    pub async fn connect(&self, tunnel: &AdmittedTunnel) -> Result<TcpStream, DialError> {
        let (host, port) = (tunnel.host(), tunnel.port());
        self.connect_to_host(host, port, Reach::Policy, Some(tunnel.client()))
            .await
    }

    /// Connects to the origin of a target.
    ///
    /// # Errors
    /// As [`Dialer::connect_to_host`].
    pub async fn connect_to_origin(&self, admitted: &Admitted) -> Result<TcpStream, DialError> {
        let (host, port) = (admitted.target().host(), admitted.target().port());
        self.connect_to_host(host, port, Reach::Policy, admitted.client())
            .await
    }

    /// Connects to an address that a server sent.
    ///
    /// # Errors
    /// [`DialError`] with that address in place of a host.
    pub async fn connect_to_address(&self, address: SocketAddr) -> Result<TcpStream, DialError> {
        let candidates = AddressCandidates::of_address(address);
        let host = address.ip().to_string();
        self.connect_to_one(&host, candidates, Reach::Policy).await
    }

    /// Connects to the address of `host` that answers first. `host` is a name or an IP address,
    /// also in brackets. A lookup counts for `asker`.
    ///
    /// # Errors
    /// [`DialError::Forbidden`] if none of its addresses is allowed, [`DialError::Unresolved`],
    /// [`DialError::LookupTimeout`] or [`DialError::LookupFailed`] if none is known,
    /// [`DialError::Refused`] or [`DialError::Unreachable`] if all have failed,
    /// [`DialError::Timeout`] after the connect timeout, [`DialError::Shortage`] if this process
    /// lacks a resource.
    pub async fn connect_to_host(
        &self,
        host: &str,
        port: u16,
        reach: Reach,
        asker: Asker,
    ) -> Result<TcpStream, DialError> {
        let candidates = self.candidates(host, port, asker);
        self.connect_to_one(host, candidates, reach).await
    }

    /// Returns the address of `host`, or those that its lookups will find.
    fn candidates(&self, host: &str, port: u16, asker: Asker) -> AddressCandidates {
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => AddressCandidates::of_address(SocketAddr::new(address, port)),
            Err(_) => AddressCandidates::of_lookup(self.resolver.look_up(host, asker), port),
        }
    }

    /// Connects to the candidate that answers first.
    async fn connect_to_one(
        &self,
        host: &str,
        candidates: AddressCandidates,
        reach: Reach,
    ) -> Result<TcpStream, DialError> {
        let check = |address: IpAddr| self.check(address, reach);
        let raced = timeout(
            self.connect_timeout,
            race(candidates, check, &self.extra_attempts),
        )
        .await
        .map_err(|_| DialError::Timeout(host.to_owned()))?;
        raced.map_err(|error| match error {
            RaceError::NoCandidate(NoCandidate::Forbidden) => DialError::Forbidden(host.to_owned()),
            RaceError::NoCandidate(NoCandidate::Lookup(error)) => {
                DialError::from_lookup(host, error)
            }
            RaceError::Unreachable(error) if error.kind() == ErrorKind::ConnectionRefused => {
                DialError::Refused(host.to_owned())
            }
            RaceError::Unreachable(error) => match OwnShortage::of_io(&error) {
                Some(shortage) => DialError::Shortage(host.to_owned(), shortage),
                None => DialError::Unreachable(host.to_owned()),
            },
        })
    }

    /// Returns the addresses of a host that the operator has configured, at most 32, in the order
    /// in which they are tried. Any address is allowed. After the addresses of one family, those of
    /// the other one have little time.
    ///
    /// # Errors
    /// [`DialError`] of the lookup if there is none.
    pub async fn configured_addresses(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let mut candidates = self.candidates(host, port, None);
        while !candidates.has_next() && candidates.receive().await.is_some() {}
        let others = async { while candidates.receive().await.is_some() {} };
        // Without the other family, the host is usable all the same.
        timeout(OTHER_FAMILY_DELAY, others).await.ok();
        let any = |_: IpAddr| AddressVerdict::Allowed;
        let found: Vec<_> = std::iter::from_fn(|| candidates.take_next(any)).collect();
        match candidates.failure() {
            _ if !found.is_empty() => Ok(found),
            NoCandidate::Lookup(error) => Err(DialError::from_lookup(host, error)),
            NoCandidate::Forbidden => Err(DialError::Forbidden(host.to_owned())),
        }
    }

    /// Returns whether all addresses of the target's host are known within `wait`, and allowed.
    ///
    /// A client that is redirected to the host chooses one of them itself.
    pub async fn is_known_allowed(&self, admitted: &Admitted, wait: Duration) -> bool {
        let check = |address: IpAddr| self.check(address, Reach::Policy);
        let (host, port) = (admitted.target().host(), admitted.target().port());
        let mut candidates = self.candidates(host, port, admitted.client());
        let all_known = timeout(wait, async {
            while candidates.receive().await.is_some() {}
        });
        all_known.await.is_ok() && candidates.all_allowed(check)
    }

    fn check(&self, address: IpAddr, reach: Reach) -> AddressVerdict {
        if reach == Reach::Configured || self.policy.may_connect_to(address) {
            AddressVerdict::Allowed
        } else {
            AddressVerdict::Forbidden
        }
    }
}
