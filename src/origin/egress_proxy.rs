//! Egress proxies: their address, and `CONNECT` through them. The main type is [`EgressProxy`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use super::http_stream::ByteStream;

/// Maximum size of the proxy's response to `CONNECT`, in bytes.
const MAX_RESPONSE_BYTES: usize = 8 * 1024;

/// End of a header section.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Connection to the proxy itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyTransport {
    Plain,
    Tls,
}

/// HTTP proxy between Millpond and origins.
#[derive(Debug, Clone)]
pub struct EgressProxy {
    pub host: String,
    pub port: u16,
    pub transport: ProxyTransport,
    /// Value of `Proxy-Authorization`, from the login in the URL.
    pub authorization: Option<HeaderValue>,
}

/// Error returned when the proxy opens no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    #[error("the egress proxy answered CONNECT with status {0}")]
    Refused(u16),
    #[error("the egress proxy's answer to CONNECT is not valid HTTP")]
    NotHttp,
    #[error("the egress proxy closed the connection: {0}")]
    Closed(#[from] std::io::Error),
}

impl EgressProxy {
    /// Returns the proxy of a URL, or `None` if it has no host, or a login that is no field value.
    pub fn from_url(url: &Url) -> Option<Self> {
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(basic_authorization(user, password.unwrap_or_default())?),
        };
        Some(Self {
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
            transport: match url.scheme() {
                "https" => ProxyTransport::Tls,
                _ => ProxyTransport::Plain,
            },
            authorization,
        })
    }

    /// Asks the proxy to connect to `authority`, which is `host:port` (RFC 9110, section 9.3.6).
    /// `name` is the name of this node, by which it recognizes a request that comes back.
    ///
    /// # Errors
    /// [`ProxyFault`] if the proxy does not.
    pub async fn open_tunnel(
        &self,
        stream: &mut dyn ByteStream,
        authority: &str,
        name: &str,
    ) -> Result<(), ProxyFault> {
        let mut request = format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nVia: 1.1 {name}\r\n\
             CDN-Loop: {name}\r\n"
        )
        .into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await?;
        stream.flush().await?;
        let mut response = Vec::new();
        while !response.ends_with(END_OF_HEAD) {
            if response.len() >= MAX_RESPONSE_BYTES {
                return Err(ProxyFault::NotHttp);
            }
            // The bytes behind the header section belong to the tunnel.
            response.push(stream.read_u8().await?);
        }
        match status_of(&response).ok_or(ProxyFault::NotHttp)? {
            200..=299 => Ok(()),
            status => Err(ProxyFault::Refused(status)),
        }
    }
}

fn status_of(response: &[u8]) -> Option<u16> {
    let status_line = response.strip_prefix(b"HTTP/1.")?;
    let status = status_line.get(2..5)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

fn basic_authorization(user: &str, password: &str) -> Option<HeaderValue> {
    let mut login: Vec<u8> = percent_decode_str(user).collect();
    login.push(b':');
    login.extend(percent_decode_str(password));
    let value = format!("Basic {}", STANDARD.encode(login));
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_url_has_login_and_port() {
        for (url, port, authorization) in [
            ("http://proxy.example.org", 80, None),
            ("https://proxy.example.org", 443, None),
            ("http://proxy.example.org:3128", 3128, None),
            (
                "http://user:p%40ss@h.example.org:1",
                1,
                Some("Basic dXNlcjpwQHNz"),
            ),
            ("http://user@h.example.org:1", 1, Some("Basic dXNlcjo=")),
        ] {
            let proxy = EgressProxy::from_url(&url.parse().unwrap()).unwrap();
            assert_eq!(proxy.port, port, "{url}");
            let found = proxy.authorization.as_ref().map(HeaderValue::as_bytes);
            assert_eq!(found, authorization.map(str::as_bytes), "{url}");
        }
    }

    #[test]
    fn status_is_read_from_the_first_line() {
        for (response, status) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Some(200)),
            (b"HTTP/1.0 407 \r\n\r\n", Some(407)),
            (b"HTTP/1.1\r\n\r\n", None),
            (b"SSH-2.0-x\r\n\r\n", None),
        ] {
            assert_eq!(status_of(response), status);
        }
    }
}
