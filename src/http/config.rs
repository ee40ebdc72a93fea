//! Configuration section `[proxy]`.

use serde::{Deserialize, Serialize};

use crate::gateway::check_address;
use crate::model::{ConfigError, HumanDuration};

/// Configuration section `[proxy]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// Address of the proxy port, `host:port`. Empty: no proxy port.
    pub listen: String,
    /// Whether every connection begins with a PROXY protocol header, version 1 or 2.
    pub proxy_protocol: bool,
    /// Longest time that a tunnel may be silent in both directions.
    pub tunnel_idle_timeout: HumanDuration,
    /// Hosts whose http targets are fetched and stored as https, in the form of
    /// `policy.allow_hosts`.
    pub upgrade_hosts: Vec<String>,
}

impl ProxyConfig {
    /// Checks the section.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.tunnel_idle_timeout.0.is_zero() {
            let reason = "must be greater than zero";
            return Err(ConfigError::new("proxy.tunnel_idle_timeout", reason));
        }
        if self.listen.is_empty() {
            Ok(())
        } else {
            check_address("proxy.listen", &self.listen)
        }
    }
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:3128".to_owned(),
            proxy_protocol: false,
            tunnel_idle_timeout: HumanDuration::from_secs(600),
            upgrade_hosts: Vec::new(),
        }
    }
}
