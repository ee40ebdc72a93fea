//! Configuration section `[intercept]`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{ConfigError, Target};

/// Key of the hosts.
pub const HOSTS_KEY: &str = "intercept.hosts";

/// Key of the folder.
pub const FOLDER_KEY: &str = "intercept.ca_dir";

/// Folder of the certificate authority in the state folder, if `ca_dir` is empty.
const DEFAULT_FOLDER: &str = "ca";

/// Largest number of hosts. Each is a part of the certificate, which clients read in every
/// handshake.
const MAX_HOSTS: usize = 200;

/// Configuration section `[intercept]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Hosts whose TLS Millpond ends. Empty: none.
    pub hosts: Vec<String>,
    /// Folder of the certificate authority. Several machines may share it. Empty: `ca` in
    /// `gateway.state_dir`.
    pub ca_dir: PathBuf,
}

impl Config {
    /// Checks the section. `cache_dir` is the folder whose files are served and uploaded.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn check(&self, cache_dir: &Path) -> Result<(), ConfigError> {
        if self.hosts.len() > MAX_HOSTS {
            let reason = format!("at most {MAX_HOSTS} are allowed");
            return Err(ConfigError::new(HOSTS_KEY, reason));
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_host_name(host)) {
            let reason = format!(
                "\"{host}\" is no host name; write one like \"files.example.org\", without a \
                 scheme, a port, an address or a wildcard"
            );
            return Err(ConfigError::new(HOSTS_KEY, reason));
        }
        if !self.ca_dir.as_os_str().is_empty() && self.ca_dir.starts_with(cache_dir) {
            let reason = "must not be in cache.dir, because files there are served and uploaded";
            return Err(ConfigError::new(FOLDER_KEY, reason));
        }
        Ok(())
    }

    /// Returns the folder of the certificate authority.
    #[must_use]
    pub fn folder(&self, state_dir: &Path) -> PathBuf {
        if self.ca_dir.as_os_str().is_empty() {
            state_dir.join(DEFAULT_FOLDER)
        } else {
            self.ca_dir.clone()
        }
    }

    /// Returns the hosts in the form of a target, sorted, each of them once.
    #[must_use]
    pub fn host_names(&self) -> BTreeSet<String> {
        let hosts = self.hosts.iter();
        hosts.map(|host| host.to_ascii_lowercase()).collect()
    }
}

/// Whether a text is the name of one host, in the form of a certificate (RFC 5280, section
/// 4.2.1.6).
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() <= 63 && label.bytes().all(is_plain)
    };
    let is_last_a_number = || {
        let last = text.rsplit('.').next().unwrap_or_default();
        last.bytes().all(|byte| byte.is_ascii_digit())
    };
    if text.len() > 253 || !text.split('.').all(is_label) || is_last_a_number() {
        return false;
    }
    Target::parse(&format!("https://{text}/"))
        .is_ok_and(|target| target.host() == text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_hosts(hosts: &[&str]) -> Config {
        Config {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            ca_dir: PathBuf::new(),
        }
    }

    #[test]
    fn only_names_of_single_hosts_are_valid() {
        for host in [
            "files.example.org",
            "Files.Example.ORG",
            "localhost",
            "a_b.x",
        ] {
            let checked = with_hosts(&[host]).check(Path::new("cache"));
            assert_eq!(checked, Ok(()), "{host}");
        }
        for host in [
            "",
            ".example.org",
            "*.example.org",
            "example.org.",
            "example..org",
            "example.org:443",
            "https://example.org",
            "192.0.2.1",
            "0x7f.1",
            "::1",
            "[::1]",
            "a b",
            "b\u{fc}cher.example",
        ] {
            let error = with_hosts(&["x.example", host]).check(Path::new("cache"));
            let error = error.expect_err(host);
            assert_eq!(error.key, HOSTS_KEY, "{host}");
        }
    }

    #[test]
    fn folder_is_outside_of_the_cache() {
        let within = |ca_dir: &str| Config {
            hosts: Vec::new(),
            ca_dir: PathBuf::from(ca_dir),
        };
        let cache = Path::new("/srv/cache");
        assert!(within("/srv/cache/ca").check(cache).is_err());
        assert!(within("/srv/cache").check(cache).is_err());
        assert_eq!(within("/srv/cached/ca").check(cache), Ok(()));
        assert_eq!(within("").folder(Path::new("s")), Path::new("s/ca"));
    }
}
