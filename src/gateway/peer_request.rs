//! Requests of nodes of the cluster: whether this node fetches a target for a peer, and the digest
//! of a body that the peer has followed to its end.

use super::error::RequestError;
use super::request::CacheRequest;
use super::services::GatewayServices;
use crate::cache::TargetLookup;
use crate::cluster::PeerRefusal;
use crate::model::Target;
use crate::policy::{Admitted, Class, Requester};

/// Returns whether this node fetches a target for a peer. Nothing is waited for, since the peer
/// waits for the acknowledgement. A node that drains looks the target up, and fetches nothing.
///
/// # Errors
/// [`RequestError::PeerRefused`].
pub async fn accept(services: &GatewayServices, admitted: &Admitted) -> Result<(), RequestError> {
    if admitted.class() != Class::Immutable {
        return Err(PeerRefusal::Elsewhere.into());
    }
    let target = admitted.target();
    if services.fetcher.is_draining() && !has_body(services, target).await {
        return Err(PeerRefusal::Draining.into());
    }
    Ok(services.fetcher.accept_peer(target)?)
}

/// Returns whether this node has the body of a target, or fetches it and asks no peer.
async fn has_body(services: &GatewayServices, target: &Target) -> bool {
    match services.cache.lookup(target).await {
        Ok(TargetLookup::Known(records)) if records.is_cached() => true,
        _ => services.fetcher.is_fetching_alone(target),
    }
}

impl CacheRequest {
    /// Returns whether a peer has read a body to its end and asks for the digest, which is known a
    /// moment later.
    pub(super) fn asks_for_digest(&self) -> bool {
        self.requester == Requester::Peer && self.only_if_cached
    }
}
