//! Way in which Millpond asks an origin for a request. The main type is [`UpstreamAccess`].

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::request_options::EgressRoute;
use crate::model::Secret;

/// Gives newer authorizations while a fetch goes on, because tokens expire.
pub trait AuthorizationRenewal: Send + Sync {
    /// Returns the authorization for a request that is sent now. `None` if the first one is valid,
    /// or if there is no newer one.
    fn renewed(&self) -> BoxFuture<'_, Option<Secret>>;
}

/// Shared [`AuthorizationRenewal`]. It is never printed.
#[derive(Clone)]
pub struct SharedRenewal(pub Arc<dyn AuthorizationRenewal>);

impl fmt::Debug for SharedRenewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRenewal")
    }
}

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
    /// Renews the authorization. `None` if it does not expire.
    pub renewal: Option<SharedRenewal>,
    /// Route of the requests, unless a rule has one. Redirects take it too.
    pub egress: Option<EgressRoute>,
    pub audience: ContentAudience,
}
