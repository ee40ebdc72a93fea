//! URL forms of the gateway endpoint: the path of a request contains the URL of the target.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::model::{
    Algorithm, Digest, DigestError, ExpectedDigests, MAX_TARGET_BYTES, Scheme, Target, TargetError,
};

/// First path segments that belong to the gateway although they look like host names. A segment
/// without a dot is never a host name.
const RESERVED: [&str; 3] = ["favicon.ico", "openapi.json", "robots.txt"];

/// Bound on the digests in one path. There are four algorithms.
const MAX_DIGESTS: usize = 8;

/// Error returned when a path contains no valid target. The text shows a valid form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixedUrlError {
    #[error("the path contains no URL; use /https://host/path")]
    NoUrl,
    #[error("{0}; use /https://host/path")]
    Target(#[from] TargetError),
    #[error("{0}; use /sha256:<64 hex digits>/https://host/path")]
    Digest(#[from] DigestError),
    #[error("the path contains more than {MAX_DIGESTS} digests")]
    TooManyDigests,
    /// A second parameter may belong to the URL, if that is not encoded.
    #[error("the URL must be the only parameter; use ?url=https%3A%2F%2Fhost%2Fpath")]
    Parameter,
}

/// Name of the query parameter that may contain the encoded URL of the target.
const PARAMETER: &str = "?url=";

/// The same parameter behind another one.
const LATER_PARAMETER: &str = "&url=";

/// Target in a request path, and the digests that its bytes must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixedUrl {
    pub target: Target,
    pub expected: ExpectedDigests,
}

impl PrefixedUrl {
    /// Parses the undecoded path and query of a request.
    ///
    /// The forms are `/https://host/path?query`, `/https:/host/path`, `/https/host/path`,
    /// `/host.name/path`, `/https%3A%2F%2Fhost%2Fpath` and `/?url=https%3A%2F%2Fhost%2Fpath`. Each
    /// may follow `/download` and `/<algorithm>:<hex>`.
    ///
    /// # Errors
    /// [`PrefixedUrlError`] with the part that is invalid.
    pub fn parse(path_and_query: &str) -> Result<Self, PrefixedUrlError> {
        let mut expected = ExpectedDigests::nothing();
        let path = path_and_query
            .strip_prefix('/')
            .ok_or(PrefixedUrlError::NoUrl)?;
        let mut rest = without_download(path);
        let mut count = 0;
        while let Some((digest, remainder)) = split_digest(rest) {
            count += 1;
            if count > MAX_DIGESTS {
                return Err(PrefixedUrlError::TooManyDigests);
            }
            expected.add(digest?);
            rest = remainder;
        }
        let uri = read_uri(without_download(rest)).map_err(|error| match error {
            PrefixedUrlError::NoUrl if path.len() > MAX_TARGET_BYTES => TargetError::TooLong.into(),
            error => error,
        })?;
        let target = Target::parse(&uri)?;
        Ok(Self { target, expected })
    }

    /// Returns whether the root has the URL in its query, so that it is not the page there.
    #[must_use]
    pub fn is_parameter(path_and_query: &str) -> bool {
        path_and_query
            .strip_prefix('/')
            .is_some_and(|rest| rest.starts_with(PARAMETER) || has_later_parameter(rest))
    }
}

/// Returns whether a query has the URL in a parameter behind another one.
fn has_later_parameter(text: &str) -> bool {
    text.starts_with('?') && text.contains(LATER_PARAMETER)
}

fn without_download(text: &str) -> &str {
    match text.strip_prefix("download") {
        Some(rest) if rest.starts_with('?') => rest,
        Some(rest) => rest.strip_prefix('/').unwrap_or(text),
        None => text,
    }
}

/// Returns the absolute URI in the rest of a path and query.
fn read_uri(text: &str) -> Result<String, PrefixedUrlError> {
    if let Some(value) = text.strip_prefix(PARAMETER) {
        if value.contains('&') {
            return Err(PrefixedUrlError::Parameter);
        }
        let decoded = decode(value)?;
        return to_absolute_uri(&decoded).ok_or(PrefixedUrlError::NoUrl);
    }
    if has_later_parameter(text) {
        return Err(PrefixedUrlError::Parameter);
    }
    let decoded = decode_whole_url(text).transpose()?;
    to_absolute_uri(decoded.as_deref().unwrap_or(text)).ok_or(PrefixedUrlError::NoUrl)
}

/// Decodes a URL that is encoded as a whole. `None` if the URL is not encoded.
///
/// The slashes behind the scheme are encoded, so every other byte is, too. A query may follow that
/// the client has added.
fn decode_whole_url(text: &str) -> Option<Result<String, PrefixedUrlError>> {
    let end = text.find(['/', '?']).unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    let (scheme, _) = first.split_once('%')?;
    Scheme::parse(scheme)?;
    let is_encoded = first
        .get(scheme.len()..scheme.len() + ENCODED_SLASHES.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(ENCODED_SLASHES));
    let joined = |decoded: String| {
        let has_path = decoded.matches('/').count() > 2;
        let has_query = decoded.contains('?');
        // A part that is not encoded would follow one that is.
        let is_mixed = has_query && !rest.is_empty() || has_path && rest.starts_with('/');
        (!is_mixed)
            .then(|| decoded + rest)
            .ok_or(PrefixedUrlError::NoUrl)
    };
    is_encoded.then(|| decode(first).and_then(joined))
}

/// Encoded `://` behind a scheme.
const ENCODED_SLASHES: &str = "%3A%2F%2F";

/// Decodes a text once. A `+` stays, because file names have more of them than spaces.
fn decode(text: &str) -> Result<String, PrefixedUrlError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Cow::into_owned)
        .map_err(|_| PrefixedUrlError::NoUrl)
}

/// Splits `<algorithm>:<hex>/<rest>`. Returns `None` without a known algorithm.
fn split_digest(text: &str) -> Option<(Result<Digest, DigestError>, &str)> {
    let end = text.find(['/', '?'])?;
    let first = decode_colons(&text[..end]);
    let rest = text[end..].strip_prefix('/').unwrap_or(&text[end..]);
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
        // A colon in a user name is data: decoding it would begin the password there.
        let host_start = authority.rfind('@').map_or(0, |at| at + 1);
        let (userinfo, host_and_port) = authority.split_at(host_start);
        let host_and_port = decode_colons(host_and_port);
        return Some([scheme.as_str(), "://", userinfo, &host_and_port, path].concat());
    }
    let first = first.as_ref();
    if let Some(scheme) = Scheme::parse(first) {
        return Some(format!("{}://{rest}", scheme.as_str()));
    }
    let is_host = is_dns_name(first) && !RESERVED.contains(&first.to_ascii_lowercase().as_str());
    (is_host && !rest.is_empty() && !rest.starts_with('?'))
        .then(|| format!("https://{first}/{rest}"))
}

/// Decodes encoded colons. Some clients encode those of the scheme and of the port when they
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
