//! The nodes of the cluster as this node sees them. The main type is [`Cluster`].

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::config::{ClusterSettings, is_below};
use super::drain::DrainState;
use super::known_holders::KnownHolders;
use super::link::Link;
use super::link_thread::LinkThread;
use super::mark::{ClusterKey, MarkedRequest, PeerProof, milliseconds};
use super::node::{NodeDocument, NodeIdentity};
use super::owner::{WeightedNode, rank};
use super::owner_order::{OwnerCandidate, OwnerOrder};
use super::peer_state::PeerState;
use super::refusal::PeerRefusal;
use super::traffic::{PeerTraffic, TrafficReading};
use crate::dial::Dialer;
use crate::model::{Counter, Key, Target, lock};
use crate::origin::Origin;
use crate::policy::Policy;

/// The nodes of the cluster. Without `[cluster]`, this node alone.
#[derive(Debug)]
pub struct Cluster {
    own: NodeIdentity,
    advertise: Option<Target>,
    /// `None` if this node belongs to no cluster.
    key: Option<ClusterKey>,
    peers: Mutex<Vec<Peer>>,
    /// Counts the changes of states.
    changes: watch::Sender<u64>,
    /// Wakes the poller, because a peer has shown that it runs.
    pub(super) awake: Arc<Notify>,
    pub(super) links: LinkThread,
    refusals: [Counter; PeerRefusal::ALL.len()],
    drain: DrainState,
    pub(super) holders: KnownHolders,
    pub(super) origin: Arc<Origin>,
    pub(super) policy: Arc<Policy>,
    pub(super) dialer: Dialer,
}

#[derive(Debug)]
struct Peer {
    url: Target,
    state: PeerState,
    /// When the state changed last.
    since: SystemTime,
    /// The peer did not acknowledge a request after the last poll.
    is_suspect: bool,
    /// The next poll asks the peer to poll this node soon.
    needs_wake: bool,
    node: Option<NodeDocument>,
    link: Arc<Link>,
    traffic: Arc<PeerTraffic>,
}

/// Parts that the cluster uses.
pub struct ClusterParts {
    pub origin: Arc<Origin>,
    pub policy: Arc<Policy>,
    pub dialer: Dialer,
    pub drain: DrainState,
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
    /// The last document of the peer. `None` before the first one.
    pub node: Option<NodeDocument>,
    pub traffic: TrafficReading,
}

impl Cluster {
    /// Contacts no peer. [`Cluster::run`] does that.
    #[must_use]
    pub fn new(own: NodeIdentity, settings: Option<ClusterSettings>, parts: ClusterParts) -> Self {
        let ClusterParts {
            origin,
            policy,
            dialer,
            drain,
        } = parts;
        let (urls, advertise, key) = match settings {
            None => (Vec::new(), None, None),
            Some(settings) => {
                let key = ClusterKey::new(settings.secret);
                (settings.peers, settings.advertise, Some(key))
            }
        };
        let awake = Arc::new(Notify::new());
        let peer = |url| Peer {
            url,
            state: PeerState::Unknown,
            since: SystemTime::now(),
            is_suspect: false,
            needs_wake: false,
            node: None,
            link: Arc::new(Link::new(Arc::clone(&awake))),
            traffic: Arc::default(),
        };
        Self {
            links: key
                .as_ref()
                .map_or_else(LinkThread::none, |_| LinkThread::start()),
            own,
            advertise,
            key,
            peers: Mutex::new(urls.into_iter().map(peer).collect()),
            changes: watch::Sender::new(0),
            awake,
            refusals: Default::default(),
            drain,
            holders: KnownHolders::default(),
            origin,
            policy,
            dialer,
        }
    }

    /// Returns the key of the cluster. `None` if this node belongs to no cluster.
    #[must_use]
    pub fn key(&self) -> Option<&ClusterKey> {
        self.key.as_ref()
    }

    /// Returns the facts about this node.
    #[must_use]
    pub fn own(&self) -> &NodeIdentity {
        &self.own
    }

    /// Returns what this node states about itself.
    #[must_use]
    pub fn document(&self, ready: bool) -> NodeDocument {
        let advertise = self.advertise.as_ref().map(Target::as_str);
        let now = milliseconds(SystemTime::now());
        self.own
            .document((ready, self.is_draining()), now, advertise)
    }

    /// Checks the mark of a request.
    ///
    /// # Errors
    /// [`PeerRefusal`]. It is counted.
    pub fn verify(
        &self,
        received: MarkedRequest<'_>,
        mark: &str,
    ) -> Result<PeerProof, PeerRefusal> {
        let key = self.key.as_ref().ok_or(PeerRefusal::Secret)?;
        let verified = key.verify(received, mark, SystemTime::now());
        verified.inspect_err(|refusal| self.refusals[*refusal as usize].increment())
    }

    /// Polls the peers soon, because one of them has shown that it does not know this node yet.
    pub fn wake(&self) {
        self.awake.notify_one();
    }

    /// Returns how many marks were refused, by reason.
    #[must_use]
    pub fn refusals(&self) -> [(PeerRefusal, u64); PeerRefusal::ALL.len()] {
        PeerRefusal::ALL.map(|refusal| (refusal, self.refusals[refusal as usize].get()))
    }

    /// Returns the peers, in the order of the configuration.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        let view = |peer: &Peer| PeerView {
            url: peer.url.clone(),
            state: peer.state,
            since: peer.since,
            needs_wake: peer.needs_wake || !peer.state.was_found(),
            node: peer.node.clone(),
            traffic: peer.traffic.read(),
        };
        lock(&self.peers).iter().map(view).collect()
    }

    /// Returns the names of this node and the ready peers, the owner of the key first.
    #[must_use]
    pub fn owners(&self, key: Key) -> Vec<String> {
        self.in_order(key).names()
    }

    /// Returns the base URLs of the peers that are asked for a target before the origin. Those that
    /// drain and owned it come first, since they may have it. The ready peers that own it before
    /// this node does follow, the owner first. Empty if this node owns the key.
    #[must_use]
    pub fn owners_before_self(&self, key: Key) -> Vec<Target> {
        self.in_order(key).before_self()
    }

    /// Returns the base URLs of the ready peers, in the order in which they own a key.
    #[must_use]
    pub fn next_owners(&self, key: Key) -> Vec<Target> {
        self.in_order(key).others()
    }

    /// Returns this node, the ready peers and those that drain, the owner of the key first.
    fn in_order(&self, key: Key) -> OwnerOrder {
        let peers = lock(&self.peers);
        let present = peers
            .iter()
            .filter(|peer| peer.state.serves_stored() && !peer.is_suspect)
            .filter(|peer| peer.link.is_usable());
        let present: Vec<(&Peer, &NodeDocument)> = present
            .filter_map(|peer| Some((peer, peer.node.as_ref()?)))
            .collect();
        let own = WeightedNode {
            id: &self.own.id,
            space_bytes: self.own.space_bytes,
        };
        let others = present.iter().map(|(_, node)| WeightedNode {
            id: &node.id,
            space_bytes: node.space_bytes,
        });
        let candidates: Vec<_> = std::iter::once(own).chain(others).collect();
        let candidate = |at: usize| match at.checked_sub(1).map(|at| present[at]) {
            None => OwnerCandidate {
                url: None,
                name: self.own.name.clone(),
                is_draining: self.drain.is_on(),
            },
            Some((peer, node)) => OwnerCandidate {
                url: Some(peer.url.clone()),
                name: node.name.clone(),
                is_draining: peer.state == PeerState::Draining,
            },
        };
        let order = rank(key.as_bytes(), &candidates);
        OwnerOrder(order.into_iter().map(candidate).collect())
    }

    /// Whether this node owns nothing any more, and serves what it has.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_on()
    }

    /// Begins or ends the draining of this node, also for the next process, and has the peers ask
    /// for it. Blocks.
    ///
    /// # Errors
    /// The system's error if the state folder cannot be written.
    pub fn set_draining(&self, is_on: bool) -> io::Result<()> {
        if self.drain.set(is_on)? {
            tracing::info!(is_on, "draining of this node has changed");
            for peer in lock(&self.peers).iter_mut() {
                peer.needs_wake = true;
            }
            self.wake();
        }
        Ok(())
    }

    /// Follows the changes of states.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the random number of the process that was found at a URL.
    pub(super) fn run_of(&self, at_peer: &Target) -> Option<String> {
        self.at(at_peer, |peer| Some(peer.node.as_ref()?.run.clone()))?
    }

    /// Returns a fact about the peer of a URL.
    fn at<T>(&self, at_peer: &Target, fact: impl FnOnce(&Peer) -> T) -> Option<T> {
        let peers = lock(&self.peers);
        let mut found = peers.iter().filter(|peer| is_below(at_peer, &peer.url));
        found.next().map(fact)
    }

    /// Returns the identity of the bucket of the peer of a URL. Empty if there is none.
    #[must_use]
    pub fn bucket_of(&self, at_peer: &Target) -> String {
        let bucket = |peer: &Peer| Some(peer.node.as_ref()?.bucket.clone());
        self.at(at_peer, bucket).flatten().unwrap_or_default()
    }

    /// Returns the URL of the configuration of the peer that a URL leads to.
    pub(super) fn peer_of(&self, at_peer: &Target) -> Option<Target> {
        self.at(at_peer, |peer| peer.url.clone())
    }

    /// Returns the counts of the peer of a URL.
    pub(super) fn traffic_of(&self, at_peer: &Target) -> Option<Arc<PeerTraffic>> {
        self.at(at_peer, |peer| Arc::clone(&peer.traffic))
    }

    /// Returns the counts of the peer that has stated this identity.
    #[must_use]
    pub fn traffic_with(&self, id: &str) -> Option<Arc<PeerTraffic>> {
        let peers = lock(&self.peers);
        let is_meant = |peer: &&Peer| peer.node.as_ref().is_some_and(|node| node.id == id);
        peers
            .iter()
            .find(is_meant)
            .map(|peer| Arc::clone(&peer.traffic))
    }

    /// Returns the link to the peer of a URL.
    pub(super) fn link_to(&self, at_peer: &Target) -> Option<Arc<Link>> {
        self.at(at_peer, |peer| Arc::clone(&peer.link))
    }

    /// Answers the pings of a peer on its connection. Returns `None` if this node has no links.
    #[must_use]
    pub fn answer_pings(&self, stream: TcpStream) -> Option<AbortOnDropHandle<()>> {
        self.links.answer_pings(stream)
    }

    /// Waits until the peer of a URL does not answer pings or polls.
    pub async fn wait_silent(&self, at_peer: &Target) {
        let Some(link) = self.link_to(at_peer) else {
            return;
        };
        tokio::select! {
            () = link.wait_silent() => {}
            () = self.wait_not_polled(at_peer) => {}
        }
    }

    async fn wait_not_polled(&self, at_peer: &Target) {
        let mut changes = self.changes.subscribe();
        loop {
            let is_silent =
                |peer: &Peer| peer.state == PeerState::Silent && is_below(at_peer, &peer.url);
            if lock(&self.peers).iter().any(is_silent) {
                return;
            }
            // The sender is a field of `self`, so the channel cannot close during the call.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Leaves the peer of a URL out until the next poll, because it did not acknowledge a request.
    /// Bodies that the peer is sending go on.
    pub(super) fn suspect(&self, at_peer: &Target) {
        let mut peers = lock(&self.peers);
        let found = peers.iter_mut().find(|peer| is_below(at_peer, &peer.url));
        if let Some(peer) = found {
            peer.is_suspect = true;
            self.awake.notify_one();
        }
    }

    /// Records what a poll has found, and logs a change of the state.
    pub(super) fn set_state(&self, url: &Target, state: PeerState, node: Option<NodeDocument>) {
        let mut peers = lock(&self.peers);
        let Some(peer) = peers.iter_mut().find(|peer| peer.url == *url) else {
            return;
        };
        peer.is_suspect = false;
        if state.was_found() {
            peer.needs_wake = false;
        }
        if node.is_some() {
            peer.node = node;
        }
        if peer.state == state {
            return;
        }
        (peer.state, peer.since) = (state, SystemTime::now());
        self.changes.send_modify(|count| *count += 1);
        let node = peer.node.as_ref();
        let (name, version) = (node.map(|node| &node.name), node.map(|node| &node.version));
        let (peer, text) = (url.as_str(), state.log_text());
        match state {
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
