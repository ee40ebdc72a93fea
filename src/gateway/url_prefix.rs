//! The spellings under which a target is asked for at the gateway port.

use crate::model::{Algorithm, Digest, DigestError, ExpectedDigests, Scheme, Target, TargetError};

/// First segments that are the gateway's own although they could be hosts. Those without a dot
/// never are.
const RESERVED: [&str; 3] = ["favicon.ico", "openapi.json", "robots.txt"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixedUrlError {
    #[error("this is no URL that can be fetched; ask like /https://host/path")]
    NoUrl,
    #[error("{0}; ask like /https://host/path")]
    Target(#[from] TargetError),
    #[error("{0}; ask like /sha256:<64 hex digits>/https://host/path")]
    Digest(#[from] DigestError),
}

/// A target asked for by path, and what its bytes must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixedUrl {
    pub target: Target,
    pub expected: ExpectedDigests,
}

impl PrefixedUrl {
    /// Reads path and query of a request, undecoded: `/https://host/path?query`,
    /// `/https:/host/path`, `/https/host/path`, `/host.name/path`, each also behind `/download` and
    /// behind `/<algorithm>:<hex>`.
    ///
    /// # Errors
    /// [`PrefixedUrlError`] says which part is wrong.
    pub fn parse(path_and_query: &str) -> Result<Self, PrefixedUrlError> {
        let mut expected = ExpectedDigests::nothing();
        let mut rest = path_and_query
            .strip_prefix('/')
            .ok_or(PrefixedUrlError::NoUrl)?;
        rest = rest.strip_prefix("download/").unwrap_or(rest);
        while let Some((digest, behind)) = split_digest(rest) {
            expected.add(digest?);
            rest = behind;
        }
        rest = rest.strip_prefix("download/").unwrap_or(rest);
        let target = Target::parse(&to_absolute_uri(rest).ok_or(PrefixedUrlError::NoUrl)?)?;
        Ok(Self { target, expected })
    }
}

/// `sha256:<hex>/rest`, of an algorithm that is known.
fn split_digest(text: &str) -> Option<(Result<Digest, DigestError>, &str)> {
    let (first, rest) = text.split_once('/')?;
    let (name, hex) = first.split_once(':')?;
    let algorithm: Algorithm = name.parse().ok()?;
    Some((Digest::parse(algorithm, hex), rest))
}

/// The absolute URI that a path stands for.
fn to_absolute_uri(text: &str) -> Option<String> {
    let (first, rest) = text.split_once('/')?;
    if let Some(scheme) = first.strip_suffix(':').and_then(Scheme::parse) {
        // A proxy on the way may have merged the two slashes into one.
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        return Some(format!("{}://{rest}", scheme.as_str()));
    }
    if let Some(scheme) = Scheme::parse(first) {
        return Some(format!("{}://{rest}", scheme.as_str()));
    }
    let is_host = is_dns_name(first) && !RESERVED.contains(&first.to_ascii_lowercase().as_str());
    (is_host && !rest.is_empty() && !rest.starts_with('?'))
        .then(|| format!("https://{first}/{rest}"))
}

/// A DNS name with a dot, whose last label is no number: `10.0.0.1/x` is nobody's host.
fn is_dns_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = text.rsplit_once('.') else {
        return false;
    };
    text.len() <= 253
        && text.split('.').all(label_fits)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}
