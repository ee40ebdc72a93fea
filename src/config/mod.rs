//! Configuration from a file, the environment and flags, in this order.
//!
//! Each module owns its section. This module combines the sections and reports an error as one
//! line. Its main type is [`Config`].

mod error;
mod examine;
mod layers;
mod mistakes;

use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use error::ConfigLoadError;
pub use examine::{Setting, SettingSource, examine, examine_text};

use crate::model::ConfigError;
use crate::{
    admin, bucket, cache, cluster, dial, dns, fetch, gateway, http, indexes, intercept, limits,
    notify, policy, registry, users,
};

/// Configuration section `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// Format of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Lowest level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: LogLevel::Info,
        }
    }
}

/// Complete configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub gateway: gateway::Config,
    pub proxy: http::ProxyConfig,
    pub intercept: intercept::Config,
    pub cache: cache::Config,
    pub s3: bucket::Config,
    pub fetch: fetch::Config,
    pub dial: dial::Config,
    pub policy: policy::Config,
    pub limits: limits::LimitsConfig,
    pub notify: notify::Config,
    pub dns: dns::Config,
    pub cluster: cluster::Config,
    pub mirror: indexes::Config,
    pub log: LogConfig,
    #[serde(skip_serializing_if = "registry::Config::is_empty")]
    pub registries: registry::Config,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<policy::Rule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<policy::Parent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<gateway::HostMapping>,
}

impl Config {
    /// Returns the environment variables of this process. Variables that are not UTF-8 are ignored,
    /// because no configuration variable is.
    pub fn environment() -> impl Iterator<Item = (String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    }

    /// Reads `file`, then applies the variables of `environment`, then `settings`, each
    /// `section.key=value`.
    ///
    /// # Errors
    /// [`ConfigLoadError`] with the key, and the line number of the file if known.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        settings: &[String],
    ) -> Result<Self, ConfigLoadError> {
        let mut table = match file {
            Some(path) => layers::read_file(path)?,
            None => toml::Table::new(),
        };
        for overlay in layers::variables(environment) {
            layers::apply(&mut table, &overlay)?;
        }
        for flag in settings {
            layers::apply(&mut table, &layers::parse_flag(flag)?)?;
        }
        Self::from_table(table)
    }

    /// Converts the combined layers, adds the rules of `policy.rules_files`, and checks all.
    fn from_table(table: toml::Table) -> Result<Self, ConfigLoadError> {
        let mut config: Self = serde_path_to_error::deserialize(table)
            .map_err(|error| ConfigError::new(error.path().to_string(), error.inner().message()))?;
        config
            .rules
            .extend(layers::read_rules(&config.policy.rules_files)?);
        // Policy decides about targets, so it gets the hosts of this key.
        config
            .policy
            .upgrade_hosts
            .clone_from(&config.proxy.upgrade_hosts);
        let peers = config.cluster.peer_addresses();
        config.limits.peers = peers.map(IpNet::from).collect();
        config.check()?;
        Ok(config)
    }

    /// Returns the base URLs of `[[hosts]]`.
    ///
    /// # Errors
    /// [`ConfigError`] if an entry is invalid.
    pub fn host_table(&self) -> Result<gateway::HostTable, ConfigError> {
        gateway::HostTable::new(&self.hosts, &self.gateway)
    }

    /// Returns the container registries.
    ///
    /// # Errors
    /// [`ConfigError`] if a table is invalid.
    pub fn registry_table(&self) -> Result<registry::RegistryTable, ConfigError> {
        registry::RegistryTable::new(&self.registries)
    }

    /// Returns the policy of the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] if a value is invalid.
    pub fn build_policy(&self) -> Result<policy::Policy, ConfigError> {
        policy::Policy::new(
            self.policy.clone(),
            self.rules.clone(),
            &self.parents,
            self.limits.clone(),
        )
    }

    /// Checks all sections, and the keys that depend on each other.
    fn check(&self) -> Result<(), ConfigError> {
        self.gateway.check()?;
        admin::check_tokens(&self.gateway)?;
        users::DownloadUsers::load(&self.gateway.download_users_file)?;
        self.proxy.check()?;
        self.check_intercept()?;
        self.cache.check()?;
        self.s3.check()?;
        self.fetch.check()?;
        self.dial.check()?;
        self.notify.check()?;
        self.dns.check()?;
        self.cluster.settings()?;
        self.host_table()?;
        self.mirror.upstreams()?;
        self.registry_table()?;
        self.build_policy()?;
        if self.proxy.proxy_protocol && self.gateway.trusted_proxies.is_empty() {
            let reason =
                "needs gateway.trusted_proxies, because only they may send the PROXY header";
            return Err(ConfigError::new("proxy.proxy_protocol", reason));
        }
        Ok(())
    }

    fn check_intercept(&self) -> Result<(), ConfigError> {
        let (cache_dir, state_dir) = (&self.cache.dir, &self.gateway.state_dir);
        self.intercept.check(cache_dir, state_dir)?;
        if !self.intercept.hosts.is_empty() && self.proxy.listen.is_empty() {
            let reason = "needs proxy.listen, because clients send CONNECT to the proxy port";
            return Err(ConfigError::new("intercept.hosts", reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_file_shows_every_default() {
        let text = include_str!("../../config/millpond.toml");
        assert_eq!(toml::from_str::<Config>(text).unwrap(), Config::default());
        let keys = |table: &toml::Table| -> Vec<String> {
            let section = |(name, value): (&String, &toml::Value)| -> Vec<String> {
                value
                    .as_table()
                    .into_iter()
                    .flatten()
                    .map(|(key, _)| format!("{name}.{key}"))
                    .collect()
            };
            table.iter().flat_map(section).collect()
        };
        let shown: toml::Table = text.parse().unwrap();
        assert_eq!(
            keys(&shown),
            keys(&toml::Table::try_from(Config::default()).unwrap())
        );
    }
}
