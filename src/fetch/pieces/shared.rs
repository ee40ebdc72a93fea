//! Common state of bodies that come in pieces: the memory for pieces, and the peers that have sent
//! wrong ones. The main type is [`PeerPieces`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::connection::PiecedObject;
use crate::cluster::{Cluster, PeerClient, holders_of};
use crate::model::{Cause, Event, EventSink, Sha256, Target, lock};

/// Maximum number of pieces in memory, of all bodies together. A piece has 1 MiB.
const MAX_PLACES: usize = 128;

/// Pieces that each body has in memory beside those with a place of their own: the one that is
/// returned next, and the one that arrives.
const PLACES_OF_BODY: u32 = 2;

/// How long a peer that has sent a wrong piece is asked for no pieces.
const DISTRUST_TIME: Duration = Duration::from_mins(10);

/// Longest wait for the list of pieces of one peer.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// State of all bodies of this process that come in pieces.
pub struct PeerPieces {
    cluster: Arc<Cluster>,
    events: EventSink,
    pub(super) places: Arc<Semaphore>,
    /// Base URLs of peers that have sent wrong pieces, of which the configuration bounds the
    /// number, and until when they are asked for none.
    distrusted: Mutex<HashMap<String, Instant>>,
}

/// An object and its sources.
pub struct PreparedPieces {
    pub object: PiecedObject,
    /// Peers that have the object, the best first.
    pub peers: Vec<PeerClient>,
    /// Peer that has stated the digests of the pieces.
    pub list_peer: PeerClient,
    /// Memory of the body while it has no other.
    pub places: OwnedSemaphorePermit,
}

impl PeerPieces {
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, events: EventSink) -> Self {
        Self {
            cluster,
            events,
            places: Arc::new(Semaphore::new(MAX_PLACES)),
            distrusted: Mutex::default(),
        }
    }

    /// Finds the pieces of an object that a peer sends, and the other peers that have it. Returns
    /// `None` if the peer must send it alone, also because too many pieces are in memory.
    pub(super) async fn prepare(
        self: Arc<Self>,
        sending: PeerClient,
        sha256: Sha256,
        size_bytes: u64,
    ) -> Option<PreparedPieces> {
        let places = Arc::clone(&self.places).try_acquire_many_owned(PLACES_OF_BODY);
        let places = places.ok()?;
        let holders = holders_of(&self.cluster, sha256).await;
        let found = holders.iter().filter_map(|url| Target::parse(url).ok());
        let found = found.filter_map(|url| PeerClient::of_url(&self.cluster, &url));
        let others = found.filter(|peer| peer.url() != sending.url());
        let peers: Vec<_> = [sending.clone()].into_iter().chain(others).collect();
        let trusted = peers.into_iter().filter(|peer| self.trusts(peer));
        let peers: Vec<_> = trusted.collect();
        if peers.iter().all(|peer| peer.url() == sending.url()) {
            return None;
        }
        for peer in &peers {
            let asked = timeout(LIST_TIMEOUT, peer.pieces(sha256)).await;
            let list = match asked {
                Ok(Ok(Some(list))) => list,
                Ok(Ok(None)) | Err(_) => continue,
                Ok(Err(error)) => {
                    tracing::debug!(%error, %sha256, "pieces of an object are not known");
                    continue;
                }
            };
            if list.size_bytes() == size_bytes {
                let (list_peer, object) = (peer.clone(), PiecedObject { sha256, list });
                return Some(PreparedPieces {
                    object,
                    peers,
                    list_peer,
                    places,
                });
            }
            self.distrust(peer, sha256, "states pieces of another size");
        }
        None
    }

    fn trusts(&self, peer: &PeerClient) -> bool {
        let distrusted = lock(&self.distrusted);
        let until = distrusted.get(peer.url());
        until.is_none_or(|until| *until <= Instant::now())
    }

    /// Asks a peer for no more pieces for a while. Logs and reports the reason, once in that time.
    pub(super) fn distrust(&self, peer: &PeerClient, sha256: Sha256, reason: &str) {
        if !self.trusts(peer) {
            return;
        }
        let until = Instant::now() + DISTRUST_TIME;
        lock(&self.distrusted).insert(peer.url().to_owned(), until);
        let url = peer.object_url(sha256);
        tracing::warn!(
            peer = peer.url(),
            %sha256,
            reason,
            "peer is asked for no pieces for ten minutes"
        );
        if let Ok(target) = Target::parse(&url) {
            self.events.emit(Event::FetchFailed {
                target,
                cause: Cause::ChecksumMismatch,
                detail: format!("peer {} {reason}", peer.url()),
                client: None,
            });
        }
    }
}
