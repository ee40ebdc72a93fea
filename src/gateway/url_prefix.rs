//! URL forms of the gateway endpoint: the path of a request contains the URL of the target.

use std::borrow::Cow;

use crate::model::{Algorithm, Digest, DigestError, ExpectedDigests, Scheme, Target, TargetError};

/// First path segments that belong to the gateway although they look like host names. A segment
/// without a dot is never a host name.
const RESERVED: [&str; 3] = ["favicon.ico", "openapi.json", "robots.txt"];

/// Error returned when a path contains no valid target. The text shows a valid form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixedUrlError {
    #[error("the path contains no URL; use /https://host/path")]
    NoUrl,
    #[error("{0}; use /https://host/path")]
    Target(#[from] TargetError),
    #[error("{0}; use /sha256:<64 hex digits>/https://host/path")]
    Digest(#[from] DigestError),
}

/// Target in a request path, and the digests that its bytes must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixedUrl {
    pub target: Target,
    pub expected: ExpectedDigests,
}

impl PrefixedUrl {
    /// Parses the undecoded path and query of a request.
    ///
    /// The forms are `/https://host/path?query`, `/https:/host/path`, `/https/host/path` and
    /// `/host.name/path`. Each may follow `/download` and `/<algorithm>:<hex>`.
    ///
    /// # Errors
    /// [`PrefixedUrlError`] with the part that is invalid.
    pub fn parse(path_and_query: &str) -> Result<Self, PrefixedUrlError> {
        let mut expected = ExpectedDigests::nothing();
        let mut rest = path_and_query
            .strip_prefix('/')
            .ok_or(PrefixedUrlError::NoUrl)?;
        rest = rest.strip_prefix("download/").unwrap_or(rest);
        while let Some((digest, remainder)) = split_digest(rest) {
            expected.add(digest?);
            rest = remainder;
        }
        rest = rest.strip_prefix("download/").unwrap_or(rest);
        let target = Target::parse(&to_absolute_uri(rest).ok_or(PrefixedUrlError::NoUrl)?)?;
        Ok(Self { target, expected })
    }
}

/// Splits `<algorithm>:<hex>/<rest>`. Returns `None` without a known algorithm.
fn split_digest(text: &str) -> Option<(Result<Digest, DigestError>, &str)> {
    let (first, rest) = text.split_once('/')?;
    let (name, hex) = first.split_once(':')?;
    let algorithm: Algorithm = name.parse().ok()?;
    Some((Digest::parse(algorithm, hex), rest))
}

/// Returns the absolute URI in a path without its leading slash.
fn to_absolute_uri(text: &str) -> Option<String> {
    let (first, rest) = text.split_once('/')?;
    let first = decode_colons(first);
    if let Some(scheme) = first.strip_suffix(':').and_then(Scheme::parse) {
        // An intermediary may have merged the two slashes.
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = decode_colons(authority);
        return Some(format!("{}://{authority}{path}", scheme.as_str()));
    }
    let first = first.as_ref();
    if let Some(scheme) = Scheme::parse(first) {
        return Some(format!("{}://{rest}", scheme.as_str()));
    }
    let is_host = is_dns_name(first) && !RESERVED.contains(&first.to_ascii_lowercase().as_str());
    (is_host && !rest.is_empty() && !rest.starts_with('?'))
        .then(|| format!("https://{first}/{rest}"))
}

/// Decodes encoded colons. Some clients encode those of the scheme and the authority when they
/// resolve a link.
fn decode_colons(text: &str) -> Cow<'_, str> {
    if text.contains('%') {
        text.replace("%3A", ":").replace("%3a", ":").into()
    } else {
        text.into()
    }
}

/// Returns whether `text` is a DNS name with a dot. The last label must have a letter, so that an
/// IPv4 address is not a name.
fn is_dns_name(text: &str) -> bool {
    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_label_byte)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = text.rsplit_once('.') else {
        return false;
    };
    text.len() <= 253
        && text.split('.').all(is_label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}
