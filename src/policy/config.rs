//! Configuration section `[policy]`.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ports::AllowedPort;
use crate::model::Size;

/// Configuration section `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Networks whose clients are served.
    pub allow_clients: Vec<IpNet>,
    /// Hosts that clients may request: `example.org` exactly, `.example.org` with its subdomains.
    /// Empty: all.
    pub allow_hosts: Vec<String>,
    /// Hosts that are never fetched from, redirects included. Takes precedence over `allow_hosts`.
    pub deny_hosts: Vec<String>,
    /// File suffixes that clients may request. Empty: all.
    pub allow_suffixes: Vec<String>,
    /// File suffixes that clients may not request.
    pub deny_suffixes: Vec<String>,
    /// Prefixes of media types that are not fetched.
    pub deny_content_types: Vec<String>,
    /// Private networks that may be fetched from.
    pub allow_networks: Vec<IpNet>,
    /// Ports that may be fetched from, each by its own schemes.
    pub ports: Vec<AllowedPort>,
    /// Ports that tunnels may go to.
    pub connect_ports: Vec<u16>,
    /// Largest body that is fetched.
    pub max_object_size: Size,
    /// Files with more `[[rules]]`, which are appended to the rules of the configuration.
    pub rules_files: Vec<PathBuf>,
    /// Digests of files that are neither stored nor served, such as `sha256:<hex>`.
    pub deny_digests: Vec<String>,
    /// Checksum file with required digests of targets, in the format of `sha256sum`. Empty: none.
    pub checksums_file: PathBuf,
    /// Hosts whose http targets are fetched and stored as https. The key is `proxy.upgrade_hosts`.
    #[serde(skip)]
    pub upgrade_hosts: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let owned = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        let networks = [
            "127.0.0.0/8",
            "::1/128",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "fc00::/7",
        ];
        Self {
            allow_clients: networks
                .iter()
                .map(|net| net.parse().expect("the defaults are networks"))
                .collect(),
            allow_hosts: Vec::new(),
            deny_hosts: Vec::new(),
            allow_suffixes: Vec::new(),
            deny_suffixes: owned(&[
                ".mp3", ".mp4", ".mkv", ".avi", ".flv", ".mov", ".wav", ".m4a", ".webm", ".wmv",
                ".flac", ".ogg",
            ]),
            deny_content_types: owned(&["audio/", "video/"]),
            allow_networks: Vec::new(),
            ports: [80, 443, 21].map(AllowedPort::Number).to_vec(),
            connect_ports: vec![443],
            max_object_size: Size::gib(20),
            rules_files: Vec::new(),
            deny_digests: Vec::new(),
            checksums_file: PathBuf::new(),
            upgrade_hosts: Vec::new(),
        }
    }
}
