//! Services that the request path uses. The main type is [`GatewayServices`].

use std::sync::Arc;

use super::request::CacheRequest;
use crate::cache::{Cache, Verification};
use crate::cluster::Cluster;
use crate::fetch::Fetcher;
use crate::limits::UpstreamLimits;
use crate::model::EventSink;
use crate::passthrough::PassThrough;
use crate::policy::Policy;

/// Services that the request path uses.
pub struct GatewayServices {
    pub policy: Arc<Policy>,
    pub cache: Cache,
    pub fetcher: Fetcher,
    pub cluster: Arc<Cluster>,
    pub passthrough: PassThrough,
    pub events: EventSink,
    pub upstream: UpstreamLimits,
}

impl GatewayServices {
    /// Returns the verification of stored objects for a request.
    pub(super) fn verification(&self, request: &CacheRequest) -> Verification<'_> {
        let client = self.policy.pool_client(request.client);
        self.cache.verification().for_client(client)
    }
}
