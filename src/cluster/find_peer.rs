//! Finds the client of a peer by its URL or its identity.
//!
//! The entry points are functions of [`PeerClient`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::membership::Cluster;
use super::peer_client::PeerClient;
use super::peer_error::PeerError;
use super::urls::base_of;
use crate::model::Target;

impl PeerClient {
    /// Returns the client for the peer with this URL.
    ///
    /// # Errors
    /// [`PeerError::NotListed`], or [`PeerError::Unfit`] if nothing can be copied from the peer.
    pub fn find(cluster: &Arc<Cluster>, url: &str) -> Result<Self, PeerError> {
        let is_meant =
            |peer: &Target| base_of(peer) == url.trim_end_matches('/') || peer.as_str() == url;
        let peers = cluster.peers().into_iter();
        let peer = peers.map(|peer| peer.url).find(is_meant);
        let client = Self {
            url: peer.ok_or_else(|| PeerError::NotListed(url.to_owned()))?,
            cluster: Arc::clone(cluster),
        };
        client.state()?;
        Ok(client)
    }

    /// Returns the client for the peer with this URL once it answers polls. Waits for a peer that
    /// may be found in the shared index again.
    ///
    /// # Errors
    /// As [`PeerClient::find`], and [`PeerError::Silent`], at the latest after `limit`.
    pub async fn await_present(
        cluster: &Arc<Cluster>,
        url: &str,
        limit: Duration,
    ) -> Result<Self, PeerError> {
        let mut changes = cluster.changes();
        let waiting = async {
            loop {
                let error = match Self::find(cluster, url) {
                    Ok(peer) if peer.state()?.is_some() => return Ok(peer),
                    Ok(_) => None,
                    Err(error) => Some(error),
                };
                if let Some(error) = error.filter(|error| !Self::may_return(cluster, error)) {
                    return Err(error);
                }
                // The sender is a field of the cluster, so the channel cannot close.
                let _ = changes.changed().await;
            }
        };
        let found = timeout(limit, waiting).await;
        found.unwrap_or_else(|_| Err(Self::find(cluster, url)?.silent()))
    }

    /// Returns the client for the peer with this identity. Waits up to `limit` for an unknown one,
    /// since a node that has just started does not know the identities of its peers.
    ///
    /// # Errors
    /// As [`PeerClient::find`].
    pub async fn await_id(
        cluster: &Arc<Cluster>,
        id: &str,
        limit: Duration,
    ) -> Result<Self, PeerError> {
        let mut changes = cluster.changes();
        let waiting = async {
            loop {
                match Self::find_by_id(cluster, id) {
                    Err(PeerError::NotListed(_)) => {}
                    found => return found,
                }
                // The sender is a field of the cluster, so the channel cannot close.
                let _ = changes.changed().await;
            }
        };
        let found = timeout(limit, waiting).await;
        found.unwrap_or_else(|_| Self::find_by_id(cluster, id))
    }

    /// Whether an error of a peer may pass. A peer of the shared index is not listed while it is
    /// restarted.
    #[must_use]
    pub fn may_return(cluster: &Cluster, error: &PeerError) -> bool {
        let may_be_found = cluster.shared_index().is_some();
        error.is_transient() || (may_be_found && matches!(error, PeerError::NotListed(_)))
    }

    /// Returns the client for the peer with this identity. One that answers comes first.
    ///
    /// # Errors
    /// As [`PeerClient::find`].
    pub fn find_by_id(cluster: &Arc<Cluster>, id: &str) -> Result<Self, PeerError> {
        let mut peers = cluster.peers();
        peers.retain(|peer| peer.node.as_ref().is_some_and(|node| node.id == id));
        let peer = peers.iter().min_by_key(|peer| !peer.state.serves_stored());
        let url = peer.map(|peer| base_of(&peer.url).to_owned());
        Self::find(
            cluster,
            &url.ok_or_else(|| PeerError::NotListed(id.to_owned()))?,
        )
    }

    /// Returns the client for the peer that a URL leads to.
    #[must_use]
    pub fn of_url(cluster: &Arc<Cluster>, at_peer: &Target) -> Option<Self> {
        Some(Self {
            url: cluster.peer_of(at_peer)?,
            cluster: Arc::clone(cluster),
        })
    }
}
