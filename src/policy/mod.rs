//! Access policy for clients and targets.
//!
//! Every fetched target is checked here first and becomes an [`Admitted`], which no other module
//! can create. The module checks names and addresses. It resolves no names and opens no
//! connections. Its main type is [`Policy`].

mod addresses;
mod cacheability;
mod checksum_file;
mod config;
mod hosts;
mod index_names;
mod mutability;
mod mutable_words;
mod origin_credentials;
mod parents;
mod ports;
mod request_options;
mod rules;
mod source_list;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;

pub use checksum_file::{ChecksumFileError, ChecksumLineError, ChecksumList};
pub use config::Config;
pub use hosts::HostPattern;
pub use origin_credentials::OriginCredentials;
pub use parents::Parent;
pub use ports::AllowedPort;
pub use request_options::{EgressRoute, RequestOptions, is_proxy_url};
pub use rules::{Class, Rule};
pub use source_list::{Source, SourceKind};

use crate::limits::{Limits, LimitsConfig, OverLimit, TransferKind, TransferPermit};
use crate::model::{FtpFileError, Scheme, Sha256, Size, Target};
use checksum_file::ChecksumFile;
use rules::Rules;

/// Error returned when policy denies a request. The text names the configuration key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyDenied {
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
    #[error(
        "a redirect from https to another scheme is only followed if the request has an expected digest"
    )]
    Downgrade,
    #[error("unsupported ftp URL: {0}")]
    FtpFile(FtpFileError),
}

/// Target that policy allows, with the settings that apply to it. Only this module creates one.
#[derive(Debug, Clone)]
pub struct Admitted {
    target: Target,
    class: Class,
    check_file_type: bool,
    needs_server_side_fetch: bool,
    request_options: RequestOptions,
    required_sha256: Option<Sha256>,
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
    pub fn required_sha256(&self) -> Option<Sha256> {
        self.required_sha256
    }

    /// Returns whether the first bytes are checked against the file type of the name.
    #[must_use]
    pub fn checks_file_type(&self) -> bool {
        self.check_file_type
    }

    /// Returns whether Millpond can reach the bytes in ways that a client cannot: credentials, an
    /// egress proxy, mirrors, archives or parents.
    #[must_use]
    pub fn needs_server_side_fetch(&self) -> bool {
        self.needs_server_side_fetch
    }

    /// Returns the request options for the target's host. They apply to this hop only.
    #[must_use]
    pub fn request_options(&self) -> &RequestOptions {
        &self.request_options
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
    checksums: ArcSwap<ChecksumList>,
    checksum_file: Mutex<ChecksumFile>,
}

impl Policy {
    /// Compiles and checks the configuration.
    ///
    /// # Errors
    /// A text with the configuration key whose value is invalid.
    pub fn new(
        config: Config,
        rules: Vec<Rule>,
        parents: &[Parent],
        limits: LimitsConfig,
    ) -> Result<Self, String> {
        limits.check()?;
        let (checksum_file, checksums) = ChecksumFile::read(&config.checksums_file)?;
        Ok(Self {
            rules: ArcSwap::from_pointee(Rules::new(config, rules, parents)?),
            checksums: ArcSwap::from_pointee(checksums),
            checksum_file: Mutex::new(checksum_file),
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
        let (checksum_file, checksums) = ChecksumFile::read(&config.checksums_file)?;
        self.rules
            .store(Arc::new(Rules::new(config, rules, parents)?));
        *self
            .checksum_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = checksum_file;
        self.checksums.store(Arc::new(checksums));
        self.limits
            .store(Arc::new(self.limits.load().with_config(limits)));
        Ok(())
    }

    /// Reloads the checksum file if it has changed. An invalid file is logged once and not used.
    pub fn reload_checksum_file_if_changed(&self) {
        let mut file = self
            .checksum_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match file.read_if_changed() {
            None => {}
            Some(Ok(checksums)) => {
                let count = checksums.len();
                self.checksums.store(Arc::new(checksums));
                tracing::info!(count, "reloaded policy.checksums_file");
            }
            Some(Err(error)) => {
                tracing::error!(
                    error,
                    "reload of policy.checksums_file failed; keeping the old checksums"
                );
            }
        }
    }

    /// Returns the target under which `target` is stored.
    #[must_use]
    pub fn cache_target(&self, target: &Target) -> Target {
        self.rules
            .load()
            .canonical_alias(target)
            .unwrap_or_else(|| target.clone())
    }

    /// Returns the SHA-256 that the checksum file requires of exactly this target.
    #[must_use]
    pub fn required_sha256(&self, target: &Target) -> Option<Sha256> {
        self.checksums.load().get(target)
    }

    /// Checks a client's address.
    ///
    /// # Errors
    /// [`PolicyDenied::Client`] for an address outside `allow_clients`.
    pub fn admit_client(&self, client: IpAddr) -> Result<Client, PolicyDenied> {
        self.rules.load().admit_client(client)?;
        Ok(Client { address: client })
    }

    /// Counts a request of a client, and checks the limit for the transfer that it starts.
    ///
    /// # Errors
    /// The limit that the client has exceeded.
    pub fn count_request(&self, client: Client, kind: TransferKind) -> Result<(), OverLimit> {
        self.limits.load().count_request(client.address(), kind)
    }

    /// Counts a transfer of a client until the [`TransferPermit`] is dropped.
    ///
    /// # Errors
    /// The limit that the client has exceeded.
    pub fn acquire_transfer_permit(
        &self,
        client: Client,
        kind: TransferKind,
    ) -> Result<TransferPermit, OverLimit> {
        self.limits
            .load()
            .acquire_transfer_permit(client.address(), kind)
    }

    /// Returns whether bandwidth is limited, so that Millpond must send every body itself.
    #[must_use]
    pub fn limits_bandwidth(&self) -> bool {
        self.limits.load().bandwidth.is_limited()
    }

    /// Removes the state of idle clients. Call it periodically to free memory.
    pub fn prune_idle_clients(&self) {
        self.limits.load().prune_idle();
    }

    /// Checks a client's target as far as possible before its host is resolved.
    ///
    /// If a rule stores it under a canonical alias, the alias is checked too and admitted instead.
    ///
    /// # Errors
    /// The first rule that denies the target.
    pub fn admit(&self, target: Target) -> Result<Admitted, PolicyDenied> {
        let admitted = self.admit_unaliased(target)?;
        let Some(alias) = self.rules.load().canonical_alias(&admitted.target) else {
            return Ok(admitted);
        };
        let alias = self.admit_unaliased(alias)?;
        // A digest required of the client's URL takes precedence over one required of the alias.
        Ok(Admitted {
            required_sha256: admitted.required_sha256.or(alias.required_sha256),
            ..alias
        })
    }

    /// Checks a target as [`Policy::admit`], but ignores canonical aliases.
    ///
    /// A request with the client's own credentials must go to exactly that host.
    ///
    /// # Errors
    /// The first rule that denies the target.
    pub fn admit_unaliased(&self, target: Target) -> Result<Admitted, PolicyDenied> {
        let rules = self.rules.load();
        rules.check(&target)?;
        let required_sha256 = self.required_sha256(&target);
        let (class, check_file_type) = rules.classify(&target);
        let options = rules.request_options(&target);
        let needs_server_side_fetch = options.credentials.is_some()
            || options.egress.is_some()
            || rules.alternate_sources(&target).is_some()
            || !rules.parents().is_empty();
        Ok(Admitted {
            target,
            class,
            check_file_type,
            needs_server_side_fetch,
            request_options: options,
            required_sha256,
        })
    }

    /// Checks the target of a redirect.
    ///
    /// The client's target was checked before, so only scheme, port, address and `deny_hosts`
    /// apply.
    ///
    /// # Errors
    /// The first rule that denies the target; [`PolicyDenied::Downgrade`] unless `digest_expected`.
    pub fn admit_hop(
        &self,
        from: &Admitted,
        to: Target,
        digest_expected: bool,
    ) -> Result<Admitted, PolicyDenied> {
        if from.target.scheme() == Scheme::Https && to.scheme() != Scheme::Https && !digest_expected
        {
            return Err(PolicyDenied::Downgrade);
        }
        let rules = self.rules.load();
        rules.check_hop(&to)?;
        // Credentials are dropped when the host changes, even if the new host has credentials of
        // its own: a redirect must not make Millpond use them.
        let options = rules.request_options(&to);
        let options = if to.has_same_authority(&from.target) {
            options
        } else {
            options.without_credentials()
        };
        Ok(Admitted {
            target: to,
            request_options: options,
            ..from.clone()
        })
    }

    /// Checks a `CONNECT host:port`, given as the https target of that authority.
    ///
    /// # Errors
    /// The first rule that denies the tunnel.
    pub fn admit_tunnel(&self, target: Target) -> Result<AdmittedTunnel, PolicyDenied> {
        let rules = self.rules.load();
        rules.check_connect_port(target.port())?;
        rules.check_host(&target)?;
        rules.check_address_of(&target)?;
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
    /// [`PolicyDenied::ContentType`] or [`PolicyDenied::TooLarge`].
    pub fn admit_body(
        &self,
        content_type: Option<&str>,
        length: Option<u64>,
    ) -> Result<(), PolicyDenied> {
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
