//! A request as the request path sees it, whatever door it came through.

use super::Conditions;
use crate::model::{ExpectedDigests, RangeSpec, Target};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /https://host/path` at the gateway port.
    Gateway,
    /// `GET http://host/path` at the proxy port. It is never answered with a redirect to the
    /// target: that would loop.
    Proxy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestMethod {
    Get,
    Head,
    /// Another method. It passes through; the doors decide which of them take it.
    Other(String),
}

/// Whether the end of a body without length can be told from a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http10,
    Http11,
}

/// How a stored file can get to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Through us.
    Direct,
    /// Our own nginx is told the file's name and sends it.
    AccelRedirect,
}

#[derive(Debug)]
pub struct CacheRequest {
    pub endpoint: Endpoint,
    pub delivery: Delivery,
    pub method: RequestMethod,
    pub version: HttpVersion,
    pub target: Target,
    pub expected: ExpectedDigests,
    pub range: Option<RangeSpec>,
    pub conditions: Conditions,
    /// `Cache-Control: only-if-cached` (RFC 9111, section 5.2.1.7).
    pub only_if_cached: bool,
    pub user_agent: String,
    /// The request carries Authorization or Cookie, and the door takes them: the answer belongs to
    /// this client alone.
    pub has_credentials: bool,
    /// What goes to the origin if the request is passed through. Nothing of it touches what is
    /// stored.
    pub forwarded_headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
}
