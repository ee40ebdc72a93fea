//! Requests as the request path sees them. They are the same for both endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use super::error::RequestError;
use super::preconditions::Conditions;
use crate::limits::RequestCount;
use crate::model::{Algorithm, Digest, ExpectedDigests, HttpVersion, RangeSpec, Sha256, Target};
use crate::policy::{Admitted, Requester, Sharing, UpstreamAccess};

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

/// Way in which a stored file may get to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDelivery {
    /// Millpond sends the bytes.
    Direct,
    /// The trusted nginx in front may send the file, by `X-Accel-Redirect`.
    AccelRedirect,
}

/// Whether a client may be redirected to the origin or to the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRedirects {
    Allowed,
    /// The client uses the proxy port. A redirect would lead it back there, or around it.
    Never,
}

/// Request for a target.
#[derive(Debug)]
pub struct CacheRequest {
    /// Address of the client. Its new targets are counted, and so are the silent hosts of its
    /// fetches.
    pub client: IpAddr,
    pub endpoint: Endpoint,
    pub delivery: FileDelivery,
    pub redirects: ClientRedirects,
    pub method: RequestMethod,
    pub version: HttpVersion,
    pub target: Target,
    pub expected: ExpectedDigests,
    pub range: Option<RangeSpec>,
    pub conditions: Conditions,
    /// `Cache-Control: only-if-cached` (RFC 9111, section 5.2.1.7).
    pub only_if_cached: bool,
    /// A request of a node of the cluster is never sent on.
    pub requester: Requester,
    pub user_agent: String,
    /// One of `forwarded_headers` carries a credential. The response is for this client only.
    pub has_credentials: bool,
    /// Way in which Millpond asks the origin, if it is another than that of the rules. It is apart,
    /// since each connection has memory for a request.
    pub access: Option<Arc<UpstreamAccess>>,
    /// Whether this is a step of a request that was counted before.
    pub count: RequestCount,
    /// Header fields for the origin if the request passes through. They have no effect on what is
    /// stored.
    pub forwarded_headers: Vec<(String, Vec<u8>)>,
    pub body: Option<reqwest::Body>,
}

impl CacheRequest {
    /// Returns whether another proxy has sent the request (RFC 9110, section 7.6.3; RFC 8586).
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        let mut names = self.forwarded_headers.iter().map(|(name, _)| name);
        names.any(|name| name == "via" || name == "cdn-loop")
    }

    /// Returns a copy for another attempt. It has no body.
    #[must_use]
    pub fn without_body(&self) -> Self {
        Self {
            target: self.target.clone(),
            expected: self.expected.clone(),
            method: self.method.clone(),
            conditions: self.conditions.clone(),
            user_agent: self.user_agent.clone(),
            access: self.access.clone(),
            forwarded_headers: self.forwarded_headers.clone(),
            body: None,
            ..*self
        }
    }

    /// Returns who may have the response.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        if self.has_credentials || matches!(self.method, RequestMethod::Other(_)) {
            Sharing::Private
        } else {
            Sharing::Shared
        }
    }

    /// # Errors
    /// [`RequestError::OnlyIfCachedMiss`] if the client wants a stored response only.
    pub(super) fn reject_only_if_cached(&self) -> Result<(), RequestError> {
        if self.only_if_cached {
            return Err(RequestError::OnlyIfCachedMiss);
        }
        Ok(())
    }

    /// Adds the digests that the checksum file and the path of the target state.
    ///
    /// # Errors
    /// [`RequestError::Mismatch`] if the client expects another SHA-256 than the checksum file.
    pub(super) fn requiring_digests_of(self, admitted: &Admitted) -> Result<Self, RequestError> {
        let mut request = self.requiring_sha256(admitted.required_sha256())?;
        request.expected.extend(admitted.path_digest());
        Ok(request)
    }

    /// Adds a digest that the body must have to the digests that the client expects.
    ///
    /// # Errors
    /// [`RequestError::Mismatch`] if the client expects another SHA-256.
    pub(super) fn requiring_sha256(
        mut self,
        required: Option<Sha256>,
    ) -> Result<Self, RequestError> {
        let Some(sha256) = required else {
            return Ok(self);
        };
        let conflicts =
            |digest: &Digest| digest.algorithm() == Algorithm::Sha256 && *digest != sha256.into();
        if self.expected.iter().any(conflicts) {
            return Err(RequestError::Mismatch {
                expected: self.expected.clone(),
                found: sha256,
            });
        }
        self.expected.add(sha256.into());
        Ok(self)
    }
}
