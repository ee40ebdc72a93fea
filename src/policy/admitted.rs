//! Targets, tunnels and clients that policy has allowed. Their fields are private to the policy
//! module, so no other module can create one.

use std::net::IpAddr;

use super::cacheability::Class;
use super::request_options::RequestOptions;
use crate::model::{Sha256, Target};

/// Target that policy allows, with the settings that apply to it.
///
/// Only the policy module creates one.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub(super) target: Target,
    pub(super) class: Class,
    pub(super) check_file_type: bool,
    pub(super) needs_server_side_fetch: bool,
    pub(super) request_options: RequestOptions,
    pub(super) required_sha256: Option<Sha256>,
}

impl Admitted {
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the cacheability class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns the SHA-256 that the operator's checksum file requires.
    #[must_use]
    pub fn required_sha256(&self) -> Option<Sha256> {
        self.required_sha256
    }

    /// Returns whether the first bytes are checked against the file type of the name.
    #[must_use]
    pub fn checks_file_type(&self) -> bool {
        self.check_file_type
    }

    /// Returns whether the last segment of the path promises a file, and no page.
    #[must_use]
    pub fn promises_file(&self) -> bool {
        const PAGES: [&str; 8] = ["html", "htm", "php", "cgi", "pl", "lua", "asp", "jsp"];
        let name = self.target.path().rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').is_some_and(|(stem, suffix)| {
            let suffix = suffix.to_ascii_lowercase();
            !stem.is_empty() && !suffix.is_empty() && !PAGES.contains(&suffix.as_str())
        })
    }

    /// Returns whether Millpond can reach the bytes in ways that a client cannot: credentials, an
    /// egress proxy, mirrors, archives or parents.
    #[must_use]
    pub fn needs_server_side_fetch(&self) -> bool {
        self.needs_server_side_fetch
    }

    /// Returns the request options for the target's host. They apply to this hop only.
    #[must_use]
    pub fn request_options(&self) -> &RequestOptions {
        &self.request_options
    }
}

/// Host and port that a tunnel may connect to. Only the policy module creates one.
#[derive(Debug, Clone)]
pub struct AdmittedTunnel {
    pub(super) target: Target,
}

impl AdmittedTunnel {
    #[must_use]
    pub fn host(&self) -> &str {
        self.target.host()
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.target.port()
    }

    /// Returns the IP address, if the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.target.address()
    }
}

/// Admitted client. Only the policy module creates one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    pub(super) address: IpAddr,
}

impl Client {
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }
}
