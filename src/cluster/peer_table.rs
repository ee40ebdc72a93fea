//! The peers of this node with their states. The main type is [`PeerTable`].

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::link::Link;
use super::node::NodeDocument;
use super::peer_state::PeerState;
use super::traffic::{PeerTraffic, TrafficReading};
use super::urls::{base_of, is_below};
use crate::model::{Target, lock};

/// Maximum number of peers that are found in the shared index.
pub const MAX_FOUND: usize = 64;

/// Time after which a peer that answers, and is missing in the shared index, is no peer any more.
/// The index may have been lost, and all nodes state themselves again.
const MISSING_TIME: Duration = Duration::from_secs(15);

/// The peers of this node.
#[derive(Debug)]
pub struct PeerTable {
    peers: Mutex<Vec<Peer>>,
    /// Counts the changes of states.
    changes: watch::Sender<u64>,
    /// Wakes the poller, because a peer has shown that it runs.
    awake: Arc<Notify>,
}

/// A peer with its state.
#[derive(Debug)]
pub struct Peer {
    pub url: Target,
    pub state: PeerState,
    /// When the state changed last.
    pub since: SystemTime,
    /// The peer did not acknowledge a request after the last poll.
    pub is_suspect: bool,
    /// The next poll asks the peer to poll this node soon.
    pub needs_wake: bool,
    pub node: Option<NodeDocument>,
    pub link: Arc<Link>,
    pub traffic: Arc<PeerTraffic>,
    source: PeerSource,
}

/// Where the URL of a peer is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerSource {
    Configuration,
    Index {
        /// Since when the shared index does not have the peer any more.
        missing_since: Option<Instant>,
    },
}

/// A peer at one time.
#[derive(Debug, Clone)]
pub struct PeerView {
    pub url: Target,
    pub state: PeerState,
    /// When the state changed last.
    pub since: SystemTime,
    /// The next poll asks the peer to poll this node soon.
    pub(super) needs_wake: bool,
    /// Whether the peer was found in the shared index, and is not one of the configuration.
    pub is_found: bool,
    /// The last document of the peer. `None` before the first one.
    pub node: Option<NodeDocument>,
    pub traffic: TrafficReading,
}

impl PeerTable {
    /// Makes a table of the peers at these base URLs.
    pub fn new(urls: Vec<Target>) -> Self {
        let awake = Arc::new(Notify::new());
        let peers = urls
            .into_iter()
            .map(|url| Peer::new(url, &awake, PeerSource::Configuration));
        Self {
            peers: Mutex::new(peers.collect()),
            changes: watch::Sender::new(0),
            awake,
        }
    }

    /// Returns all peers, for a short time.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Peer>> {
        lock(&self.peers)
    }

    /// Polls the peers soon.
    pub fn wake(&self) {
        self.awake.notify_one();
    }

    /// Waits until the peers shall be polled soon.
    pub async fn wait_awake(&self) {
        self.awake.notified().await;
    }

    /// Follows the changes of states.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the peers at this time.
    pub fn views(&self) -> Vec<PeerView> {
        let view = |peer: &Peer| PeerView {
            url: peer.url.clone(),
            state: peer.state,
            since: peer.since,
            needs_wake: peer.needs_wake || !peer.state.was_found(),
            is_found: peer.is_found(),
            node: peer.node.clone(),
            traffic: peer.traffic.read(),
        };
        self.lock().iter().map(view).collect()
    }

    /// Reads the peer of a URL.
    pub fn find<T>(&self, at_peer: &Target, read: impl FnOnce(&Peer) -> T) -> Option<T> {
        let peers = self.lock();
        let found = peers.iter().find(|peer| is_below(at_peer, &peer.url));
        found.map(read)
    }

    /// Waits until a poll of the peer of a URL gets no answer, or the peer is removed.
    pub async fn wait_not_polled(&self, at_peer: &Target) {
        let mut changes = self.changes();
        let is_answering = |peer: &Peer| peer.state != PeerState::Silent;
        while self.find(at_peer, is_answering) == Some(true) {
            // The sender is a field of `self`, so the channel cannot close during the call.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Replaces the peers that were found in the shared index.
    pub fn replace_found(&self, found: &[Target]) {
        let mut peers = self.lock();
        let count = peers.len();
        peers.retain_mut(|peer| peer.stays(found));
        let mut is_changed = peers.len() != count;
        for url in found {
            let found_now = peers.iter().filter(|peer| peer.is_found()).count();
            let is_known = peers.iter().any(|peer| base_of(&peer.url) == base_of(url));
            if found_now < MAX_FOUND && !is_known {
                let source = PeerSource::Index {
                    missing_since: None,
                };
                peers.push(Peer::new(url.clone(), &self.awake, source));
                is_changed = true;
            }
        }
        if is_changed {
            self.changes.send_modify(|count| *count += 1);
            self.awake.notify_one();
        }
    }

    /// Leaves the peer of a URL out until the next poll, because it did not acknowledge a request.
    /// Bodies that the peer is sending go on.
    pub fn suspect(&self, at_peer: &Target) {
        let mut peers = self.lock();
        let found = peers.iter_mut().find(|peer| is_below(at_peer, &peer.url));
        if let Some(peer) = found {
            peer.is_suspect = true;
            self.awake.notify_one();
        }
    }

    /// Records what a poll has found, and logs a change of the state.
    pub fn set_state(&self, url: &Target, state: PeerState, node: Option<NodeDocument>) {
        let mut peers = self.lock();
        let Some(peer) = peers.iter_mut().find(|peer| peer.url == *url) else {
            return;
        };
        peer.is_suspect = false;
        if state.was_found() {
            peer.needs_wake = false;
        }
        // The node is reached by another URL then.
        if node.is_some() && state != PeerState::OtherAddress {
            peer.node = node;
        }
        if peer.state == state {
            return;
        }
        (peer.state, peer.since) = (state, SystemTime::now());
        self.changes.send_modify(|count| *count += 1);
        peer.log_state();
    }
}

impl Peer {
    fn new(url: Target, awake: &Arc<Notify>, source: PeerSource) -> Self {
        Self {
            url,
            state: PeerState::Unknown,
            since: SystemTime::now(),
            is_suspect: false,
            needs_wake: false,
            node: None,
            link: Arc::new(Link::new(Arc::clone(awake))),
            traffic: Arc::default(),
            source,
        }
    }

    /// Whether the peer was found in the shared index.
    pub fn is_found(&self) -> bool {
        self.source != PeerSource::Configuration
    }

    /// Returns whether this is a peer still, if the shared index has these.
    fn stays(&mut self, found: &[Target]) -> bool {
        let PeerSource::Index { missing_since } = &mut self.source else {
            return true;
        };
        if found.iter().any(|url| base_of(url) == base_of(&self.url)) {
            *missing_since = None;
            return true;
        }
        let since = *missing_since.get_or_insert_with(Instant::now);
        let stays = self.state.serves_stored() && since.elapsed() < MISSING_TIME;
        if !stays && self.node.is_some() {
            tracing::info!(peer = self.url.as_str(), "peer has left the shared index");
        }
        stays
    }

    fn log_state(&self) {
        if self.is_found() && self.node.is_none() && self.state == PeerState::Silent {
            // Anybody who may write to Redis could fill the log.
            tracing::debug!(
                peer = self.url.as_str(),
                "nothing answers at a found address"
            );
            return;
        }
        let node = self.node.as_ref();
        let (name, version) = (node.map(|node| &node.name), node.map(|node| &node.version));
        let (peer, text) = (self.url.as_str(), self.state.log_text());
        match self.state {
            PeerState::Ready
            | PeerState::Draining
            | PeerState::Itself
            | PeerState::SameFolder
            | PeerState::Unknown => {
                tracing::info!(peer, name, version, "{text}");
            }
            _ => tracing::warn!(peer, name, version, "{text}"),
        }
    }
}
