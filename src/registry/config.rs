//! Configuration tables `[registries."host"]`.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::credential::CredentialConfig;
use crate::model::{HumanDuration, Secret};

/// The registries, by the names that clients know them by, such as `registry.example.org`.
pub type Config = BTreeMap<String, RegistryConfig>;

/// Configuration table `[registries."host"]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// URL of the registry. Empty: `https://` and the name of the table.
    pub endpoint: String,
    /// Further names, in `?ns=` and at the beginning of a path.
    pub aliases: Vec<String>,
    /// Whether this registry has the requests that name none.
    pub default: bool,
    /// Whether repositories of one component belong to `library/`, as at the registry that docker
    /// asks by default.
    pub library: bool,
    /// Time for which the digest of a tag is used without asking the registry.
    pub tag_ttl: HumanDuration,
    pub on_deleted: DeletedTag,
    /// Patterns of repositories that clients may ask for. Empty: all.
    pub allow: Vec<String>,
    /// Patterns of repositories that clients may not ask for. Takes precedence.
    pub deny: Vec<String>,
    /// Age from which a new tag, or a change of a tag, is taken.
    pub min_age: HumanDuration,
    /// Credentials for what the registry does not give without. They are tried in order.
    pub credentials: Vec<CredentialConfig>,
    /// Client networks that may have what needed credentials.
    pub allow_private: Vec<IpNet>,
    /// Proxy for the requests of this registry, `http://host:port`, or `none` to bypass the default
    /// proxy.
    pub egress_proxy: Secret,
}

/// Response to a request for a known tag that the registry no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletedTag {
    /// The last known manifest.
    Serve,
    /// 404, as at the registry.
    Follow,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            aliases: Vec::new(),
            default: false,
            library: false,
            tag_ttl: HumanDuration::from_secs(300),
            on_deleted: DeletedTag::Serve,
            allow: Vec::new(),
            deny: Vec::new(),
            min_age: HumanDuration::from_secs(0),
            credentials: Vec::new(),
            allow_private: Vec::new(),
            egress_proxy: Secret::default(),
        }
    }
}
