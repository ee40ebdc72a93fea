//! Parsing of target URLs.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use url::{Host, Url, form_urlencoded};

use super::authority::Authority;
use super::logged_query::logged_query;
use super::scheme::Scheme;
use super::target_error::{MAX_TARGET_BYTES, TargetError};

/// Maximum length of an invalid target in a message.
const MAX_REDACTED_CHARS: usize = 256;

/// Query parameters that make a URL a bearer secret. Millpond passes such a URL through and never
/// stores or logs it.
const SIGNATURE_PARAMETERS: [&str; 24] = [
    "access_token",
    "api_key",
    "apikey",
    "auth_token",
    "awsaccesskeyid",
    "googleaccessid",
    "job_token",
    "key-pair-id",
    "password",
    "private_token",
    "q-signature",
    "secret",
    "sig",
    "sign",
    "signature",
    "token",
    "user_token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
    "x-obs-security-token",
    "x-obs-signature",
];

/// Requested URL in its canonical form.
///
/// Key, policy, `Location` and the upstream request all use this one string, so they always mean
/// the same resource. Two targets are equal if and only if their canonical strings are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    canonical: Arc<Canonical>,
}

/// Canonical string, parsed once and hashed once.
#[derive(PartialEq, Eq, Hash)]
struct Canonical {
    url: Url,
    scheme: Scheme,
    sha256: [u8; 32],
}

impl Target {
    /// Parses an absolute URI of http, https or ftp.
    ///
    /// Canonicalization:
    ///
    /// * The scheme and the host are lower-cased (IDNA).
    /// * One trailing dot of the host, a default port and a fragment are dropped.
    /// * An empty path becomes `/`.
    /// * An anonymous ftp login is dropped.
    /// * Bytes that are not allowed in a URI are percent-encoded.
    ///
    /// The path and the query keep their order, case and encoding.
    ///
    /// # Errors
    /// Texts that a URL library and an origin could read differently are rejected: backslashes,
    /// control bytes, dot segments in any encoding, non-canonical IP addresses, and a user name
    /// for http or https.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(TargetError::ControlByte);
        }
        let text = text.split('#').next().unwrap_or_default();
        if text.contains('\\') {
            return Err(TargetError::Backslash);
        }
        let (scheme, rest) = text.split_once(':').ok_or(TargetError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(TargetError::Scheme)?;
        let rest = rest.strip_prefix("//").ok_or(TargetError::Scheme)?;
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(authority_end);
        let path = path_and_query.split('?').next().unwrap_or_default();
        if has_dot_segment(path) {
            return Err(TargetError::DotSegment);
        }
        let authority = Authority::split(authority, scheme)?;
        let url =
            Url::parse(&authority.join(scheme, path_and_query)).map_err(|_| TargetError::Host)?;
        authority.check_host(&url)?;
        if url.as_str().len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        let sha256 = Sha256::digest(url.as_str().as_bytes()).into();
        let canonical = Arc::new(Canonical {
            url,
            scheme,
            sha256,
        });
        Ok(Self { canonical })
    }

    /// Resolves a `Location` against this target (RFC 9110, section 10.2.2) and parses the result.
    ///
    /// # Errors
    /// As [`Target::parse`]. Dot segments of a relative reference are allowed and resolved.
    pub fn join(&self, reference: &str) -> Result<Self, TargetError> {
        if reference.len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        if reference.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(TargetError::ControlByte);
        }
        if reference.contains('\\') {
            return Err(TargetError::Backslash);
        }
        // The library repairs invalid authorities, so check the reference's own authority first.
        if let Some((scheme, authority)) = self.authority_of(reference)? {
            Self::parse(&format!("{}://{authority}/", scheme.as_str()))?;
        }
        // The library trims trailing spaces instead of encoding them.
        let joined = self
            .url()
            .join(&reference.replace(' ', "%20"))
            .map_err(|_| TargetError::Host)?;
        Self::parse(joined.as_str())
    }

    /// Returns scheme and authority of a reference that has an authority (RFC 3986, section 4.2).
    fn authority_of<'a>(
        &self,
        reference: &'a str,
    ) -> Result<Option<(Scheme, &'a str)>, TargetError> {
        let first = reference.split(['/', '?', '#']).next().unwrap_or_default();
        let (scheme, rest) = match first.split_once(':') {
            Some((scheme, _)) => (
                Scheme::parse(scheme).ok_or(TargetError::Scheme)?,
                &reference[scheme.len() + 1..],
            ),
            None => (self.scheme(), reference),
        };
        match rest.strip_prefix("//") {
            Some(rest) => Ok(Some((
                scheme,
                rest.split(['/', '?', '#']).next().unwrap_or_default(),
            ))),
            // URL parsers disagree on the meaning of `https:x`.
            None if rest.len() != reference.len() => Err(TargetError::Host),
            None => Ok(None),
        }
    }

    /// Returns the canonical string. It may contain a secret: use [`fmt::Display`] for output.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url().as_str()
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.canonical.url
    }

    /// Returns the SHA-256 of the canonical string.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.canonical.sha256
    }

    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.canonical.scheme
    }

    /// Returns the host as in the URI: an IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url()
            .host_str()
            .expect("Target::parse rejects a URL without a host")
    }

    /// Returns the IP address, if the host is one. No resolver sees such a host, so policy checks
    /// this address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.url().host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.url()
            .port_or_known_default()
            .expect("each of the three schemes has a default port")
    }

    /// Returns scheme, host and, unless it is the scheme's own, port: `https://host:8443`.
    #[must_use]
    pub fn site(&self) -> String {
        let (scheme, host) = (self.scheme().as_str(), self.host());
        match self.url().port() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// Returns whether both have the same scheme, host and port.
    #[must_use]
    pub fn has_same_authority(&self, other: &Self) -> bool {
        (self.scheme(), self.host(), self.port()) == (other.scheme(), other.host(), other.port())
    }

    /// Returns the path without the query, as sent to the origin.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url().path()
    }

    /// Returns whether an ftp target contains a user name or a password.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        !self.url().username().is_empty() || self.url().password().is_some()
    }

    /// Returns whether the query has a signature or a token, which makes the URL a bearer secret.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let Some(query) = self.url().query() else {
            return false;
        };
        // Some origins also accept a semicolon between parameters.
        query
            .split(['&', ';'])
            .flat_map(|parameter| form_urlencoded::parse(parameter.as_bytes()))
            .any(|(name, _)| SIGNATURE_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()))
    }

    /// Formats an invalid target for messages and logs, without possible passwords or signatures.
    #[must_use]
    pub fn redact(spelling: &str) -> String {
        // An encoded `@` can still end a user name, and an encoded `?` begin a query.
        let spelling = spelling
            .replace("%40", "@")
            .replace("%3F", "?")
            .replace("%3f", "?");
        let without_user = match spelling.rsplit_once('@') {
            None => spelling,
            Some((before, host)) => {
                let start = before.find(":/").map_or(0, |at| at + 2);
                format!("{}…@{host}", &before[..start])
            }
        };
        let path = without_user.split('?').next().unwrap_or_default();
        path.chars()
            .filter(|c| !c.is_control())
            .take(MAX_REDACTED_CHARS)
            .collect()
    }
}

/// Values of a query in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryValues {
    /// Those that are no secrets.
    Shown,
    /// Those of known parameters.
    Known,
}

impl Target {
    /// Returns the target without the login and without a secret query, for someone who knows the
    /// target.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.format_with(QueryValues::Shown)
    }

    fn format_with(&self, values: QueryValues) -> String {
        let user = if self.has_credentials() { "…@" } else { "" };
        let port = self.url().port();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let query = match (self.url().query(), values) {
            (None, _) => String::new(),
            (Some(_), _) if self.is_signed() => "?…".to_owned(),
            (Some(query), QueryValues::Shown) => format!("?{query}"),
            (Some(query), QueryValues::Known) => format!("?{}", logged_query(query)),
        };
        let (scheme, host, path) = (self.url().scheme(), self.host(), self.path());
        format!("{scheme}://{user}{host}{port}{path}{query}")
    }
}

/// Formats the target for messages and logs, without the login, a secret query, and the values of
/// unknown parameters.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.url().query().is_none() && !self.has_credentials() {
            return f.write_str(self.as_str());
        }
        f.write_str(&self.format_with(QueryValues::Known))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Returns whether the path has a `.` or `..` segment after any number of percent-decoding passes.
fn has_dot_segment(path: &str) -> bool {
    let has_plain = |path: &str| {
        let mut segments = path.as_bytes().split(|byte| *byte == b'/');
        segments.any(|segment| matches!(segment, b"." | b".."))
    };
    // Most paths have nothing to decode.
    if !path.contains('%') {
        return has_plain(path);
    }
    let mut decoded = path.to_ascii_lowercase();
    while decoded.contains("%25") {
        decoded = decoded.replace("%25", "%");
    }
    let decoded = decoded
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    has_plain(&decoded)
}
