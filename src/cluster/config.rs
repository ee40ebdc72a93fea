//! Configuration section `[cluster]`. The main type is [`Config`].

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{ConfigError, Scheme, Secret, Target};
use crate::shared_index::RedisUrl;

/// Maximum number of peers. Each one is asked for its state every few seconds.
const MAX_PEERS: usize = 32;

/// Shortest secret, in bytes. A shorter one can be found by trying.
const MIN_SECRET_BYTES: usize = 16;

/// Configuration section `[cluster]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base URLs of the gateway ports of the other nodes: `"http://10.0.0.12:8080"`.
    pub peers: Vec<String>,
    /// Secret that all nodes share.
    pub secret: Secret,
    /// File with the secret.
    pub secret_file: PathBuf,
    /// Base URL of this node, as in the `peers` of the others. Empty: not stated.
    pub advertise: String,
    /// URL of a Redis server in which the nodes find each other. Empty: none.
    pub redis_url: Secret,
    /// File with this URL.
    pub redis_url_file: PathBuf,
}

/// Validated section.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Base URLs without a trailing slash. The own address is left out.
    pub peers: Vec<Target>,
    pub secret: Secret,
    pub advertise: Option<Target>,
    /// The Redis server, and the address of this node in it.
    pub redis: Option<RedisUrl>,
}

impl Config {
    /// Returns the checked settings, or `None` if this node belongs to no cluster.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn settings(&self) -> Result<Option<ClusterSettings>, ConfigError> {
        if self.peers.len() > MAX_PEERS {
            return Err(invalid(
                "peers",
                &format!("at most {MAX_PEERS} are allowed"),
            ));
        }
        let advertise = match self.advertise.as_str() {
            "" => None,
            url => Some(base_url("advertise", url)?),
        };
        let mut peers: Vec<Target> = Vec::new();
        for url in &self.peers {
            let peer = base_url("peers", url)?;
            if advertise.as_ref() != Some(&peer) && !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        let secret = self
            .secret
            .or_from_file("cluster.secret", &self.secret_file)?;
        let redis = self.redis(advertise.as_ref())?;
        if secret.is_empty() {
            return match (self.peers.is_empty(), &advertise) {
                (true, None) => Ok(None),
                (true, Some(_)) => Err(invalid("secret", &"must be set, since advertise is")),
                (false, _) => Err(invalid("secret", &"must be set, since peers are")),
            };
        }
        if secret.expose().len() < MIN_SECRET_BYTES {
            let reason = format!("must have at least {MIN_SECRET_BYTES} bytes");
            return Err(invalid("secret", &reason));
        }
        Ok(Some(ClusterSettings {
            peers,
            secret,
            advertise,
            redis,
        }))
    }

    fn redis(&self, advertise: Option<&Target>) -> Result<Option<RedisUrl>, ConfigError> {
        let key = "cluster.redis_url";
        let url = self.redis_url.or_from_file(key, &self.redis_url_file)?;
        if url.is_empty() {
            return Ok(None);
        }
        let url = RedisUrl::parse(key, &url)?;
        match advertise {
            Some(_) => Ok(Some(url)),
            None => Err(invalid("advertise", &"must be set, since redis_url is")),
        }
    }

    /// Returns the peers that are stated by their address.
    pub fn peer_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let targets = self.peers.iter().filter_map(|url| Target::parse(url).ok());
        targets.filter_map(|target| target.address())
    }
}

/// Parses the base URL of a node, without its trailing slash.
///
/// # Errors
/// [`ConfigError`] for the key `key`.
pub fn base_url(key: &str, url: &str) -> Result<Target, ConfigError> {
    let is_plain = !url.contains(['?', '#', '@']);
    let target = Target::parse(url.trim_end_matches('/')).ok();
    let target = target.filter(|target| {
        let owner = Scheme::from_default_port(target.port());
        let is_web = target.scheme() != Scheme::Ftp && is_plain;
        is_web && owner.is_none_or(|owner| owner == target.scheme())
    });
    target.ok_or_else(|| invalid(key, &"must be like \"http://10.0.0.12:8080\""))
}

fn invalid(key: &str, reason: &dyn Display) -> ConfigError {
    ConfigError::new(format!("cluster.{key}"), reason)
}
