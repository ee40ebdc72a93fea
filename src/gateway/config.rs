//! Configuration of the gateway endpoint and of the operator service.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{HumanDuration, Secret};

/// Bounds of `stall_timeout`. A network may be silent for a moment, and a stalled connection must
/// end at some time.
const MIN_STALL: Duration = Duration::from_secs(1);
const MAX_STALL: Duration = Duration::from_hours(24);

/// Response to a miss at the gateway endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MissPolicy {
    /// A client in `redirect_agents` is redirected to the origin while the fetch runs.
    Redirect,
    /// The client gets the body while the fetch runs.
    Relay,
}

/// Configuration section `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address as `host:port`.
    pub listen: String,
    /// Name in `Via` and `Cache-Status`. If empty, it is the host name with a random part that is
    /// stored in `state_dir`.
    pub name: String,
    /// URL under which clients reach the gateway, such as `http://sources.example.org`.
    pub public_url: String,
    /// Folder for files of this instance that are never served.
    pub state_dir: PathBuf,
    pub miss: MissPolicy,
    /// Prefixes of the `User-Agent`s that may get a redirect. A client that does not follow
    /// redirects would store the empty body of one as the file.
    pub redirect_agents: Vec<String>,
    /// Networks of trusted reverse proxies, which state the address of their client.
    pub trusted_proxies: Vec<IpNet>,
    /// Internal URI prefix under which nginx serves the objects folder, such as `/_objects/`. If
    /// empty, Millpond sends all files itself.
    pub accel_redirect: String,
    /// Operator token. If empty, it is created at the first start and stored in `state_dir`.
    pub admin_token: Secret,
    pub admin_token_file: PathBuf,
    /// How long responses and fetches may continue after the first stop signal.
    pub shutdown_grace: HumanDuration,
    /// How long a client may read no bytes of a response, or send no bytes of a request body.
    pub stall_timeout: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            name: String::new(),
            public_url: String::new(),
            state_dir: PathBuf::from("state"),
            miss: MissPolicy::Redirect,
            redirect_agents: ["Wget/", "aria2/", "Axel/", "Homebrew"]
                .map(str::to_owned)
                .to_vec(),
            trusted_proxies: Vec::new(),
            accel_redirect: String::new(),
            admin_token: Secret::default(),
            admin_token_file: PathBuf::new(),
            shutdown_grace: HumanDuration::from_secs(30),
            stall_timeout: HumanDuration::from_secs(300),
        }
    }
}

impl Config {
    /// Checks the section.
    ///
    /// # Errors
    /// A text with the configuration key whose value is invalid.
    pub fn check(&self) -> Result<(), String> {
        check_address("gateway.listen", &self.listen)?;
        if !(MIN_STALL..=MAX_STALL).contains(&self.stall_timeout.0) {
            return Err("gateway.stall_timeout must be at least 1s and at most 1day".to_owned());
        }
        if !self.name.bytes().all(is_token_byte) {
            return Err("gateway.name may contain only letters, digits and - . _".to_owned());
        }
        if !self.public_url.is_empty() && self.public_authority().is_none() {
            return Err(
                "gateway.public_url must be like \"http://sources.example.org\"".to_owned(),
            );
        }
        let accel = self.accel_redirect.as_bytes();
        if !accel.is_empty() {
            let is_path = |byte: &u8| is_token_byte(*byte) || *byte == b'/';
            if !accel.starts_with(b"/") || !accel.ends_with(b"/") || !accel.iter().all(is_path) {
                return Err("gateway.accel_redirect must be like \"/_objects/\"".to_owned());
            }
            if self.trusted_proxies.is_empty() {
                return Err(
                    "gateway.accel_redirect needs gateway.trusted_proxies: only these may see \
                     internal paths"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Returns whether the agent is known to follow redirects.
    pub(super) fn follows_redirects(&self, user_agent: &str) -> bool {
        self.redirect_agents
            .iter()
            .any(|prefix| user_agent.starts_with(prefix.as_str()))
    }

    /// Returns `host[:port]` of `public_url`, or `None` if that is not a URL without a path.
    #[must_use]
    pub fn public_authority(&self) -> Option<String> {
        let (_, rest) = self.public_url.split_once("://")?;
        let authority = rest.trim_end_matches('/');
        (!authority.is_empty() && !authority.contains('/')).then(|| authority.to_ascii_lowercase())
    }
}

/// Checks an address to listen on.
///
/// # Errors
/// A text with the configuration key `key` if `address` is not `host:port`.
pub fn check_address(key: &str, address: &str) -> Result<(), String> {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!(
            "{key}: \"{address}\" is not an address; use the form \"127.0.0.1:8080\""
        )),
    }
}

/// Returns whether a byte is a safe part of a header token (RFC 9110, section 5.6.2), a path and a
/// file name.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}
