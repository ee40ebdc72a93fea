//! The base URL of a gateway, as an argument of commands.
//!
//! The main type is [`GatewayUrl`].

use std::fmt;
use std::str::FromStr;

use url::Url;

/// Base URL of a gateway, of http or https, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl(String);

/// Error returned for a text that is no base URL of a gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayUrlError {
    #[error("must be like http://host:port: {0}")]
    Invalid(#[from] url::ParseError),
    #[error("must begin with http:// or https://")]
    Scheme,
    #[error("must have no query and no fragment")]
    Query,
}

impl GatewayUrl {
    /// Returns the URL without the login of a download user.
    #[must_use]
    pub fn without_login(&self) -> Self {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return self.clone();
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        Self(format!("{scheme}://{host}{path}"))
    }
}

impl FromStr for GatewayUrl {
    type Err = GatewayUrlError;

    /// Parses a URL. Without a scheme, http is meant.
    fn from_str(text: &str) -> Result<Self, GatewayUrlError> {
        let text = text.trim();
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let parsed = Url::parse(&url)?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(GatewayUrlError::Scheme);
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(GatewayUrlError::Query);
        }
        Ok(Self(url.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_can_be_removed() {
        let with_login: GatewayUrl = "ann:se@cret@host:8080/gateway".parse().unwrap();
        let without = with_login.without_login().to_string();
        assert_eq!(without, "http://host:8080/gateway");
    }

    #[test]
    fn scheme_may_be_omitted() {
        for (text, expected) in [
            ("http://host:8080/", "http://host:8080"),
            ("host:8080", "http://host:8080"),
            ("host", "http://host"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080/", "http://[::1]:8080"),
            (" https://host/gateway/ ", "https://host/gateway"),
        ] {
            let parsed: GatewayUrl = text.parse().unwrap();
            assert_eq!(parsed.to_string(), expected, "{text:?}");
            assert_eq!(parsed.without_login().to_string(), expected, "{text:?}");
        }
        for wrong in [
            "",
            "no url",
            "ftp://host",
            "http://",
            "host:x",
            "host?a=b",
            "host#a",
        ] {
            assert!(wrong.parse::<GatewayUrl>().is_err(), "{wrong:?}");
        }
    }
}
