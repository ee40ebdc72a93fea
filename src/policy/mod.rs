//! Access policy for clients and targets.
//!
//! Every fetched target is checked here first and becomes an [`Admitted`], which no other module
//! can create. The module checks names and addresses. It resolves no names and opens no
//! connections. Its main type is [`Policy`].

mod access;
mod addresses;
mod approach;
mod bandwidth;
mod classes;
mod config;
mod hosts;
mod index_names;
mod limits;
mod mutability;
mod mutable_words;
mod parents;
mod pins;
mod ports;
mod rules;
mod sources;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;

pub use access::Access;
pub use approach::{Approach, Egress, is_proxy_url};
pub use bandwidth::Pacer;
pub use config::Config;
pub use hosts::HostPattern;
pub use limits::{LimitsConfig, OverLimit, Transfer, Use};
pub use parents::Parent;
pub use pins::{PinError, Pins, PinsError};
pub use ports::AllowedPort;
pub use rules::{Class, Rule};
pub use sources::{Place, Source};

use crate::model::{FtpFileError, Scheme, Sha256, Size, Target};
use limits::Limits;
use pins::PinsFile;
use rules::Rules;

/// Error returned when policy denies a request. The text names the configuration key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("client address {0} is not allowed (policy.allow_clients)")]
    Client(IpAddr),
    #[error("host {0} is denied (policy.deny_hosts)")]
    DeniedHost(String),
    #[error("host {0} is not allowed (policy.allow_hosts)")]
    UnlistedHost(String),
    #[error("names that end in {0} are denied (policy.deny_suffixes)")]
    DeniedSuffix(String),
    #[error("only certain file suffixes are allowed (policy.allow_suffixes)")]
    UnlistedSuffix,
    #[error("port {1} is not allowed for {0} (policy.ports)")]
    Port(Scheme, u16),
    #[error("tunnels to port {0} are not allowed (policy.connect_ports)")]
    ConnectPort(u16),
    #[error("the address of {0} is private or reserved (policy.allow_networks)")]
    Address(String),
    #[error("content type {0} is denied (policy.deny_content_types)")]
    ContentType(String),
    #[error("the body is larger than policy.max_object_size, {0}")]
    TooLarge(Size),
    #[error("a redirect from https to another scheme is only followed if the request has an expected digest")]
    Downgrade,
    #[error("unsupported ftp URL: {0}")]
    FtpFile(FtpFileError),
}

/// Target that policy allows, with the settings that apply to it. Only this module creates one.
#[derive(Debug, Clone)]
pub struct Admitted {
    target: Target,
    class: Class,
    judge_kind: bool,
    has_other_ways: bool,
    approach: Approach,
    stated: Option<Sha256>,
}

impl Admitted {
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns the SHA-256 that the operator's checksum file requires.
    #[must_use]
    pub fn stated(&self) -> Option<Sha256> {
        self.stated
    }

    /// Returns whether the first bytes are checked against the file type of the name.
    #[must_use]
    pub fn judges_kind(&self) -> bool {
        self.judge_kind
    }

    /// Returns whether Millpond can reach the bytes in ways that a client cannot: credentials, an
    /// egress proxy, mirrors, archives or parents.
    #[must_use]
    pub fn has_other_ways(&self) -> bool {
        self.has_other_ways
    }

    /// Returns the request options for the target's host. They apply to this hop only.
    #[must_use]
    pub fn approach(&self) -> &Approach {
        &self.approach
    }
}

/// Host and port that a tunnel may connect to. Only this module creates one.
#[derive(Debug, Clone)]
pub struct AdmittedTunnel {
    target: Target,
}

impl AdmittedTunnel {
    #[must_use]
    pub fn host(&self) -> &str {
        self.target.host()
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.target.port()
    }

    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.target.address()
    }
}

/// Admitted client. Only this module creates one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    address: IpAddr,
}

impl Client {
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }
}

/// Active policy. It can be replaced at run time: a request sees the old or the new rules.
#[derive(Debug)]
pub struct Policy {
    rules: ArcSwap<Rules>,
    limits: ArcSwap<Limits>,
    pins: ArcSwap<Pins>,
    pins_file: Mutex<PinsFile>,
}

impl Policy {
    /// Compiles and checks the configuration.
    ///
    /// # Errors
    /// A text with the configuration key whose value is invalid.
    pub fn new(config: Config, rules: Vec<Rule>, parents: &[Parent], limits: LimitsConfig) -> Result<Self, String> {
        limits.check()?;
        let (pins_file, pins) = PinsFile::read(&config.pins_file)?;
        Ok(Self {
            rules: ArcSwap::from_pointee(Rules::new(config, rules, parents)?),
            pins: ArcSwap::from_pointee(pins),
            pins_file: Mutex::new(pins_file),
            limits: ArcSwap::from_pointee(Limits::new(limits)),
        })
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// As [`Policy::new`]. The old rules stay active.
    pub fn replace(
        &self,
        config: Config,
        rules: Vec<Rule>,
        parents: &[Parent],
        limits: LimitsConfig,
    ) -> Result<(), String> {
        limits.check()?;
        let (pins_file, pins) = PinsFile::read(&config.pins_file)?;
        self.rules.store(Arc::new(Rules::new(config, rules, parents)?));
        *self.pins_file.lock().unwrap_or_else(PoisonError::into_inner) = pins_file;
        self.pins.store(Arc::new(pins));
        self.limits.store(Arc::new(self.limits.load().adjusted(limits)));
        Ok(())
    }

    /// Reloads the checksum file if it has changed. An invalid file is logged once and not used.
    pub fn reread_changed_pins(&self) {
        let mut file = self.pins_file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.read_if_changed() {
            None => {}
            Some(Ok(pins)) => {
                let count = pins.len();
                self.pins.store(Arc::new(pins));
                tracing::info!(count, "reloaded policy.pins_file");
            }
            Some(Err(error)) => {
                tracing::error!(error, "reload of policy.pins_file failed; keeping the old checksums");
            }
        }
    }

    /// Returns the target under which `target` is stored.
    #[must_use]
    pub fn kept_as(&self, target: &Target) -> Target {
        self.rules.load().joined(target).unwrap_or_else(|| target.clone())
    }

    /// Returns the SHA-256 that the checksum file requires of exactly this target.
    #[must_use]
    pub fn stated(&self, target: &Target) -> Option<Sha256> {
        self.pins.load().of(target)
    }

    /// Checks a client's address.
    ///
    /// # Errors
    /// [`Refusal::Client`] for an address outside `allow_clients`.
    pub fn admit_client(&self, client: IpAddr) -> Result<Client, Refusal> {
        self.rules.load().admit_client(client)?;
        Ok(Client { address: client })
    }

    /// Counts a request of a client, and checks the limit for the transfer that it starts.
    ///
    /// # Errors
    /// The limit that the client has exceeded.
    pub fn count_request(&self, client: Client, what: Use) -> Result<(), OverLimit> {
        self.limits.load().count_request(client, what)
    }

    /// Counts a transfer of a client until the [`Transfer`] is dropped.
    ///
    /// # Errors
    /// The limit that the client has exceeded.
    pub fn begin(&self, client: Client, what: Use) -> Result<Transfer, OverLimit> {
        self.limits.load().begin(client, what)
    }

    /// Returns whether bandwidth is limited, so that Millpond must send every body itself.
    #[must_use]
    pub fn limits_bandwidth(&self) -> bool {
        self.limits.load().bandwidth.is_limited()
    }

    /// Removes the state of idle clients. Call it periodically to free memory.
    pub fn forget_rested_clients(&self) {
        self.limits.load().forget_rested();
    }

    /// Checks a client's target as far as possible before its host is resolved.
    ///
    /// If a rule stores it under a canonical alias, the alias is checked too and admitted instead.
    ///
    /// # Errors
    /// The first rule that denies the target.
    pub fn admit(&self, target: Target) -> Result<Admitted, Refusal> {
        let admitted = self.admit_by_itself(target)?;
        let Some(joined) = self.rules.load().joined(&admitted.target) else { return Ok(admitted) };
        let joined = self.admit_by_itself(joined)?;
        // A digest required of the client's URL takes precedence over one required of the alias.
        Ok(Admitted { stated: admitted.stated.or(joined.stated), ..joined })
    }

    /// Checks a target as [`Policy::admit`], but ignores canonical aliases.
    ///
    /// A request with the client's own credentials must go to exactly that host.
    ///
    /// # Errors
    /// The first rule that denies the target.
    pub fn admit_by_itself(&self, target: Target) -> Result<Admitted, Refusal> {
        let rules = self.rules.load();
        rules.judge(&target)?;
        let stated = self.stated(&target);
        let (class, judge_kind) = rules.classify(&target);
        let approach = rules.approach_to(&target);
        let has_other_ways = approach.access.is_some()
            || approach.egress.is_some()
            || rules.places_of(&target).is_some()
            || !rules.parents().is_empty();
        Ok(Admitted { target, class, judge_kind, has_other_ways, approach, stated })
    }

    /// Checks the target of a redirect.
    ///
    /// The client's target was checked before, so only scheme, port, address and `deny_hosts`
    /// apply.
    ///
    /// # Errors
    /// The first rule that denies the target; [`Refusal::Downgrade`] unless `digest_expected`.
    pub fn admit_hop(&self, from: &Admitted, to: Target, digest_expected: bool) -> Result<Admitted, Refusal> {
        if from.target.scheme() == Scheme::Https && to.scheme() != Scheme::Https && !digest_expected {
            return Err(Refusal::Downgrade);
        }
        let rules = self.rules.load();
        rules.judge_hop(&to)?;
        // Credentials are dropped when the host changes, even if the new host has credentials of
        // its own: a redirect must not make Millpond use them.
        let approach = rules.approach_to(&to);
        let approach = if to.has_authority_of(&from.target) { approach } else { approach.without_access() };
        Ok(Admitted { target: to, approach, ..from.clone() })
    }

    /// Checks a `CONNECT host:port`, given as the https target of that authority.
    ///
    /// # Errors
    /// The first rule that denies the tunnel.
    pub fn admit_tunnel(&self, target: Target) -> Result<AdmittedTunnel, Refusal> {
        let rules = self.rules.load();
        rules.judge_connect_port(target.port())?;
        rules.judge_host(&target)?;
        rules.judge_address_of(&target)?;
        Ok(AdmittedTunnel { target })
    }

    /// Returns whether a connection to `address` is allowed.
    ///
    /// Call it for every resolved address, and connect only to the address that was checked.
    #[must_use]
    pub fn may_connect_to(&self, address: IpAddr) -> bool {
        self.rules.load().may_connect_to(address)
    }

    /// Checks the head of an origin's response.
    ///
    /// # Errors
    /// [`Refusal::ContentType`] or [`Refusal::TooLarge`].
    pub fn admit_body(&self, content_type: Option<&str>, length: Option<u64>) -> Result<(), Refusal> {
        self.rules.load().admit_body(content_type, length)
    }

    /// Returns the size limit for fetched bodies.
    #[must_use]
    pub fn max_object_size(&self) -> Size {
        self.rules.load().max_object_size()
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}
