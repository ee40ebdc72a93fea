//! Invalidation of stored responses after a request that may have changed something at the origin.
//! The main function is [`invalidate`].

use super::request::RequestMethod;
use super::response::CacheResponse;
use super::services::GatewayServices;
use crate::freshness::invalidates;
use crate::model::{Key, Target};

/// Removes stored responses after a request that has changed something at the origin (RFC 9111,
/// section 4.4). A target with a canonical alias is stored under that.
pub async fn invalidate(
    services: &GatewayServices,
    target: &Target,
    method: &RequestMethod,
    response: &CacheResponse,
) {
    let (RequestMethod::Other(method), CacheResponse::PassThrough(passed)) = (method, response)
    else {
        return;
    };
    if !invalidates(method, passed.status) {
        return;
    }
    let named = passed.headers.iter();
    let named = named.filter(|(name, _)| matches!(name.as_str(), "location" | "content-location"));
    let named = named.filter_map(|(_, value)| target.join(std::str::from_utf8(value).ok()?).ok());
    // Another host could otherwise remove what it did not send.
    let named = named.filter(|named| named.has_same_authority(target));
    for target in std::iter::once(target.clone()).chain(named) {
        let stored = services.policy.cache_target(&target);
        let is_aliased = stored != target;
        for target in std::iter::once(target).chain(is_aliased.then_some(stored)) {
            let key = Key::new(&target);
            if let Err(error) = services.fetcher.remove_stored(key).await {
                tracing::warn!(%error, %key, "stored responses could not be removed");
            }
        }
    }
}
