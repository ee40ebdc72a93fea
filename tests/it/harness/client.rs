//! Requests of a test client that works on the wire. The client repairs nothing and follows no
//! redirects.

use std::net::SocketAddr;

use super::answer::Answer;
use super::streaming::{Streaming, Waiting};

/// A request that is sent unchanged.
#[derive(Debug, Clone)]
pub struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Names an agent of the default `gateway.redirect_agents`.
    pub fn wget_agent(self) -> Self {
        self.header("User-Agent", "Wget/1.21.3")
    }

    pub fn range(self, range: &str) -> Self {
        self.header("Range", range)
    }

    pub fn http_1_0(self) -> Self {
        Self {
            version: "HTTP/1.0",
            ..self
        }
    }

    /// Adds a body with its `Content-Length`.
    pub fn body(self, body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..self.header("Content-Length", &body.len().to_string())
        }
    }

    /// Adds a body in chunks of 1000 bytes.
    pub fn chunked_body(self, body: &[u8]) -> Self {
        let mut coded = Vec::new();
        for chunk in body.chunks(1000) {
            coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\n");
        Self {
            body: coded,
            ..self.header("Transfer-Encoding", "chunked")
        }
    }

    /// Sends the request and reads the complete response.
    #[track_caller]
    pub fn send(&self) -> Answer {
        self.open().finish()
    }

    /// Sends the request to a gateway that may be killed at any time. Returns `None` if no
    /// response head arrives.
    pub fn send_if_it_lives(&self) -> Option<Answer> {
        let waiting = Waiting::try_send(self.address, &self.bytes(), self.method == "HEAD").ok()?;
        Some(waiting.try_head().ok()?.finish())
    }

    /// Sends the request and reads the head of the response.
    #[track_caller]
    pub fn open(&self) -> Streaming {
        self.start().head()
    }

    /// Sends the request and reads nothing.
    #[track_caller]
    pub fn start(&self) -> Waiting {
        Waiting::send(self.address, &self.bytes(), self.method == "HEAD")
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}\r\n", self.method, self.target, self.version);
        let given = |name: &str| {
            self.headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        if !given("host") {
            let authority = self
                .target
                .split_once("://")
                .and_then(|(_, rest)| rest.split('/').next());
            // `Host` has no user information (RFC 9110, section 7.2).
            let host = authority
                .filter(|_| !self.target.starts_with('/'))
                .and_then(|authority| authority.rsplit('@').next())
                .map(str::to_owned);
            text += &[
                "Host: ",
                &host.unwrap_or_else(|| self.address.to_string()),
                "\r\n",
            ]
            .concat();
        }
        if !given("connection") {
            text += "Connection: close\r\n";
        }
        for (name, value) in &self.headers {
            text += &[name, ": ", value, "\r\n"].concat();
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Percent-encodes a text as a query value.
pub fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| {
        if is_plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}
