//! Requests of nodes of the cluster: whether this node fetches a target for a peer, and the digest
//! of a body that the peer has followed to its end.

use super::error::RequestError;
use super::request::CacheRequest;
use super::services::GatewayServices;
use crate::cluster::PeerRefusal;
use crate::policy::{Admitted, Class, Requester};

/// Returns whether this node fetches a target for a peer. Nothing is waited for, since the peer
/// waits for the acknowledgement.
///
/// # Errors
/// [`RequestError::PeerRefused`].
pub fn accept(services: &GatewayServices, admitted: &Admitted) -> Result<(), RequestError> {
    if admitted.class() != Class::Immutable {
        return Err(PeerRefusal::Elsewhere.into());
    }
    Ok(services.fetcher.accept_peer(admitted.target())?)
}

impl CacheRequest {
    /// Returns whether a peer has read a body to its end and asks for the digest, which is known a
    /// moment later.
    pub(super) fn asks_for_digest(&self) -> bool {
        self.requester == Requester::Peer && self.only_if_cached
    }
}
