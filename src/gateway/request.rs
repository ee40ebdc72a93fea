//! Requests as the request path sees them. They are the same for both endpoints.

use super::error::RequestError;
use super::preconditions::Conditions;
use crate::model::{Algorithm, Digest, ExpectedDigests, RangeSpec, Sha256, Target};

/// Endpoint that received a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /https://host/path` at the gateway port.
    Gateway,
    /// `GET http://host/path` at the proxy port. A redirect to the target would loop, so Millpond
    /// never sends one here.
    Proxy,
}

/// Method of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestMethod {
    Get,
    Head,
    /// Another method, which passes through. Each endpoint decides which methods it accepts.
    Other(String),
}

/// HTTP version of a request. HTTP/1.0 clients cannot distinguish the end of a body without length
/// from a broken connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http10,
    Http11,
}

/// Way in which a stored file may get to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDelivery {
    /// Millpond sends the bytes.
    Direct,
    /// The trusted nginx in front may send the file, by `X-Accel-Redirect`.
    AccelRedirect,
}

/// Request for a target.
#[derive(Debug)]
pub struct CacheRequest {
    pub endpoint: Endpoint,
    pub delivery: FileDelivery,
    pub method: RequestMethod,
    pub version: HttpVersion,
    pub target: Target,
    pub expected: ExpectedDigests,
    pub range: Option<RangeSpec>,
    pub conditions: Conditions,
    /// `Cache-Control: only-if-cached` (RFC 9111, section 5.2.1.7).
    pub only_if_cached: bool,
    pub user_agent: String,
    /// One of `forwarded_headers` carries a credential. The response is for this client only.
    pub has_credentials: bool,
    /// Header fields for the origin if the request passes through. They have no effect on what is
    /// stored.
    pub forwarded_headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
}

impl CacheRequest {
    /// Adds a digest that the body must have to the digests that the client expects.
    ///
    /// # Errors
    /// [`RequestError::Mismatch`] if the client expects another SHA-256.
    pub(super) fn require_sha256(&mut self, sha256: Sha256) -> Result<(), RequestError> {
        let conflicts =
            |digest: &Digest| digest.algorithm() == Algorithm::Sha256 && *digest != sha256.into();
        if self.expected.iter().any(conflicts) {
            return Err(RequestError::Mismatch {
                expected: self.expected.clone(),
                found: sha256,
            });
        }
        self.expected.add(sha256.into());
        Ok(())
    }
}
