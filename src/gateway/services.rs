//! Services that the request path uses. The main type is [`GatewayServices`].

use std::sync::Arc;

use crate::cache::Cache;
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
    pub passthrough: PassThrough,
    pub events: EventSink,
    pub upstream: UpstreamLimits,
}
