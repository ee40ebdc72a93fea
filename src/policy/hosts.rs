//! Host patterns of the configuration.

use std::fmt;
use std::net::Ipv6Addr;

/// Error returned for an invalid host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid host \"{0}\"; write \"example.org\", or \".example.org\" to include its subdomains"
)]
pub struct HostPatternError(String);

/// Host pattern: `example.org` is only that name, `.example.org` includes all its subdomains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    name: String,
    with_subdomains: bool,
}

impl HostPattern {
    /// Parses a host pattern.
    ///
    /// # Errors
    /// [`HostPatternError`] if the text is not a host name or an IP address.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self {
                name: format!("[{address}]"),
                with_subdomains: false,
            });
        }
        let (name, with_subdomains) = match text.strip_prefix('.') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']')
        };
        if name.is_empty()
            || name.starts_with('.')
            || name.ends_with('.')
            || !name.bytes().all(is_plain)
        {
            return Err(HostPatternError(text.to_owned()));
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            with_subdomains,
        })
    }

    /// Returns whether the pattern matches `host`, which is in the form of a target: lower case,
    /// without a trailing dot.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        host == self.name
            || self.with_subdomains
                && host
                    .strip_suffix(self.name.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            if self.with_subdomains { "." } else { "" },
            self.name
        )
    }
}
