//! Way in which Millpond asks an origin for a request. The main type is [`UpstreamAccess`].

use super::request_options::EgressRoute;
use crate::model::Secret;

/// Clients that may have the content of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContentAudience {
    #[default]
    Everyone,
    /// Clients that may have what only credentials of Millpond give. It is stored apart from what
    /// everyone may have.
    Permitted,
}

/// Way in which Millpond asks an origin for a request.
#[derive(Debug, Clone, Default)]
pub struct UpstreamAccess {
    /// Millpond's own authorization for the host of the target. It does not follow a redirect to
    /// another host.
    pub authorization: Option<Secret>,
    /// Route of the requests, unless a rule has one. Redirects take it too.
    pub egress: Option<EgressRoute>,
    pub audience: ContentAudience,
}
