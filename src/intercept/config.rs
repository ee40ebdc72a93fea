//! Configuration section `[intercept]`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use rustls::pki_types::DnsName;
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
    pub fn check(&self, cache_dir: &Path, state_dir: &Path) -> Result<(), ConfigError> {
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
        let is_used = !self.hosts.is_empty() || !self.ca_dir.as_os_str().is_empty();
        if is_used && resolved(&self.folder(state_dir)).starts_with(resolved(cache_dir)) {
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

/// Returns the absolute path of a folder without links. Its last parts need not exist.
fn resolved(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = absolute.ancestors().find_map(|ancestor| {
        let real = ancestor.canonicalize().ok()?;
        let rest = absolute.strip_prefix(ancestor).ok()?;
        Some((real, rest))
    });
    let Some((mut path, rest)) = found else {
        return absolute;
    };
    for part in rest.components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

/// Whether a text is the name of one host, in the form of a certificate (RFC 5280, section
/// 4.2.1.6). A name beyond ASCII has the form `xn--`.
fn is_host_name(text: &str) -> bool {
    // A server name that TLS rejects could never be asked for.
    if text.ends_with('.') || DnsName::try_from(text).is_err() {
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
            let checked = with_hosts(&[host]).check(Path::new("cache"), Path::new("state"));
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
            "-a.example.org",
            "192.0.2.1",
            "0x7f.1",
            "::1",
            "[::1]",
            "a b",
            "b\u{fc}cher.example",
        ] {
            let config = with_hosts(&["x.example", host]);
            let error = config.check(Path::new("cache"), Path::new("state"));
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
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let (cache, state) = (path("cache"), path("state"));
        std::fs::create_dir_all(path("cache/made")).unwrap();
        std::os::unix::fs::symlink(&cache, path("link")).unwrap();
        let check = |ca_dir: &str| {
            let ca_dir = path(ca_dir);
            within(ca_dir.to_str().unwrap()).check(&cache, &state)
        };
        for folder in [
            "cache",
            "cache/ca",
            "cache/made/ca",
            "link/ca",
            "state/../cache/ca",
        ] {
            assert!(check(folder).is_err(), "{folder}");
        }
        for folder in ["cached/ca", "cache/../ca", "state/ca"] {
            assert_eq!(check(folder), Ok(()), "{folder}");
        }
        assert_eq!(within("").folder(Path::new("s")), Path::new("s/ca"));
        // The folder of the state is that of the authority, unless another one is named.
        assert_eq!(within("").check(&cache, &path("cache/state")), Ok(()));
        let listed = with_hosts(&["files.example.org"]);
        assert!(listed.check(&cache, &path("cache/state")).is_err());
        assert_eq!(listed.check(&cache, &state), Ok(()));
    }
}
