//! The section `[proxy]` of the configuration.

use serde::{Deserialize, Serialize};

use crate::gateway::check_address;
use crate::model::HumanDuration;

/// The section `[proxy]`: the proxy port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// `host:port`. If empty, there is no proxy port.
    pub listen: String,
    /// Whether every connection must begin with a PROXY header, of version 1 or 2.
    pub proxy_protocol: bool,
    /// How long a tunnel stays open without bytes in either direction.
    pub tunnel_idle_timeout: HumanDuration,
}

impl ProxyConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// A line that names the key with the invalid value.
    pub fn check(&self) -> Result<(), String> {
        if self.tunnel_idle_timeout.0.is_zero() {
            return Err("proxy.tunnel_idle_timeout must be greater than zero".to_owned());
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
        }
    }
}
