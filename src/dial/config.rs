//! Configuration section `[dial]`. It knows no policy. The main type is [`Config`].

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::model::ConfigError;

/// Port of a name server that is given without one.
const DNS_PORT: u16 = 53;

/// Maximum number of configured name servers. A lookup asks each of them in turn.
const MAX_NAMESERVERS: usize = 8;

/// Configuration section `[dial]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub resolver: ResolverKind,
    /// Name servers in place of those of the system, `address` or `address:port`.
    pub nameservers: Vec<String>,
}

/// Implementation of name lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResolverKind {
    /// Millpond sends DNS queries itself. It reads `/etc/hosts` and `/etc/resolv.conf`.
    #[default]
    Builtin,
    /// `getaddrinfo` of the system, with the sources of `nsswitch.conf`.
    System,
}

impl Config {
    /// Checks the section.
    ///
    /// # Errors
    /// As [`Config::nameservers`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.nameservers().map(drop)
    }

    /// Returns the addresses of the configured name servers.
    ///
    /// # Errors
    /// [`ConfigError`] if one is not an address, if there are too many, or if `system` is to use
    /// them.
    pub fn nameservers(&self) -> Result<Vec<SocketAddr>, ConfigError> {
        let invalid = |reason: &str| ConfigError::new("dial.nameservers", reason);
        if self.nameservers.len() > MAX_NAMESERVERS {
            let reason = format!("must be at most {MAX_NAMESERVERS}");
            return Err(invalid(&reason));
        }
        if self.resolver == ResolverKind::System && !self.nameservers.is_empty() {
            return Err(invalid("needs dial.resolver = \"builtin\""));
        }
        let parse = |text: &String| {
            let address = text.parse::<IpAddr>();
            address
                .map(|address| SocketAddr::new(address, DNS_PORT))
                .or_else(|_| text.parse())
                .map_err(|_| invalid("must be addresses, like \"192.0.2.1\" or \"192.0.2.1:53\""))
        };
        self.nameservers.iter().map(parse).collect()
    }
}
