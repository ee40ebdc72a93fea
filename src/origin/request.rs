//! Request to an origin, apart from its target.

use super::fault::RequestFault;
use crate::model::HttpVersion;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Other(String),
}

/// Request for the rest of a body whose beginning was received before.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Number of bytes received before.
    pub offset: u64,
    /// Strong validator of the received bytes, from [`super::Response::validator`].
    pub validator: String,
}

#[derive(Debug)]
pub struct OriginRequest {
    pub method: Method,
    /// Version of the request that the client has sent. A shared request is Millpond's own.
    pub received: HttpVersion,
    pub resume: Option<Resume>,
    /// End-to-end header fields of the client, if its request is passed through. Names are in lower
    /// case. Empty if the response may be stored.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
    /// If false, a redirect is the response.
    pub follow_redirects: bool,
    /// Whether the body will be compared with an expected digest. Only then may a redirect leave
    /// https.
    pub digest_expected: bool,
}

impl OriginRequest {
    /// Creates a request with nothing from any client. It follows redirects.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self {
            method,
            received: HttpVersion::Http11,
            resume: None,
            headers: Vec::new(),
            body: None,
            follow_redirects: true,
            digest_expected: false,
        }
    }

    /// Returns whether the response may be a part of the body.
    pub(super) fn asks_for_range(&self) -> bool {
        self.resume.is_some() || self.headers.iter().any(|(name, _)| name == "range")
    }

    /// Returns the first header field of the client with this lower-case name, if it is UTF-8.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl Method {
    pub(super) fn to_reqwest(&self) -> Result<reqwest::Method, RequestFault> {
        match self {
            Self::Get => Ok(reqwest::Method::GET),
            Self::Head => Ok(reqwest::Method::HEAD),
            Self::Other(name) => {
                reqwest::Method::from_bytes(name.as_bytes()).map_err(|_| RequestFault::Method)
            }
        }
    }
}
