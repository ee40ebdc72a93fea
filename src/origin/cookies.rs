//! Cookies along one chain of redirects (RFC 6265).
//!
//! Some hosts set a cookie, redirect to the same URL, and send the file only with the cookie. The
//! cookies of a chain are dropped with it. No other request and no client gets them. The main type
//! is [`ChainCookies`].

use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};

use super::cookie_date::parse_cookie_date;
use crate::model::{Scheme, Target};

/// Maximum number of cookies in a chain. Further ones are ignored.
const MAX_COOKIES: usize = 32;

/// Maximum size of name and value together, in bytes (RFC 6265, section 6.1). A larger cookie is
/// ignored.
const MAX_COOKIE_BYTES: usize = 4096;

/// Cookies that the hops of one chain have set.
#[derive(Debug, Default)]
pub struct ChainCookies(Vec<Cookie>);

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    domain: Domain,
    path: String,
    is_secure: bool,
}

/// Hosts that get a cookie.
#[derive(Debug, PartialEq, Eq)]
enum Domain {
    /// Only the host that has set it.
    Host(String),
    /// This host and its subdomains.
    Suffix(String),
}

impl ChainCookies {
    /// Stores the cookies of a response. `hop` is the target that was requested.
    pub fn store(&mut self, hop: &Target, headers: &HeaderMap, now: SystemTime) {
        for line in headers.get_all(SET_COOKIE) {
            // One character for each byte, as the value need not be ASCII.
            let line: String = line
                .as_bytes()
                .iter()
                .map(|byte| char::from(*byte))
                .collect();
            let Some((cookie, is_expired)) = Cookie::parse(&line, hop, now) else {
                continue;
            };
            self.0.retain(|old| !old.is_replaced_by(&cookie));
            if !is_expired && self.0.len() < MAX_COOKIES {
                self.0.push(cookie);
            }
        }
    }

    /// Returns the value of `Cookie` for a request, if a cookie belongs to its target. Cookies with
    /// longer paths come first (RFC 6265, section 5.4).
    #[must_use]
    pub fn header_for(&self, hop: &Target) -> Option<HeaderValue> {
        let mut cookies: Vec<_> = self.0.iter().filter(|one| one.belongs_to(hop)).collect();
        cookies.sort_by_key(|one| std::cmp::Reverse(one.path.len()));
        let pairs: Vec<_> = cookies
            .iter()
            .map(|one| format!("{}={}", one.name, one.value))
            .collect();
        let bytes: Result<Vec<u8>, _> = pairs.join("; ").chars().map(u8::try_from).collect();
        let mut value = HeaderValue::try_from(bytes.ok()?).ok()?;
        value.set_sensitive(true);
        (!pairs.is_empty()).then_some(value)
    }
}

impl Cookie {
    /// Parses a `Set-Cookie` line (RFC 6265, section 5.2). Also returns whether the cookie is
    /// expired. `None` if the line must be ignored.
    fn parse(line: &str, hop: &Target, now: SystemTime) -> Option<(Self, bool)> {
        let mut parts = line.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (trim(name), trim(value));
        if name.is_empty() || name.len() + value.len() > MAX_COOKIE_BYTES {
            return None;
        }
        let mut cookie = Self {
            name: name.to_owned(),
            value: value.to_owned(),
            domain: Domain::Host(hop.host().to_owned()),
            path: default_path(hop.path()).to_owned(),
            is_secure: false,
        };
        let (mut expires, mut max_age) = (None, None);
        for part in parts {
            let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
            let value = trim(value);
            match trim(attribute).to_ascii_lowercase().as_str() {
                "domain" => cookie.domain = Domain::parse(value, hop)?,
                "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                "secure" => cookie.is_secure = true,
                "expires" => expires = parse_cookie_date(value),
                "max-age" => max_age = value.parse::<i64>().ok(),
                _ => {}
            }
        }
        let is_expired = match max_age {
            Some(seconds) => seconds <= 0,
            None => expires.is_some_and(|at| at <= now),
        };
        (!cookie.is_secure || hop.scheme() == Scheme::Https).then_some((cookie, is_expired))
    }

    fn is_replaced_by(&self, new: &Self) -> bool {
        (&self.name, &self.domain, &self.path) == (&new.name, &new.domain, &new.path)
    }

    fn belongs_to(&self, hop: &Target) -> bool {
        let is_http = matches!(hop.scheme(), Scheme::Http | Scheme::Https);
        is_http
            && (!self.is_secure || hop.scheme() == Scheme::Https)
            && self.domain.contains(hop)
            && is_path_match(hop.path(), &self.path)
    }
}

impl Domain {
    /// Parses the attribute `Domain`. Returns `None` if the host must not set such a cookie.
    fn parse(value: &str, hop: &Target) -> Option<Self> {
        let value = value
            .strip_prefix('.')
            .unwrap_or(value)
            .to_ascii_lowercase();
        if value.is_empty() || value == hop.host() {
            let host = hop.host().to_owned();
            let is_name = hop.address().is_none();
            return Some(if value.is_empty() || !is_name {
                Self::Host(host)
            } else {
                Self::Suffix(host)
            });
        }
        let domain = Self::Suffix(value);
        // A domain without a dot is a public suffix.
        let is_public = matches!(&domain, Self::Suffix(name) if !name.contains('.'));
        (!is_public && domain.contains(hop)).then_some(domain)
    }

    fn contains(&self, hop: &Target) -> bool {
        match self {
            Self::Host(host) => hop.host() == host,
            Self::Suffix(name) => {
                let prefix = hop.host().strip_suffix(name.as_str());
                hop.address().is_none()
                    && prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            }
        }
    }
}

/// Removes the white space of a field. The characters stand for bytes.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Returns the path of a cookie without the attribute (RFC 6265, section 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

/// Returns whether a request path matches that of a cookie (RFC 6265, section 5.1.4). Encoded
/// characters are equal to themselves.
fn is_path_match(path: &str, cookie_path: &str) -> bool {
    let decode = |text: &str| percent_decode_str(text).collect::<Vec<_>>();
    let (path, cookie_path) = (decode(path), decode(cookie_path));
    let Some(rest) = path.strip_prefix(cookie_path.as_slice()) else {
        return false;
    };
    rest.is_empty() || rest.starts_with(b"/") || cookie_path.ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).expect("the URL is valid")
    }

    /// Returns the `Cookie` of a request after a response with these lines.
    fn sent(set_at: &str, lines: &[&str], asked: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SET_COOKIE, line.parse().expect("the line is valid"));
        }
        let mut cookies = ChainCookies::default();
        cookies.store(&target(set_at), &headers, SystemTime::now());
        let value = cookies.header_for(&target(asked))?;
        Some(value.to_str().expect("the value is text").to_owned())
    }

    #[test]
    fn cookie_is_sent_where_it_belongs() {
        let (at, past) = ("http://a.example.org/x/y", "Thu, 01 Jan 1970 00:00:00 GMT");
        for (set_at, line, asked, is_sent) in [
            (at, "k=v", "http://a.example.org/x/z", true),
            (at, "k=v", "http://a.example.org:81/x/z", true),
            (at, "k=v", "https://a.example.org/x", true),
            (at, "k=v", "http://a.example.org/other", false),
            (at, "k=v", "http://a.example.org/xy", false),
            (at, "k=v; Path=/", "http://a.example.org/other", true),
            (at, "k=v; path=/x/", "http://a.example.org/x/z", true),
            (at, "k=v; Path=/", "http://b.example.org/x/z", false),
            (at, "k=v; Path=/", "ftp://a.example.org/x/z", false),
            (
                at,
                "k=v; Path=/; Domain=example.org",
                "http://b.example.org/",
                true,
            ),
            (
                at,
                "k=v; Path=/; Domain=.Example.org",
                "http://b.example.org/",
                true,
            ),
            (
                at,
                "k=v; Path=/; Domain=example.org",
                "http://badexample.org/",
                false,
            ),
            (
                at,
                "k=v; Path=/; Domain=other.org",
                "http://other.org/",
                false,
            ),
            (
                at,
                "k=v; Path=/; Domain=org",
                "http://a.example.org/",
                false,
            ),
            (
                at,
                "k=v; Path=/; Domain=b.example.org",
                "http://b.example.org/",
                false,
            ),
            (at, "k=v; Secure", "https://a.example.org/x/z", false),
            (at, "k=v; Max-Age=0", "http://a.example.org/x/z", false),
            (
                at,
                "k=v; Max-Age=60; Expires=1",
                "http://a.example.org/x/z",
                true,
            ),
            (at, "=v", "http://a.example.org/x/z", false),
            (at, "no pair", "http://a.example.org/x/z", false),
            (
                "http://127.0.0.1/x",
                "k=v; Domain=127.0.0.1",
                "http://127.0.0.1/x",
                true,
            ),
            (
                "http://127.0.0.1/x",
                "k=v; Domain=0.0.1",
                "http://127.0.0.1/x",
                false,
            ),
            (
                "https://a.example.org/",
                "k=v; Secure",
                "http://a.example.org/",
                false,
            ),
            (
                "https://a.example.org/",
                "k=v; Secure",
                "https://a.example.org/",
                true,
            ),
        ] {
            assert_eq!(
                sent(set_at, &[line], asked).is_some(),
                is_sent,
                "{line} {asked}"
            );
        }
        let expired = format!("k=v; Expires={past}");
        assert_eq!(sent(at, &[&expired], "http://a.example.org/x/z"), None);
    }

    #[test]
    fn later_cookie_replaces_earlier_one() {
        let at = "http://a.example.org/x/y";
        for (lines, wanted) in [
            (&["k=1", "k=2"][..], Some("k=2")),
            (&["k=1", "k=; Max-Age=0"], None),
            (&["a=1; Path=/", "b=2; Path=/x"], Some("b=2; a=1")),
        ] {
            assert_eq!(sent(at, lines, at).as_deref(), wanted, "{lines:?}");
        }
    }

    #[test]
    fn cookies_are_bounded() {
        let many: Vec<_> = (0..2 * MAX_COOKIES).map(|n| format!("k{n}=v")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let at = "http://a.example.org/";
        let value = sent(at, &many, at).expect("cookies are sent");
        assert_eq!(value.split("; ").count(), MAX_COOKIES);
        let large = format!("k={}", "x".repeat(MAX_COOKIE_BYTES));
        assert_eq!(sent(at, &[&large], at), None);
    }
}
