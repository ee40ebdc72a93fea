//! The nodes of the cluster as this node sees them. The main type is [`Cluster`].

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::config::ClusterSettings;
use super::known_holders::KnownHolders;
use super::link::Link;
use super::link_thread::LinkThread;
use super::mark::{ClusterKey, MarkedRequest, PeerProof, milliseconds};
use super::node::{NodeDocument, NodeIdentity};
use super::owner::{WeightedNode, rank};
use super::peer_state::PeerState;
use super::refusal::PeerRefusal;
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
    node: Option<NodeDocument>,
    link: Arc<Link>,
}

/// A peer at one time.
#[derive(Debug, Clone)]
pub struct PeerView {
    pub url: Target,
    pub state: PeerState,
    /// When the state changed last.
    pub since: SystemTime,
    /// The last document of the peer. `None` before the first one.
    pub node: Option<NodeDocument>,
}

impl Cluster {
    /// Contacts no peer. [`Cluster::run`] does that.
    #[must_use]
    pub fn new(
        own: NodeIdentity,
        settings: Option<ClusterSettings>,
        (origin, dialer): (Arc<Origin>, Dialer),
        policy: Arc<Policy>,
    ) -> Self {
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
            node: None,
            link: Arc::new(Link::new(Arc::clone(&awake))),
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
        self.own
            .document(ready, milliseconds(SystemTime::now()), advertise)
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
            node: peer.node.clone(),
        };
        lock(&self.peers).iter().map(view).collect()
    }

    /// Returns the names of this node and the ready peers, the owner of the key first.
    #[must_use]
    pub fn owners(&self, key: Key) -> Vec<String> {
        let name_of = |peer: Option<(&Target, &NodeDocument)>| {
            peer.map_or(&self.own.name, |(_, node)| &node.name).clone()
        };
        self.in_order(key, |peer| Some(name_of(peer)))
    }

    /// Returns the base URLs of the ready peers that own a key before this node does, the owner
    /// first. Empty if this node owns the key.
    #[must_use]
    pub fn owners_before_self(&self, key: Key) -> Vec<Target> {
        self.in_order(key, |peer| peer.map(|(url, _)| url.clone()))
    }

    /// Calls `visit` for this node (`None`) and the ready peers, the owner of the key first, until
    /// `visit` returns `None`.
    fn in_order<T>(
        &self,
        key: Key,
        visit: impl Fn(Option<(&Target, &NodeDocument)>) -> Option<T>,
    ) -> Vec<T> {
        let peers = lock(&self.peers);
        let ready = peers
            .iter()
            .filter(|peer| peer.state == PeerState::Ready && !peer.is_suspect)
            .filter(|peer| peer.link.is_usable());
        let ready: Vec<(&Target, &NodeDocument)> = ready
            .filter_map(|peer| Some((&peer.url, peer.node.as_ref()?)))
            .collect();
        let own = WeightedNode {
            id: &self.own.id,
            space_bytes: self.own.space_bytes,
        };
        let others = ready.iter().map(|(_, node)| WeightedNode {
            id: &node.id,
            space_bytes: node.space_bytes,
        });
        let candidates: Vec<_> = std::iter::once(own).chain(others).collect();
        let peer_at = |at: usize| at.checked_sub(1).map(|at| ready[at]);
        let order = rank(key.as_bytes(), &candidates);
        order
            .into_iter()
            .map_while(|at| visit(peer_at(at)))
            .collect()
    }

    /// Follows the changes of states.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns the random number of the process that was found at a URL.
    pub(super) fn run_of(&self, at_peer: &Target) -> Option<String> {
        let peers = lock(&self.peers);
        let peer = peers.iter().find(|peer| is_below(at_peer, &peer.url))?;
        peer.node.as_ref().map(|node| node.run.clone())
    }

    /// Returns the link to the peer of a URL.
    pub(super) fn link_to(&self, at_peer: &Target) -> Option<Arc<Link>> {
        let peers = lock(&self.peers);
        let found = peers.iter().find(|peer| is_below(at_peer, &peer.url));
        found.map(|peer| Arc::clone(&peer.link))
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
            PeerState::Ready | PeerState::Itself | PeerState::SameFolder | PeerState::Unknown => {
                tracing::info!(peer, name, version, "{text}");
            }
            _ => tracing::warn!(peer, name, version, "{text}"),
        }
    }
}

/// Returns whether a URL is one below a base URL.
fn is_below(url: &Target, base: &Target) -> bool {
    let base = base.as_str().trim_end_matches('/');
    let rest = url.as_str().strip_prefix(base);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
