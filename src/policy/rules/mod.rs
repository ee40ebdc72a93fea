//! Compiled policy configuration and rules.

mod rule;
mod template;

use std::net::IpAddr;

use percent_encoding::percent_decode_str;

pub use rule::{Class, Rule};

use super::addresses::is_public;
use super::cacheability::class_of;
use super::parents::{CompiledParent, Parent};
use super::{Config, HostPattern, PolicyDenied, RequestOptions, contains};
use crate::model::{FtpFile, Scheme, Size, Target};
use rule::CompiledRule;

/// Maximum number of rules. Each request checks all of them.
const MAX_RULES: usize = 1000;

#[derive(Debug)]
pub struct Rules {
    config: Config,
    allow_hosts: Vec<HostPattern>,
    deny_hosts: Vec<HostPattern>,
    compiled: Vec<CompiledRule>,
    parents: Vec<CompiledParent>,
}

impl Rules {
    pub fn new(config: Config, rules: Vec<Rule>, parents: &[Parent]) -> Result<Self, String> {
        let patterns = |key: &str, list: &[String]| -> Result<Vec<HostPattern>, String> {
            list.iter()
                .map(|text| HostPattern::parse(text).map_err(|why| format!("{key}: {why}")))
                .collect()
        };
        if rules.len() > MAX_RULES {
            return Err(format!("rules: at most {MAX_RULES} are allowed"));
        }
        Ok(Self {
            allow_hosts: patterns("policy.allow_hosts", &config.allow_hosts)?,
            deny_hosts: patterns("policy.deny_hosts", &config.deny_hosts)?,
            compiled: rules
                .into_iter()
                .map(CompiledRule::new)
                .collect::<Result<_, _>>()?,
            parents: CompiledParent::all(parents)?,
            config,
        })
    }

    pub fn admit_client(&self, client: IpAddr) -> Result<(), PolicyDenied> {
        let client = client.to_canonical();
        if contains(&self.config.allow_clients, client) {
            Ok(())
        } else {
            Err(PolicyDenied::Client(client))
        }
    }

    /// Checks everything that applies to a client's target.
    pub fn check(&self, target: &Target) -> Result<(), PolicyDenied> {
        self.check_host(target)?;
        self.check_suffix(target)?;
        self.check_hop(target)
    }

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

    pub fn check_denied_host(&self, host: &str) -> Result<(), PolicyDenied> {
        if self.deny_hosts.iter().any(|pattern| pattern.matches(host)) {
            return Err(PolicyDenied::DeniedHost(host.to_owned()));
        }
        Ok(())
    }

    fn check_suffix(&self, target: &Target) -> Result<(), PolicyDenied> {
        // An origin decodes the path before it opens the file, so an encoded suffix counts as well.
        let path = percent_decode_str(target.path())
            .decode_utf8_lossy()
            .to_ascii_lowercase();
        let ends = |suffix: &&String| path.ends_with(&suffix.to_ascii_lowercase());
        if let Some(suffix) = self.config.deny_suffixes.iter().find(ends) {
            return Err(PolicyDenied::DeniedSuffix(suffix.clone()));
        }
        let allowed = &self.config.allow_suffixes;
        if allowed.is_empty() || allowed.iter().any(|suffix| ends(&suffix)) {
            Ok(())
        } else {
            Err(PolicyDenied::UnlistedSuffix)
        }
    }

    /// Checks everything that applies to every hop: the form of an ftp target, port, `deny_hosts`,
    /// and the address if the host is one.
    pub fn check_hop(&self, target: &Target) -> Result<(), PolicyDenied> {
        if target.scheme() == Scheme::Ftp {
            FtpFile::of(target).map_err(PolicyDenied::FtpFile)?;
        }
        let (scheme, port) = (target.scheme(), target.port());
        if !self
            .config
            .ports
            .iter()
            .any(|allowed| allowed.allows(scheme, port))
        {
            return Err(PolicyDenied::Port(scheme, port));
        }
        self.check_denied_host(target.host())?;
        self.check_address_of(target)
    }

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

    pub fn may_connect_to(&self, address: IpAddr) -> bool {
        is_public(address) || contains(&self.config.allow_networks, address.to_canonical())
    }

    /// Returns the cacheability class, and whether the first bytes are checked against the name.
    pub fn classify(&self, target: &Target) -> (Class, bool) {
        // No rule can make a target with a secret shareable.
        if target.is_signed() || target.has_credentials() {
            return (Class::PassThrough, true);
        }
        let class = self
            .matching(target)
            .find_map(|compiled| compiled.rule.class);
        let check_file_type = self
            .matching(target)
            .find_map(|compiled| compiled.rule.check_file_type);
        (
            class.unwrap_or_else(|| class_of(target)),
            check_file_type.unwrap_or(true),
        )
    }

    fn matching<'a>(&'a self, target: &Target) -> impl Iterator<Item = &'a CompiledRule> {
        self.compiled
            .iter()
            .filter(|compiled| compiled.matches(target))
    }

    /// Returns the canonical alias under which the target is stored, if it differs.
    ///
    /// Aliases are resolved once, never as a chain.
    pub fn canonical_alias(&self, target: &Target) -> Option<Target> {
        if target.is_signed() || target.has_credentials() {
            return None;
        }
        let alias = self
            .matching(target)
            .find(|compiled| compiled.has_alias())?
            .canonical_alias(target);
        (alias != *target && !alias.is_signed()).then_some(alias)
    }

    /// Returns the rule with the alternate sources of a target.
    pub fn alternate_sources(&self, target: &Target) -> Option<&CompiledRule> {
        if target.is_signed() || target.has_credentials() {
            return None;
        }
        self.matching(target)
            .find(|compiled| compiled.has_alternates())
    }

    pub fn parents(&self) -> &[CompiledParent] {
        &self.parents
    }

    /// Returns the request options for a target's host.
    pub fn request_options(&self, target: &Target) -> RequestOptions {
        let (mut options, mut interval) = (RequestOptions::default(), None);
        for compiled in self.matching(target) {
            options.credentials = options.credentials.or_else(|| compiled.credentials.clone());
            options.egress = options.egress.or_else(|| compiled.egress.clone());
            options.per_host = options.per_host.or(compiled.rule.per_host);
            interval = interval.or(compiled.rule.request_interval);
        }
        RequestOptions {
            request_interval: interval.map(|interval| interval.0).unwrap_or_default(),
            ..options
        }
    }

    pub fn admit_body(
        &self,
        content_type: Option<&str>,
        length: Option<u64>,
    ) -> Result<(), PolicyDenied> {
        let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
        let denied = |start: &&String| content_type.starts_with(&start.to_ascii_lowercase());
        if self
            .config
            .deny_content_types
            .iter()
            .any(|start| denied(&start))
        {
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
