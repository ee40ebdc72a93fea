use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{HumanDuration, Secret};

/// Bounds of `stall_timeout`: a network may be silent for a moment, and a connection must not be
/// held for ever.
const MIN_STALL: Duration = Duration::from_secs(1);
const MAX_STALL: Duration = Duration::from_hours(24);

/// What a miss at the rewrite door is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MissPolicy {
    /// A client in `redirect_agents` is sent to the origin while the fetch runs.
    Redirect,
    /// The client reads along.
    Relay,
}

/// `[gateway]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: String,
    /// In `Via` and `Cache-Status`. Empty: host name and a random part that is kept in `state_dir`.
    pub name: String,
    /// How clients reach the gateway: `http://sources.example.org`.
    pub public_url: String,
    /// What belongs to this instance and is never served.
    pub state_dir: PathBuf,
    pub miss: MissPolicy,
    /// Prefixes of the `User-Agent`s that may get a redirect. Every other agent gets the body: a
    /// client that does not follow redirects takes the empty body of one for the file.
    pub redirect_agents: Vec<String>,
    /// Networks of our own front servers, whose word about the client is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Under which path our own nginx finds the objects folder, to send stored files by itself:
    /// `/_objects/`. Empty: it does not.
    pub accel_redirect: String,
    /// What an operator has to show. Empty: it is made at the first start, and kept in `state_dir`.
    pub admin_token: Secret,
    pub admin_token_file: PathBuf,
    /// How long answers and fetches may go on after the first signal.
    pub shutdown_grace: HumanDuration,
    /// How long a client may take none of the bytes that are sent to it, or send none of a body
    /// that it has begun.
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
    /// # Errors
    /// A line that names the key whose value cannot work.
    pub fn check(&self) -> Result<(), String> {
        check_address("gateway.listen", &self.listen)?;
        if !(MIN_STALL..=MAX_STALL).contains(&self.stall_timeout.0) {
            return Err("gateway.stall_timeout must be at least 1s and at most 1day".to_owned());
        }
        if !self.name.bytes().all(is_token_byte) {
            return Err("gateway.name may hold only letters, digits and - . _".to_owned());
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
                    "gateway.accel_redirect needs gateway.trusted_proxies: nobody else is told our paths".to_owned()
                );
            }
        }
        Ok(())
    }

    /// Whether the agent is known to follow redirects.
    pub(super) fn follows_redirects(&self, user_agent: &str) -> bool {
        self.redirect_agents
            .iter()
            .any(|prefix| user_agent.starts_with(prefix.as_str()))
    }

    /// `host[:port]` of `public_url`.
    #[must_use]
    pub fn public_authority(&self) -> Option<String> {
        let (_, rest) = self.public_url.split_once("://")?;
        let authority = rest.trim_end_matches('/');
        (!authority.is_empty() && !authority.contains('/')).then(|| authority.to_ascii_lowercase())
    }
}

/// # Errors
/// A line that names `key`, if `address` is not `host:port`.
pub fn check_address(key: &str, address: &str) -> Result<(), String> {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!(
            "{key}: \"{address}\" is no address; write it like \"127.0.0.1:8080\""
        )),
    }
}

/// Of the bytes of a token (RFC 9110, section 5.6.2), those that need no thought anywhere.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}
