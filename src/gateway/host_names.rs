//! Names of the gateway that stand for a base URL of an origin (`[[hosts]]`), for clients that know
//! no path prefix.
//!
//! The main type is [`HostTable`]. It reads no request.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::model::{ConfigError, Target, TargetError};

/// Longest name of a host (RFC 1035, section 2.3.4).
const MAX_NAME_BYTES: usize = 253;

/// One entry of `[[hosts]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HostMapping {
    /// Name in `Host`, without a port.
    pub name: String,
    /// URL that the path and query of a request are appended to.
    pub upstream: String,
}

/// Base URLs by the names of `[[hosts]]`.
#[derive(Debug, Clone, Default)]
pub struct HostTable {
    /// Canonical base URLs without a trailing slash, by names in lower case.
    bases: HashMap<String, String>,
}

impl HostTable {
    /// Checks the entries. `gateway` has the names that are no one else's.
    ///
    /// # Errors
    /// [`ConfigError`] with the reason for each invalid entry.
    pub fn new(mappings: &[HostMapping], gateway: &Config) -> Result<Self, ConfigError> {
        let mut table = Self::default();
        let mut reasons = Vec::new();
        for (index, mapping) in mappings.iter().enumerate() {
            if let Err(reason) = table.add(mapping, gateway) {
                reasons.push(format!(
                    "entry {} (\"{}\") {reason}",
                    index + 1,
                    mapping.name
                ));
            }
        }
        if reasons.is_empty() {
            Ok(table)
        } else {
            Err(ConfigError::new("hosts", reasons.join("; ")))
        }
    }

    fn add(&mut self, mapping: &HostMapping, gateway: &Config) -> Result<(), &'static str> {
        let name = host_name(&mapping.name).to_ascii_lowercase();
        if !is_name(&mapping.name) {
            return Err("must have a name like \"npm.sources.example.org\", without a port");
        }
        let public = gateway.public_authority();
        let own = public.iter().chain(&gateway.host_names);
        let is_own = |own: &String| host_name(own).eq_ignore_ascii_case(&name);
        if name == "localhost" || own.into_iter().any(is_own) {
            return Err("has a name of the gateway itself");
        }
        let base = base_url(&mapping.upstream)
            .ok_or("must have an upstream like \"https://registry.example.org/base\"")?;
        match self.bases.insert(name, base) {
            None => Ok(()),
            Some(_) => Err("repeats the name of another entry"),
        }
    }

    /// Returns whether `authority`, a value of `Host`, has a name of the table.
    #[must_use]
    pub fn contains(&self, authority: &str) -> bool {
        self.base_of(authority).is_some()
    }

    /// Returns the target of a path and query at `authority`, if that has a name of the table.
    #[must_use]
    pub fn target(
        &self,
        authority: &str,
        path_and_query: &str,
    ) -> Option<Result<Target, TargetError>> {
        let base = self.base_of(authority)?;
        Some(Target::parse(&format!("{base}{path_and_query}")))
    }

    /// Returns the path and query by which `target` is requested at `authority`, if it lies below
    /// the base URL of that name.
    #[must_use]
    pub fn path_of<'a>(&self, authority: &str, target: &'a str) -> Option<&'a str> {
        let path = target.strip_prefix(self.base_of(authority)?)?;
        path.starts_with('/').then_some(path)
    }

    fn base_of(&self, authority: &str) -> Option<&str> {
        // Most gateways have no such names.
        if self.bases.is_empty() {
            return None;
        }
        let name = host_name(authority).to_ascii_lowercase();
        self.bases.get(&name).map(String::as_str)
    }
}

/// Returns the name in an authority, without port and trailing dot.
#[must_use]
pub fn host_name(authority: &str) -> &str {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a text is a name of DNS and no address.
fn is_name(text: &str) -> bool {
    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_label_byte);
    text.len() <= MAX_NAME_BYTES && text.split('.').all(is_label) && text.parse::<IpAddr>().is_err()
}

/// Returns the canonical form of a base URL, without a trailing slash.
fn base_url(text: &str) -> Option<String> {
    let target = Target::parse(text).ok()?;
    let is_base = !text.contains(['?', '#']) && !target.has_credentials();
    is_base.then(|| target.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> Result<HostTable, ConfigError> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(name, upstream)| HostMapping {
                name: (*name).to_owned(),
                upstream: (*upstream).to_owned(),
            })
            .collect();
        let gateway = Config {
            public_url: "http://sources.example.org:8080".to_owned(),
            host_names: vec!["mill.example.net".to_owned()],
            ..Config::default()
        };
        HostTable::new(&entries, &gateway)
    }

    #[test]
    fn path_and_query_follow_base_url() {
        let table = table(&[
            ("npm.example.org", "https://Registry.example.com"),
            ("Maven.example.org", "https://repo.example.com:443/maven2/"),
        ])
        .unwrap();
        for (authority, path, target) in [
            ("npm.example.org", "/", "https://registry.example.com/"),
            (
                "NPM.example.org.:80",
                "/@a%2fb?x=1",
                "https://registry.example.com/@a%2fb?x=1",
            ),
            (
                "maven.example.org:8080",
                "/a//b",
                "https://repo.example.com/maven2/a//b",
            ),
        ] {
            let found = table.target(authority, path).unwrap().unwrap();
            assert_eq!(found.as_str(), target);
            assert_eq!(table.path_of(authority, target), Some(path));
        }
        for other in ["example.org", "x.npm.example.org", "npm.example.org.evil"] {
            assert!(table.target(other, "/").is_none(), "{other}");
        }
        assert_eq!(
            table.path_of("npm.example.org", "https://registry.example.com.evil/x"),
            None
        );
    }

    #[test]
    fn invalid_entries_are_all_reported() {
        let found = table(&[
            ("a.example.org", "https://b.example.com/x?y"),
            ("A.example.org:80", "https://b.example.com"),
            ("sources.example.org", "https://b.example.com"),
            ("192.0.2.1", "https://b.example.com"),
            ("b.example.org", "https://b.example.com"),
            ("B.example.org", "https://b.example.com"),
            ("MILL.example.net", "https://b.example.com"),
            ("c.example.org", "ftp://user:pass@b.example.com"),
        ]);
        let reason = found.unwrap_err().to_string();
        for part in [
            "entry 1 (\"a.example.org\") must have an upstream",
            "entry 2 (\"A.example.org:80\") must have a name",
            "entry 3 (\"sources.example.org\") has a name of the gateway",
            "entry 4 (\"192.0.2.1\") must have a name",
            "entry 6 (\"B.example.org\") repeats",
            "entry 7 (\"MILL.example.net\") has a name of the gateway",
            "entry 8 (\"c.example.org\") must have an upstream",
        ] {
            assert!(reason.contains(part), "{part} in {reason}");
        }
        assert!(!reason.contains("entry 5"), "{reason}");
        assert!(!reason.contains('\n'));
    }
}
