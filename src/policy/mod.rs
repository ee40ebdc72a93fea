//! Who may ask for what, and what may be fetched for them.
//!
//! Everything that is fetched passes here first and leaves as an [`Admitted`], which no other room can make. This room
//! judges names and addresses; it resolves nothing and opens nothing. Its main type is [`Policy`].

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

/// Why something is not allowed. The text names the configuration key, so that an operator can find it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("clients at {0} are not served here (policy.allow_clients)")]
    Client(IpAddr),
    #[error("the host {0} is denied (policy.deny_hosts)")]
    DeniedHost(String),
    #[error("the host {0} is not among those allowed (policy.allow_hosts)")]
    UnlistedHost(String),
    #[error("names that end in {0} are denied (policy.deny_suffixes)")]
    DeniedSuffix(String),
    #[error("only certain name endings are allowed (policy.allow_suffixes)")]
    UnlistedSuffix,
    #[error("port {1} is not allowed for {0} (policy.ports)")]
    Port(Scheme, u16),
    #[error("tunnels to port {0} are not allowed (policy.connect_ports)")]
    ConnectPort(u16),
    #[error("the address of {0} is private or reserved (policy.allow_networks)")]
    Address(String),
    #[error("no body of type {0} is fetched (policy.deny_content_types)")]
    ContentType(String),
    #[error("the body is larger than policy.max_object_size, {0}")]
    TooLarge(Size),
    #[error("a redirect from https to anything else is only followed where a digest is expected")]
    Downgrade,
    #[error("this is not fetched over ftp: {0}")]
    FtpFile(FtpFileError),
}

/// A target that policy lets through, and how it is to be treated. Only this room makes one.
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

    /// What the operator's file says that the bytes must be.
    #[must_use]
    pub fn stated(&self) -> Option<Sha256> {
        self.stated
    }

    /// Whether the first bytes are held against what the name promises.
    #[must_use]
    pub fn judges_kind(&self) -> bool {
        self.judge_kind
    }

    /// Whether we have ways to its bytes that a client does not have.
    #[must_use]
    pub fn has_other_ways(&self) -> bool {
        self.has_other_ways
    }

    /// How the host of the target is approached. It is for this very hop.
    #[must_use]
    pub fn approach(&self) -> &Approach {
        &self.approach
    }
}

/// A host and port that a tunnel may go to. Only this room makes one.
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

/// A client that is served. Only this room makes one.
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

/// The rules in force. They can be exchanged while requests run: each request sees one set or the other.
#[derive(Debug)]
pub struct Policy {
    rules: ArcSwap<Rules>,
    limits: ArcSwap<Limits>,
    pins: ArcSwap<Pins>,
    pins_file: Mutex<PinsFile>,
}

impl Policy {
    /// # Errors
    /// A line that names the key, where a list holds something that is no host pattern.
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

    /// Puts another configuration in force.
    ///
    /// # Errors
    /// As [`Policy::new`]; the old rules stay.
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

    /// Reads the operator's file of digests again if it has changed. A bad one changes nothing, and is told once.
    pub fn reread_changed_pins(&self) {
        let mut file = self.pins_file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.read_if_changed() {
            None => {}
            Some(Ok(pins)) => {
                let count = pins.len();
                self.pins.store(Arc::new(pins));
                tracing::info!(count, "policy.pins_file was read again");
            }
            Some(Err(error)) => {
                tracing::error!(error, "policy.pins_file was not read again; the old one stays in force");
            }
        }
    }

    /// The name under which a target is kept.
    #[must_use]
    pub fn kept_as(&self, target: &Target) -> Target {
        self.rules.load().joined(target).unwrap_or_else(|| target.clone())
    }

    /// What the operator's file says of a target by this name.
    #[must_use]
    pub fn stated(&self, target: &Target) -> Option<Sha256> {
        self.pins.load().of(target)
    }

    /// # Errors
    /// [`Refusal::Client`] for an address outside `allow_clients`.
    pub fn admit_client(&self, client: IpAddr) -> Result<Client, Refusal> {
        self.rules.load().admit_client(client)?;
        Ok(Client { address: client })
    }

    /// Counts a request of a client, and says whether there is room for what it is about to open.
    ///
    /// # Errors
    /// The limit that the client is over.
    pub fn count_request(&self, client: Client, what: Use) -> Result<(), OverLimit> {
        self.limits.load().count_request(client, what)
    }

    /// Counts what a client opens, for as long as the [`Transfer`] lives.
    ///
    /// # Errors
    /// The limit that the client is over.
    pub fn begin(&self, client: Client, what: Use) -> Result<Transfer, OverLimit> {
        self.limits.load().begin(client, what)
    }

    /// Whether bytes are counted, so that they have to go through us.
    #[must_use]
    pub fn limits_bandwidth(&self) -> bool {
        self.limits.load().bandwidth.is_limited()
    }

    /// Forgets clients about whom there is nothing to remember any more. To be called now and again: what is known of a
    /// client costs memory.
    pub fn forget_rested_clients(&self) {
        self.limits.load().forget_rested();
    }

    /// Judges what a client asks for: everything that can be known before its host is resolved. Where a rule keeps it under
    /// another name that one is admitted, and is judged as well.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn admit(&self, target: Target) -> Result<Admitted, Refusal> {
        let admitted = self.admit_by_itself(target)?;
        let Some(joined) = self.rules.load().joined(&admitted.target) else { return Ok(admitted) };
        let joined = self.admit_by_itself(joined)?;
        // What is stated of the spelling that the client uses is nearer than what is stated of the name that it is kept under.
        Ok(Admitted { stated: admitted.stated.or(joined.stated), ..joined })
    }

    /// As [`Policy::admit`], under its own name whatever the rules say: what a client brings with it is for that host alone.
    ///
    /// # Errors
    /// The first rule that forbids it.
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

    /// Judges where a redirect leads. The client's target has been judged already, so only scheme, port, address and
    /// `deny_hosts` count here.
    ///
    /// # Errors
    /// The first rule that forbids it; [`Refusal::Downgrade`] unless `digest_expected`.
    pub fn admit_hop(&self, from: &Admitted, to: Target, digest_expected: bool) -> Result<Admitted, Refusal> {
        if from.target.scheme() == Scheme::Https && to.scheme() != Scheme::Https && !digest_expected {
            return Err(Refusal::Downgrade);
        }
        let rules = self.rules.load();
        rules.judge_hop(&to)?;
        // What lets us in goes to nobody else, even if he has a rule of his own: a client could not ask him in this name.
        let approach = rules.approach_to(&to);
        let approach = if to.has_authority_of(&from.target) { approach } else { approach.without_access() };
        Ok(Admitted { target: to, approach, ..from.clone() })
    }

    /// Judges a `CONNECT host:port`, given as the https target of that authority.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn admit_tunnel(&self, target: Target) -> Result<AdmittedTunnel, Refusal> {
        let rules = self.rules.load();
        rules.judge_connect_port(target.port())?;
        rules.judge_host(&target)?;
        rules.judge_address_of(&target)?;
        Ok(AdmittedTunnel { target })
    }

    /// Whether a connection may be opened to an address. To be asked for every address that a name resolves to, and of
    /// the very address that is then connected to.
    #[must_use]
    pub fn may_connect_to(&self, address: IpAddr) -> bool {
        self.rules.load().may_connect_to(address)
    }

    /// Judges the head of an origin's answer.
    ///
    /// # Errors
    /// [`Refusal::ContentType`] or [`Refusal::TooLarge`].
    pub fn admit_body(&self, content_type: Option<&str>, length: Option<u64>) -> Result<(), Refusal> {
        self.rules.load().admit_body(content_type, length)
    }

    /// The largest body that is fetched.
    #[must_use]
    pub fn max_object_size(&self) -> Size {
        self.rules.load().max_object_size()
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}
