//! Request to an origin, apart from its target.

use super::fault::RequestFault;
use super::validator::Validator;
use crate::model::HttpVersion;

/// Number of received bytes that a resumed transfer sends again if a date is its validator. They
/// are compared with the bytes received before.
pub const OVERLAP_BYTES: u64 = 64 * 1024;

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
    /// Validator of the received bytes, from [`super::Response::validator`].
    pub validator: Validator,
}

impl Resume {
    /// Returns how many of the received bytes are requested again.
    pub(super) fn overlap_bytes(&self) -> u64 {
        match self.validator {
            Validator::Tag(_) => 0,
            Validator::Dated { .. } => self.offset.min(OVERLAP_BYTES),
        }
    }

    /// Returns the offset of the first byte that is requested.
    #[must_use]
    pub fn first_byte(&self) -> u64 {
        self.offset - self.overlap_bytes()
    }
}

#[derive(Debug)]
pub struct OriginRequest {
    pub method: Method,
    /// Version of the request that the client has sent. A shared request is Millpond's own.
    pub received: HttpVersion,
    pub resume: Option<Resume>,
    /// End-to-end header fields of the client, if its request is passed through. Names are in lower
    /// case. If the response may be stored, only fields that Millpond needs itself.
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

    /// Returns whether a 304 may be the response (RFC 9110, section 15.4.5).
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        let conditions = ["if-none-match", "if-modified-since"];
        let mut names = self.headers.iter().map(|(name, _)| name.as_str());
        names.any(|name| conditions.contains(&name))
    }

    /// Returns the first header field of the client with this lower-case name, if it is UTF-8.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl Method {
    pub(super) fn to_http(&self) -> Result<reqwest::Method, RequestFault> {
        match self {
            Self::Get => Ok(reqwest::Method::GET),
            Self::Head => Ok(reqwest::Method::HEAD),
            Self::Other(name) => {
                reqwest::Method::from_bytes(name.as_bytes()).map_err(|_| RequestFault::Method)
            }
        }
    }
}
