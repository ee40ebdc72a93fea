//! Compiled policy configuration and rules.

mod effective;
mod matching_rule;
mod pattern;
mod rule;
mod template;

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

pub use matching_rule::MatchingRule;
pub use pattern::matches_wildcards;
pub use rule::Rule;

use super::addresses::{
    is_in_networks, is_listed_alone, is_metadata, is_own_address, is_public, reached_address,
};
use super::config::Config;
use super::denied::PolicyDenied;
use super::denied_digests::DeniedDigests;
use super::hosts::HostPattern;
use super::parents::{CompiledParent, Parent};
use super::ports::belongs_to_ftp;
use crate::model::{ConfigError, FtpFile, Scheme, Size, Target};
use effective::EffectiveRule;
use rule::CompiledRule;

/// Maximum number of rules. Each request scans all of them.
const MAX_RULES: usize = 1000;

/// Default port of http.
const HTTP_PORT: u16 = 80;

/// Policy configuration, rules and parents in a form that is fast to check.
#[derive(Debug)]
pub struct Rules {
    config: Config,
    allow_hosts: Vec<HostPattern>,
    deny_hosts: Vec<HostPattern>,
    upgrade_hosts: Vec<HostPattern>,
    compiled: Vec<CompiledRule>,
    parents: Vec<CompiledParent>,
    denied_digests: DeniedDigests,
}

/// Checks that neither a tunnel nor a parent leads to a port of ftp.
fn check_ftp_ports(config: &Config, parents: &[CompiledParent]) -> Result<(), ConfigError> {
    let tunnels = config.connect_ports.iter();
    let tunnels = tunnels.map(|port| ("policy.connect_ports", *port));
    let parents = parents.iter().map(|parent| ("parents.url", parent.port()));
    for (key, port) in tunnels.chain(parents) {
        if belongs_to_ftp(port, &config.ports) {
            let reason = format!("port {port} belongs to ftp, and no http may go there");
            return Err(ConfigError::new(key, reason));
        }
    }
    Ok(())
}

impl Rules {
    /// Compiles and checks the configuration.
    pub fn new(config: Config, rules: Vec<Rule>, parents: &[Parent]) -> Result<Self, ConfigError> {
        let patterns = |key: &str, list: &[String]| -> Result<Vec<HostPattern>, ConfigError> {
            list.iter()
                .map(|text| HostPattern::parse(text).map_err(|error| ConfigError::new(key, error)))
                .collect()
        };
        if rules.len() > MAX_RULES {
            let reason = format!("at most {MAX_RULES} are allowed");
            return Err(ConfigError::new("rules", reason));
        }
        let parents = CompiledParent::compile_all(parents)?;
        check_ftp_ports(&config, &parents)?;
        Ok(Self {
            allow_hosts: patterns("policy.allow_hosts", &config.allow_hosts)?,
            deny_hosts: patterns("policy.deny_hosts", &config.deny_hosts)?,
            upgrade_hosts: patterns("proxy.upgrade_hosts", &config.upgrade_hosts)?,
            compiled: rules
                .into_iter()
                .map(CompiledRule::new)
                .collect::<Result<_, _>>()?,
            parents,
            denied_digests: DeniedDigests::parse(&config.deny_digests)?,
            config,
        })
    }

    /// Returns the digests of `policy.deny_digests`.
    pub fn denied_digests(&self) -> &DeniedDigests {
        &self.denied_digests
    }

    /// Checks a client's address against `allow_clients`.
    pub fn admit_client(&self, client: IpAddr) -> Result<(), PolicyDenied> {
        let client = client.to_canonical();
        if is_in_networks(client, &self.config.allow_clients) {
            Ok(())
        } else {
            Err(PolicyDenied::Client(client))
        }
    }

    /// Checks everything that applies to a client's target.
    pub fn check(&self, target: &Target) -> Result<(), PolicyDenied> {
        if target.is_private() {
            return Err(PolicyDenied::PrivateTarget);
        }
        self.check_host(target)?;
        self.check_suffix(target)?;
        self.check_hop(target)
    }

    /// Returns the https target of an http target at one of `proxy.upgrade_hosts`. Another port
    /// than 80 says nothing about the port for https.
    pub fn upgrade(&self, target: &Target) -> Option<Target> {
        let is_plain = target.scheme() == Scheme::Http && target.port() == HTTP_PORT;
        let mut hosts = self.upgrade_hosts.iter();
        if !is_plain || !hosts.any(|pattern| pattern.matches(target.host())) {
            return None;
        }
        let (_, rest) = target.as_str().split_once(':')?;
        Target::parse(&format!("{}:{rest}", Scheme::Https)).ok()
    }

    /// Returns the http target that [`Rules::upgrade`] turns into `target`, if there is one.
    pub fn former(&self, target: &Target) -> Option<Target> {
        let (_, rest) = target.as_str().split_once(':')?;
        let former = Target::parse(&format!("{}:{rest}", Scheme::Http)).ok()?;
        (self.upgrade(&former).as_ref() == Some(target)).then_some(former)
    }

    /// Checks a host against `deny_hosts` and `allow_hosts`.
    pub fn check_host(&self, target: &Target) -> Result<(), PolicyDenied> {
        let host = target.host();
        self.check_denied_host(host)?;
        if self.allow_hosts.is_empty()
            || self.allow_hosts.iter().any(|pattern| pattern.matches(host))
        {
            Ok(())
        } else {
            Err(PolicyDenied::UnlistedHost(host.to_owned()))
        }
    }

    /// Checks a host against `deny_hosts`.
    pub fn check_denied_host(&self, host: &str) -> Result<(), PolicyDenied> {
        if self.deny_hosts.iter().any(|pattern| pattern.matches(host)) {
            return Err(PolicyDenied::DeniedHost(host.to_owned()));
        }
        Ok(())
    }

    fn check_suffix(&self, target: &Target) -> Result<(), PolicyDenied> {
        // An origin decodes the path before it opens the file, so an encoded suffix counts as well.
        let path: Cow<'_, [u8]> = percent_decode_str(target.path()).into();
        let has_suffix = |suffix: &String| {
            path.len()
                .checked_sub(suffix.len())
                .is_some_and(|start| path[start..].eq_ignore_ascii_case(suffix.as_bytes()))
        };
        let denied = &self.config.deny_suffixes;
        if let Some(suffix) = denied.iter().find(|suffix| has_suffix(suffix)) {
            return Err(PolicyDenied::DeniedSuffix(suffix.clone()));
        }
        let allowed = &self.config.allow_suffixes;
        if allowed.is_empty() || allowed.iter().any(has_suffix) {
            Ok(())
        } else {
            Err(PolicyDenied::UnlistedSuffix)
        }
    }

    /// Checks everything that applies to every hop: the form of an ftp target, port, `deny_hosts`,
    /// and the address if the host is one.
    pub fn check_hop(&self, target: &Target) -> Result<(), PolicyDenied> {
        if target.scheme() == Scheme::Ftp {
            FtpFile::from_target(target).map_err(PolicyDenied::FtpFile)?;
        }
        let (scheme, port) = (target.scheme(), target.port());
        if !self.allows_port(scheme, port) {
            return Err(PolicyDenied::Port(scheme, port));
        }
        self.check_denied_host(target.host())?;
        self.check_address_of(target)
    }

    /// Returns whether `policy.ports` allows a port for a scheme.
    pub fn allows_port(&self, scheme: Scheme, port: u16) -> bool {
        let mut ports = self.config.ports.iter();
        ports.any(|allowed| allowed.allows(scheme, port))
    }

    /// Checks the port of a tunnel.
    pub fn check_connect_port(&self, port: u16) -> Result<(), PolicyDenied> {
        if self.config.connect_ports.contains(&port) {
            Ok(())
        } else {
            Err(PolicyDenied::ConnectPort(port))
        }
    }

    /// Checks a host that is an IP address, because no resolver sees it.
    pub fn check_address_of(&self, target: &Target) -> Result<(), PolicyDenied> {
        match target.address() {
            Some(address) if !self.may_connect_to(address) => {
                Err(PolicyDenied::Address(target.host().to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether an address is in an allowed private network, or public and not of this
    /// machine. A metadata address hands out credentials, so it must be allowed by itself.
    pub fn may_connect_to(&self, address: IpAddr) -> bool {
        let (plain, networks) = (address.to_canonical(), &self.config.allow_networks);
        if is_metadata(address) {
            return is_listed_alone(plain, networks);
        }
        is_in_networks(plain, networks)
            || is_public(address) && !is_own_address(reached_address(address))
    }

    /// Returns the settings that apply to a target. The rules are scanned once.
    pub fn effective<'a>(&'a self, target: &'a Target) -> EffectiveRule<'a> {
        EffectiveRule::new(&self.compiled, target)
    }

    /// Returns the rules that match one of the targets, in order.
    pub fn matching(&self, targets: &[&Target]) -> Vec<MatchingRule> {
        (1..)
            .zip(&self.compiled)
            .filter(|(_, rule)| targets.iter().any(|target| rule.matches(target)))
            .map(|(number, rule)| MatchingRule {
                number,
                conditions: rule.conditions(),
                settings: rule.settings(),
            })
            .collect()
    }

    pub fn parents(&self) -> &[CompiledParent] {
        &self.parents
    }

    /// Checks the head of a response: its media type and its length in bytes.
    pub fn admit_body(
        &self,
        content_type: Option<&str>,
        length: Option<u64>,
    ) -> Result<(), PolicyDenied> {
        let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
        let has_prefix = |prefix: &String| content_type.starts_with(&prefix.to_ascii_lowercase());
        if self.config.deny_content_types.iter().any(has_prefix) {
            return Err(PolicyDenied::ContentType(content_type));
        }
        if length.is_some_and(|length| length > self.config.max_object_size.bytes) {
            return Err(PolicyDenied::TooLarge(self.config.max_object_size));
        }
        Ok(())
    }

    pub fn max_object_size(&self) -> Size {
        self.config.max_object_size
    }
}
