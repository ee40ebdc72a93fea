use serde::{Deserialize, Serialize};

use crate::gateway::check_address;
use crate::model::HumanDuration;

/// `[proxy]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// Empty: no proxy port.
    pub listen: String,
    /// Every connection begins with a PROXY header, of version 1 or 2.
    pub proxy_protocol: bool,
    /// How long a tunnel may be silent in both directions.
    pub tunnel_idle_timeout: HumanDuration,
}

impl ProxyConfig {
    /// # Errors
    /// A line that names the key whose value cannot work.
    pub fn check(&self) -> Result<(), String> {
        if self.tunnel_idle_timeout.0.is_zero() {
            return Err("proxy.tunnel_idle_timeout must be more than nothing".to_owned());
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
