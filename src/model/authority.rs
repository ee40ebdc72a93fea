//! Authority of a target: login, host and port.

use std::net::IpAddr;

use url::{Host, Url};

use super::scheme::Scheme;
use super::target_error::TargetError;

/// DNS names are at most 253 bytes and their labels at most 63 (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// Anonymous ftp user.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Authority, split before the URL library parses it. The library silently repairs authorities that
/// must be rejected.
pub struct Authority<'a> {
    userinfo: &'a str,
    host: &'a str,
    port: &'a str,
}

impl<'a> Authority<'a> {
    /// Splits `[userinfo@]host[:port]`. One trailing dot of the host and an anonymous login are
    /// dropped.
    pub fn split(authority: &'a str, scheme: Scheme) -> Result<Self, TargetError> {
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some(_) if scheme != Scheme::Ftp => return Err(TargetError::Userinfo),
            Some((userinfo, _)) if userinfo.contains('@') => return Err(TargetError::Userinfo),
            // An anonymous login gets the public files. Some clients always send it.
            Some((userinfo, rest)) if userinfo.split(':').next() == Some(ANONYMOUS) => ("", rest),
            Some(split) => split,
            None => ("", authority),
        };
        let host_end = match host_and_port.strip_prefix('[') {
            Some(rest) => rest.find(']').map(|at| at + 2).ok_or(TargetError::Host)?,
            None => host_and_port.find(':').unwrap_or(host_and_port.len()),
        };
        let (host, port) = host_and_port.split_at(host_end);
        let port = match port.strip_prefix(':') {
            Some(port) => port,
            None if port.is_empty() => port,
            None => return Err(TargetError::Port),
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit())
            || port == "0"
            || port.len() > 5
            || port.starts_with('0')
        {
            return Err(TargetError::Port);
        }
        if !port.is_empty() && port.parse::<u16>().is_err() {
            return Err(TargetError::Port);
        }
        let host = match host.strip_suffix('.') {
            Some(address) if address.parse::<IpAddr>().is_ok() => {
                return Err(TargetError::OddAddress);
            }
            Some(name) => name,
            None => host,
        };
        if host.is_empty() || host.contains('%') || host.contains(' ') {
            return Err(TargetError::Host);
        }
        Ok(Self {
            userinfo,
            host,
            port,
        })
    }

    /// Returns the URL of this authority, for the URL library.
    pub fn join(&self, scheme: Scheme, path_and_query: &str) -> String {
        let lengths = [self.userinfo, self.host, self.port, path_and_query].map(str::len);
        let mut uri = String::with_capacity("https://@:".len() + lengths.iter().sum::<usize>());
        uri.push_str(scheme.as_str());
        uri.push_str("://");
        if !self.userinfo.is_empty() {
            uri.push_str(self.userinfo);
            uri.push('@');
        }
        uri.push_str(self.host);
        if !self.port.is_empty() {
            uri.push(':');
            uri.push_str(self.port);
        }
        // The library trims trailing spaces instead of encoding them.
        for (index, part) in path_and_query.split(' ').enumerate() {
            if index > 0 {
                uri.push_str("%20");
            }
            uri.push_str(part);
        }
        uri
    }

    /// Compares the host that the library parsed with the host as written.
    pub fn check_host(&self, url: &Url) -> Result<(), TargetError> {
        match url.host() {
            Some(Host::Domain(name)) => {
                let is_plain =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                let are_labels_valid = name
                    .split('.')
                    .all(|label| (1..=MAX_LABEL_BYTES).contains(&label.len()));
                if name.len() <= MAX_HOST_BYTES && are_labels_valid && name.bytes().all(is_plain) {
                    Ok(())
                } else {
                    Err(TargetError::Host)
                }
            }
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {
                let canonical = url.host_str().unwrap_or_default();
                if self.host.eq_ignore_ascii_case(canonical) {
                    Ok(())
                } else {
                    Err(TargetError::OddAddress)
                }
            }
            None => Err(TargetError::Host),
        }
    }
}
