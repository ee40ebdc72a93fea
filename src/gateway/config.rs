//! Configuration section `[gateway]`.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{ConfigError, HumanDuration, Secret, check_folder};

/// Bounds of `stall_timeout`. A network may be silent for a moment, and a dead connection must not
/// stay open for days.
const MIN_STALL: Duration = Duration::from_secs(1);
const MAX_STALL: Duration = Duration::from_hours(24);

/// Response to a miss at the gateway port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MissPolicy {
    /// Millpond redirects the clients of `redirect_agents` to the origin, and fetches meanwhile.
    Redirect,
    /// Millpond streams the fetch to the client.
    Relay,
}

/// Configuration section `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the gateway port, `host:port`.
    pub listen: String,
    /// Name of this node in `Via` and `Cache-Status`. Empty: the host name and a random part, which
    /// is stored in `state_dir`.
    pub name: String,
    /// URL of the gateway port as clients use it: `http://sources.example.org`.
    pub public_url: String,
    /// Other names under which clients reach the gateway: `sources.example.net`.
    pub host_names: Vec<String>,
    /// Folder for files of this instance that are never served.
    pub state_dir: PathBuf,
    pub miss: MissPolicy,
    /// Prefixes of the `User-Agent`s that may get a redirect. Every other agent gets the body: a
    /// client that does not follow redirects would save the redirect's empty body as the file.
    pub redirect_agents: Vec<String>,
    /// Networks that may read `/metrics`. Empty: private networks.
    pub metrics_clients: Vec<IpNet>,
    /// Networks of the operator's front servers. Millpond trusts their forwarding header fields.
    pub trusted_proxies: Vec<IpNet>,
    /// Internal path of nginx for the objects folder: `/_objects/`. Empty: Millpond sends stored
    /// files itself.
    pub accel_redirect: String,
    /// Token of an operator. Empty: Millpond generates one at the first start and stores it in
    /// `state_dir`.
    pub admin_token: Secret,
    pub admin_token_file: PathBuf,
    /// Tokens of those who may read lists and incidents.
    pub reader_tokens: Vec<Secret>,
    /// Users that may download, as htpasswd writes them. Empty: no login is needed.
    pub download_users_file: PathBuf,
    /// Time that responses and fetches have to complete after the first stop signal.
    pub shutdown_grace: HumanDuration,
    /// Longest time that a client may read no byte of a response, or send no byte of a request.
    pub stall_timeout: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            name: String::new(),
            public_url: String::new(),
            host_names: Vec::new(),
            state_dir: PathBuf::from("state"),
            miss: MissPolicy::Redirect,
            redirect_agents: ["Wget/", "aria2/", "Axel/", "Homebrew"]
                .map(str::to_owned)
                .to_vec(),
            metrics_clients: Vec::new(),
            trusted_proxies: Vec::new(),
            accel_redirect: String::new(),
            admin_token: Secret::default(),
            admin_token_file: PathBuf::new(),
            reader_tokens: Vec::new(),
            download_users_file: PathBuf::new(),
            shutdown_grace: HumanDuration::from_secs(30),
            stall_timeout: HumanDuration::from_secs(300),
        }
    }
}

impl Config {
    /// Checks the section, except for the token.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_address("gateway.listen", &self.listen)?;
        check_folder("gateway.state_dir", &self.state_dir)?;
        if !(MIN_STALL..=MAX_STALL).contains(&self.stall_timeout.0) {
            let reason = "must be at least 1s and at most 1day";
            return Err(invalid("stall_timeout", reason));
        }
        if !self.name.bytes().all(is_name_byte) {
            let reason = "may only contain letters, digits and - . _";
            return Err(invalid("name", reason));
        }
        if !self.public_url.is_empty() && self.public_authority().is_none() {
            let reason = "must be like \"http://sources.example.org\"";
            return Err(invalid("public_url", reason));
        }
        let is_name = |name: &String| !name.is_empty() && name.bytes().all(is_name_byte);
        if !self.host_names.iter().all(is_name) {
            let reason = "must be names like \"sources.example.net\", without ports";
            return Err(invalid("host_names", reason));
        }
        self.check_accel_redirect()
    }

    fn check_accel_redirect(&self) -> Result<(), ConfigError> {
        let path = self.accel_redirect.as_bytes();
        if path.is_empty() {
            return Ok(());
        }
        let is_path_byte = |byte: &u8| is_name_byte(*byte) || *byte == b'/';
        if !path.starts_with(b"/") || !path.ends_with(b"/") || !path.iter().all(is_path_byte) {
            return Err(invalid("accel_redirect", "must be like \"/_objects/\""));
        }
        if self.trusted_proxies.is_empty() {
            let reason = "needs gateway.trusted_proxies, because only they may see internal paths";
            return Err(invalid("accel_redirect", reason));
        }
        Ok(())
    }

    /// Returns whether the agent is known to follow redirects.
    pub(super) fn follows_redirects(&self, user_agent: &str) -> bool {
        self.redirect_agents
            .iter()
            .any(|prefix| user_agent.starts_with(prefix.as_str()))
    }

    /// Returns `public_url` without a trailing slash, in lower case. `None` if it is empty or
    /// invalid.
    #[must_use]
    pub fn public_base(&self) -> Option<String> {
        let (_, rest) = self.public_url.split_once("://")?;
        let authority = rest.trim_end_matches('/');
        let is_valid = !authority.is_empty() && !authority.contains('/');
        let base = self.public_url.trim_end_matches('/');
        is_valid.then(|| base.to_ascii_lowercase())
    }

    /// Returns `host[:port]` of `public_url`, in lower case. `None` if it is empty or invalid.
    #[must_use]
    pub fn public_authority(&self) -> Option<String> {
        let base = self.public_base()?;
        Some(base.split_once("://")?.1.to_owned())
    }
}

/// Checks that `address` has the form `host:port`.
///
/// # Errors
/// [`ConfigError`] for `key` if it does not.
pub fn check_address(key: &str, address: &str) -> Result<(), ConfigError> {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(ConfigError::new(
            key,
            format!("\"{address}\" is not an address; write it like \"127.0.0.1:8080\""),
        )),
    }
}

/// Returns whether a byte may be in a name or a path. These token bytes (RFC 9110, section 5.6.2)
/// need no escaping in header fields, URLs and file names.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn invalid(key: &str, reason: &str) -> ConfigError {
    ConfigError::new(format!("gateway.{key}"), reason)
}
