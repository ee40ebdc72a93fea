//! The configuration in the form in which it is applied.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::addresses::is_public;
use super::classes::class_of;
use super::{Config, HostPattern, Refusal, contains};
use crate::model::{FtpFile, Scheme, Size, Target};

/// How long the bytes of a target stay what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Once fetched and checked, the target means those bytes until an operator says otherwise.
    Frozen,
    /// Streamed to whoever asks, and not stored.
    Passed,
}

/// One `[[rules]]`: what it names is decided before the built-in table. The first that fits counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A host as in `allow_hosts`; empty: every host.
    #[serde(default)]
    pub host: String,
    /// The beginning of the path; empty: every path.
    #[serde(default)]
    pub path_prefix: String,
    /// The end of the path; empty: every path.
    #[serde(default)]
    pub path_suffix: String,
    pub class: Class,
    /// Whether the first bytes are held against what the name promises.
    #[serde(default = "yes")]
    pub judge_kind: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug)]
struct CompiledRule {
    host: Option<HostPattern>,
    rule: Rule,
}

impl CompiledRule {
    fn fits(&self, target: &Target) -> bool {
        self.host.as_ref().is_none_or(|host| host.matches(target.host()))
            && target.path().starts_with(&self.rule.path_prefix)
            && target.path().ends_with(&self.rule.path_suffix)
    }
}

#[derive(Debug)]
pub struct Rules {
    config: Config,
    allow_hosts: Vec<HostPattern>,
    deny_hosts: Vec<HostPattern>,
    compiled: Vec<CompiledRule>,
}

impl Rules {
    pub fn new(config: Config, rules: Vec<Rule>) -> Result<Self, String> {
        let patterns = |key: &str, list: &[String]| -> Result<Vec<HostPattern>, String> {
            list.iter().map(|text| HostPattern::parse(text).map_err(|why| format!("{key}: {why}"))).collect()
        };
        let compile = |rule: Rule| -> Result<CompiledRule, String> {
            let host = match rule.host.as_str() {
                "" => None,
                text => Some(HostPattern::parse(text).map_err(|why| format!("rules.host: {why}"))?),
            };
            Ok(CompiledRule { host, rule })
        };
        Ok(Self {
            allow_hosts: patterns("policy.allow_hosts", &config.allow_hosts)?,
            deny_hosts: patterns("policy.deny_hosts", &config.deny_hosts)?,
            compiled: rules.into_iter().map(compile).collect::<Result<_, _>>()?,
            config,
        })
    }

    pub fn admit_client(&self, client: IpAddr) -> Result<(), Refusal> {
        let client = client.to_canonical();
        if contains(&self.config.allow_clients, client) { Ok(()) } else { Err(Refusal::Client(client)) }
    }

    pub fn judge_host(&self, target: &Target) -> Result<(), Refusal> {
        let host = target.host();
        self.judge_denied_host(host)?;
        if self.allow_hosts.is_empty() || self.allow_hosts.iter().any(|pattern| pattern.matches(host)) {
            Ok(())
        } else {
            Err(Refusal::UnlistedHost(host.to_owned()))
        }
    }

    fn judge_denied_host(&self, host: &str) -> Result<(), Refusal> {
        if self.deny_hosts.iter().any(|pattern| pattern.matches(host)) {
            return Err(Refusal::DeniedHost(host.to_owned()));
        }
        Ok(())
    }

    pub fn judge_suffix(&self, target: &Target) -> Result<(), Refusal> {
        // An origin decodes before it looks for the file, so an encoded ending is the same ending.
        let path = percent_decode_str(target.path()).decode_utf8_lossy().to_ascii_lowercase();
        let ends = |suffix: &&String| path.ends_with(&suffix.to_ascii_lowercase());
        if let Some(suffix) = self.config.deny_suffixes.iter().find(ends) {
            return Err(Refusal::DeniedSuffix(suffix.clone()));
        }
        let allowed = &self.config.allow_suffixes;
        if allowed.is_empty() || allowed.iter().any(|suffix| ends(&suffix)) {
            Ok(())
        } else {
            Err(Refusal::UnlistedSuffix)
        }
    }

    /// What every hop must satisfy: what its scheme can fetch, port, `deny_hosts`, and the address where the host is one.
    pub fn judge_hop(&self, target: &Target) -> Result<(), Refusal> {
        if target.scheme() == Scheme::Ftp {
            FtpFile::of(target).map_err(Refusal::FtpFile)?;
        }
        if !self.config.ports.contains(&target.port()) {
            return Err(Refusal::Port(target.port()));
        }
        self.judge_denied_host(target.host())?;
        self.judge_address_of(target)
    }

    pub fn judge_connect_port(&self, port: u16) -> Result<(), Refusal> {
        if self.config.connect_ports.contains(&port) { Ok(()) } else { Err(Refusal::ConnectPort(port)) }
    }

    /// A host that is an address meets no resolver, so it is judged by itself.
    pub fn judge_address_of(&self, target: &Target) -> Result<(), Refusal> {
        match target.address() {
            Some(address) if !self.may_connect_to(address) => Err(Refusal::Address(target.host().to_owned())),
            _ => Ok(()),
        }
    }

    pub fn may_connect_to(&self, address: IpAddr) -> bool {
        is_public(address) || contains(&self.config.allow_networks, address.to_canonical())
    }

    pub fn classify(&self, target: &Target) -> (Class, bool) {
        let builtin = class_of(target);
        match self.compiled.iter().find(|rule| rule.fits(target)) {
            // No rule makes a secret into something shared.
            Some(_) if target.is_signed() || target.has_credentials() => (Class::Passed, true),
            Some(compiled) => (compiled.rule.class, compiled.rule.judge_kind),
            None => (builtin, true),
        }
    }

    pub fn admit_body(&self, content_type: Option<&str>, length: Option<u64>) -> Result<(), Refusal> {
        let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
        let denied = |start: &&String| content_type.starts_with(&start.to_ascii_lowercase());
        if self.config.deny_content_types.iter().any(|start| denied(&start)) {
            return Err(Refusal::ContentType(content_type));
        }
        if length.is_some_and(|length| length > self.config.max_object_size.bytes) {
            return Err(Refusal::TooLarge(self.config.max_object_size));
        }
        Ok(())
    }

    pub fn max_object_size(&self) -> Size {
        self.config.max_object_size
    }
}
