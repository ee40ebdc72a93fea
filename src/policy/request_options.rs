//! Request options for one host: egress route, concurrency, request interval and credentials.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::origin_credentials::OriginCredentials;
use crate::model::{Scheme, Secret};

/// Error returned for an invalid egress route.
///
/// Its text omits the URL, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"none\", or like \"http://proxy.example.org:3128\"")]
pub struct EgressRouteError;

/// Upper bound of the connections for one body. Many origins ban clients that open more.
pub const MAX_SEGMENTS: usize = 16;

/// Configuration value for a direct connection, even if other hosts use a proxy.
const NONE: &str = "none";

/// Route of outgoing requests. The URL of a proxy may contain a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressRoute {
    Direct,
    Proxy(Secret),
    /// A direct connection to a node of the cluster. The operator has listed it, so that any
    /// address is allowed.
    Peer,
}

impl EgressRoute {
    /// Parses a proxy URL, `none`, or the empty string.
    ///
    /// # Errors
    /// [`EgressRouteError`] for any other text.
    pub fn parse(text: &Secret) -> Result<Option<Self>, EgressRouteError> {
        match text.expose() {
            "" => Ok(None),
            NONE => Ok(Some(Self::Direct)),
            url if is_proxy_url(url) => Ok(Some(Self::Proxy(text.clone()))),
            _ => Err(EgressRouteError),
        }
    }
}

/// Returns whether `url` is a valid URL of an HTTP proxy.
#[must_use]
pub fn is_proxy_url(url: &str) -> bool {
    url.parse().is_ok_and(|url: Url| {
        let is_ftp_port = url.port().and_then(Scheme::from_default_port) == Some(Scheme::Ftp);
        matches!(url.scheme(), "http" | "https") && url.has_host() && !is_ftp_port
    })
}

/// Request options for one host. Unset options take the values of `[fetch]`.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    /// Credentials for the origin.
    pub credentials: Option<Arc<OriginCredentials>>,
    /// Maximum number of concurrent fetches.
    pub per_host: Option<usize>,
    /// Maximum number of connections that bring ranges of one body, at most [`MAX_SEGMENTS`].
    pub segments: Option<usize>,
    /// Minimum interval between the starts of two requests.
    pub request_interval: Duration,
    /// Route of the requests.
    pub egress: Option<EgressRoute>,
}

impl RequestOptions {
    /// Returns the options for requests to a node of the cluster.
    #[must_use]
    pub fn for_peer() -> Self {
        Self {
            egress: Some(EgressRoute::Peer),
            ..Self::default()
        }
    }

    /// Sets the route of the requests, unless a rule has one.
    #[must_use]
    pub fn or_egress(self, egress: Option<&EgressRoute>) -> Self {
        Self {
            egress: self.egress.or_else(|| egress.cloned()),
            ..self
        }
    }

    /// Removes the credentials, for a host that must not see them.
    #[must_use]
    pub fn without_credentials(self) -> Self {
        Self {
            credentials: None,
            ..self
        }
    }
}
