//! Parsing of target URLs.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use url::{Host, Url};

/// Longest accepted target, in bytes. Longer ones get a 414 response.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// Maximum length of an invalid target in a message.
const MAX_REDACTED_CHARS: usize = 256;

/// DNS names are at most 253 bytes and their labels at most 63 (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// Anonymous ftp user.
pub(super) const ANONYMOUS: &str = "anonymous";

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
    Ftp,
}

impl Scheme {
    /// Reads a scheme in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Ftp]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ftp => "ftp",
        }
    }

    /// Returns the scheme that has this default port.
    #[must_use]
    pub fn of_default_port(port: u16) -> Option<Self> {
        match port {
            80 => Some(Self::Http),
            443 => Some(Self::Https),
            21 => Some(Self::Ftp),
            _ => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error returned when a text is not a valid target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("the target is longer than {MAX_TARGET_BYTES} bytes")]
    TooLong,
    #[error("the target does not begin with http://, https:// or ftp://")]
    Scheme,
    #[error("the target contains a control byte")]
    ControlByte,
    #[error("the target contains a backslash")]
    Backslash,
    #[error("the target contains a dot segment ('.' or '..', plain or encoded)")]
    DotSegment,
    #[error("the target has no valid host")]
    Host,
    #[error("the target's IP address is not in canonical form")]
    OddAddress,
    #[error("the target has no valid port")]
    Port,
    #[error("an http or https target must not contain a user name or password")]
    Userinfo,
}

/// Requested URL in its canonical form.
///
/// Key, policy, `Location` and the upstream request all use this one string, so they always mean
/// the same resource. Two targets are equal if and only if their canonical strings are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    url: Arc<Url>,
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
        let (scheme, rest) = text.split_once("://").ok_or(TargetError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(TargetError::Scheme)?;
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
        Ok(Self { url: Arc::new(url) })
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
            .url
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
        self.url.as_str()
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    #[must_use]
    pub fn scheme(&self) -> Scheme {
        Scheme::parse(self.url.scheme()).expect("Target::parse accepts only the three schemes")
    }

    /// Returns the host as in the URI: an IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url
            .host_str()
            .expect("Target::parse rejects a URL without a host")
    }

    /// Returns the IP address, if the host is one. No resolver sees such a host, so policy checks
    /// this address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.url
            .port_or_known_default()
            .expect("each of the three schemes has a default port")
    }

    /// Returns whether both have the same scheme, host and port.
    #[must_use]
    pub fn has_same_authority(&self, other: &Self) -> bool {
        (self.scheme(), self.host(), self.port()) == (other.scheme(), other.host(), other.port())
    }

    /// Returns the path without the query, as sent to the origin.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// Returns whether an ftp target contains a user name or a password.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        !self.url.username().is_empty() || self.url.password().is_some()
    }

    /// Returns whether the query has a signature or a token, which makes the URL a bearer secret.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.url
            .query_pairs()
            .any(|(name, _)| SIGNATURE_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()))
    }

    /// Formats an invalid target for messages and logs, without possible passwords or signatures.
    #[must_use]
    pub fn redact(spelling: &str) -> String {
        // An encoded `@` can still end a user name.
        let spelling = spelling.replace("%40", "@");
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

/// Formats the target for messages and logs, without the login and without a secret query.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_credentials() && !self.is_signed() {
            return f.write_str(self.as_str());
        }
        let user = if self.has_credentials() { "…@" } else { "" };
        let port = self
            .url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let query = match self.url.query() {
            Some(_) if self.is_signed() => "?…".to_owned(),
            Some(query) => format!("?{query}"),
            None => String::new(),
        };
        write!(
            f,
            "{}://{user}{}{port}{}{query}",
            self.url.scheme(),
            self.host(),
            self.path()
        )
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Authority, split before the URL library parses it. The library silently repairs authorities that
/// must be rejected.
struct Authority<'a> {
    userinfo: &'a str,
    host: &'a str,
    port: &'a str,
}

impl<'a> Authority<'a> {
    fn split(authority: &'a str, scheme: Scheme) -> Result<Self, TargetError> {
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

    fn join(&self, scheme: Scheme, path_and_query: &str) -> String {
        let mut uri = format!("{}://", scheme.as_str());
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
        uri.push_str(&path_and_query.replace(' ', "%20"));
        uri
    }

    /// Compares the host that the library parsed with the host as written.
    fn check_host(&self, url: &Url) -> Result<(), TargetError> {
        match url.host() {
            Some(Host::Domain(name)) => {
                let plain =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                let labels_fit = name
                    .split('.')
                    .all(|label| (1..=MAX_LABEL_BYTES).contains(&label.len()));
                if name.len() <= MAX_HOST_BYTES && labels_fit && name.bytes().all(plain) {
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

/// Returns whether the path has a `.` or `..` segment after any number of percent-decoding passes.
fn has_dot_segment(path: &str) -> bool {
    let mut decoded = path.to_ascii_lowercase();
    while decoded.contains("%25") {
        decoded = decoded.replace("%25", "%");
    }
    let decoded = decoded
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    decoded
        .split('/')
        .any(|segment| segment == "." || segment == "..")
}
