//! The nodes of the cluster as this node sees them. The main type is [`Cluster`].

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::config::ClusterSettings;
use super::drain::DrainState;
use super::known_holders::KnownHolders;
use super::link::Link;
use super::link_thread::LinkThread;
use super::mark::{ClusterKey, MarkedRequest, PeerProof, milliseconds};
use super::node::{NodeDocument, NodeIdentity};
use super::owner::{WeightedNode, rank};
use super::owner_order::{OwnerCandidate, OwnerOrder};
use super::peer_state::PeerState;
use super::peer_table::{Peer, PeerTable, PeerView};
use super::refusal::PeerRefusal;
use super::traffic::PeerTraffic;
use super::urls::base_of;
use crate::dial::Dialer;
use crate::model::{Counter, Key, Target};
use crate::origin::Origin;
use crate::policy::Policy;
use crate::shared_index::{NodeEntry, SharedIndex};

/// The nodes of the cluster. Without `[cluster]`, this node alone.
#[derive(Debug)]
pub struct Cluster {
    own: NodeIdentity,
    advertise: Option<Target>,
    /// `None` if this node belongs to no cluster.
    key: Option<ClusterKey>,
    pub(super) table: PeerTable,
    pub(super) links: LinkThread,
    refusals: [Counter; PeerRefusal::ALL.len()],
    drain: DrainState,
    index: Option<Arc<SharedIndex>>,
    pub(super) holders: KnownHolders,
    pub(super) origin: Arc<Origin>,
    pub(super) policy: Arc<Policy>,
    pub(super) dialer: Dialer,
}

/// Parts that the cluster uses.
pub struct ClusterParts {
    pub origin: Arc<Origin>,
    pub policy: Arc<Policy>,
    pub dialer: Dialer,
    pub drain: DrainState,
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
        let (urls, advertise, key, redis) = match settings {
            None => (Vec::new(), None, None, None),
            Some(settings) => {
                let key = ClusterKey::new(settings.secret);
                let (peers, advertise) = (settings.peers, settings.advertise);
                (peers, advertise, Some(key), settings.redis)
            }
        };
        let index = redis.zip(advertise.as_ref()).map(|(url, address)| {
            let entry = NodeEntry {
                id: own.id.clone(),
                address: base_of(address).to_owned(),
                version: own.version.to_owned(),
                layout: own.layout,
            };
            Arc::new(SharedIndex::new(url, entry, dialer.clone()))
        });
        Self {
            links: key
                .as_ref()
                .map_or_else(LinkThread::none, |_| LinkThread::start()),
            own,
            advertise,
            key,
            table: PeerTable::new(urls),
            refusals: Default::default(),
            drain,
            index,
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

    /// Returns the index that the nodes share. `None` without `cluster.redis_url`.
    #[must_use]
    pub fn shared_index(&self) -> Option<&Arc<SharedIndex>> {
        self.index.as_ref()
    }

    /// Returns the URL of this node by its configuration.
    pub(super) fn advertise(&self) -> Option<&Target> {
        self.advertise.as_ref()
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
        self.table.wake();
    }

    /// Returns how many marks were refused, by reason.
    #[must_use]
    pub fn refusals(&self) -> [(PeerRefusal, u64); PeerRefusal::ALL.len()] {
        PeerRefusal::ALL.map(|refusal| (refusal, self.refusals[refusal as usize].get()))
    }

    /// Returns the peers, in the order of the configuration. Those that were found follow.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        self.table.views()
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
        let peers = self.table.lock();
        let usable = peers
            .iter()
            .filter(|peer| peer.state.serves_stored() && !peer.is_suspect)
            .filter(|peer| peer.link.is_usable());
        let mut present: Vec<(&Peer, &NodeDocument)> = Vec::new();
        for peer in usable {
            // A node may be listed by two URLs.
            if let Some(node) = &peer.node
                && present.iter().all(|(_, known)| known.id != node.id)
            {
                present.push((peer, node));
            }
        }
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
            for peer in self.table.lock().iter_mut() {
                peer.needs_wake = true;
            }
            self.wake();
        }
        Ok(())
    }

    /// Follows the changes of states.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.table.changes()
    }

    /// Returns the random number of the process that was found at a URL.
    pub(super) fn run_of(&self, at_peer: &Target) -> Option<String> {
        self.at(at_peer, |peer| Some(peer.node.as_ref()?.run.clone()))?
    }

    /// Returns a fact about the peer of a URL.
    fn at<T>(&self, at_peer: &Target, fact: impl FnOnce(&Peer) -> T) -> Option<T> {
        self.table.find(at_peer, fact)
    }

    /// Returns the identity of the bucket of the peer of a URL. Empty if there is none.
    #[must_use]
    pub fn bucket_of(&self, at_peer: &Target) -> String {
        let bucket = |peer: &Peer| Some(peer.node.as_ref()?.bucket.clone());
        self.at(at_peer, bucket).flatten().unwrap_or_default()
    }

    /// Returns the base URL of the peer that a URL leads to.
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
        let peers = self.table.lock();
        let is_meant = |peer: &&Peer| peer.node.as_ref().is_some_and(|node| node.id == id);
        let meant = peers.iter().filter(is_meant);
        let answering = meant.min_by_key(|peer| !peer.state.serves_stored());
        answering.map(|peer| Arc::clone(&peer.traffic))
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
            () = self.table.wait_not_polled(at_peer) => {}
        }
    }
}
