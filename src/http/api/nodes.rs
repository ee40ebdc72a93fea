//! `GET /api/v1/nodes`: this node and its peers, as this node sees them. Only readers may see them,
//! since they name machines of the operator.

use serde::Serialize;
use utoipa::ToSchema;

use super::node::{NodeFacts, own_facts};
use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::Moment;
use crate::admin::{AdminError, ListReader};
use crate::cluster::{PeerState, PeerView};
use crate::http::state::HttpService;
use crate::model::Key;

/// The nodes of the cluster.
#[derive(Serialize, ToSchema)]
pub struct NodeList {
    own: NodeFacts,
    /// Whether `cluster.secret` is set.
    is_cluster: bool,
    /// The peers of the configuration, and those that were found in Redis.
    peers: Vec<PeerEntry>,
    /// Names of the ready nodes for `url`, its owner first. Null without `url`.
    owners: Option<Vec<String>>,
}

/// A peer, as this node sees it.
#[derive(Serialize, ToSchema)]
pub struct PeerEntry {
    /// URL of the configuration, or the one that was found.
    url: String,
    /// Whether the peer was found in Redis, and is not one of the configuration.
    is_found: bool,
    state: PeerStateName,
    /// When the state changed last.
    since: Moment,
    /// Facts that the peer has stated last. Null before its first answer.
    node: Option<NodeFacts>,
    /// Bytes of bodies that this process has received from the peer.
    received_bytes: u64,
    /// Bytes of bodies that this process has sent to the peer.
    sent_bytes: u64,
}

/// State of a peer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerStateName {
    /// Not asked yet.
    Unknown,
    Ready,
    /// The peer states that it is not ready.
    Unready,
    /// The peer serves what it has, and owns nothing any more.
    Draining,
    /// No answer of a node.
    Silent,
    WrongSecret,
    /// Another version of Millpond, or another layout of the cache folder.
    OtherVersion,
    /// The clocks differ by more than 30 seconds.
    WrongClock,
    /// The peer was found at another URL than the one that it states.
    OtherAddress,
    /// The URL is that of this node.
    Itself,
    /// A process with the same cache folder.
    SameFolder,
}

/// Lists this node and its peers
#[utoipa::path(
    get, path = "/api/v1/nodes", operation_id = "listNodes", tag = "nodes",
    params(("url" = Option<String>, Query, description = "Adds the owners of this target")),
    responses((status = 200, description = "The nodes", body = NodeList)),
    security(("reader" = []), ("operator" = [])),
)]
pub fn list(
    service: &HttpService,
    _reader: &ListReader,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let target = query.has_url().then(|| query.target()).transpose()?;
    query.finish()?;
    let peers = service.cluster.peers();
    ok(&NodeList {
        own: own_facts(service),
        is_cluster: service.cluster.key().is_some(),
        peers: peers.into_iter().map(Into::into).collect(),
        owners: target.map(|target| service.cluster.owners(Key::new(&target))),
    })
}

impl From<PeerView> for PeerEntry {
    fn from(peer: PeerView) -> Self {
        Self {
            url: peer.url.redacted(),
            is_found: peer.is_found,
            state: peer.state.into(),
            since: peer.since.into(),
            node: peer.node.map(Into::into),
            received_bytes: peer.traffic.received_bytes,
            sent_bytes: peer.traffic.sent_bytes,
        }
    }
}

impl From<PeerState> for PeerStateName {
    fn from(state: PeerState) -> Self {
        match state {
            PeerState::Unknown => Self::Unknown,
            PeerState::Ready => Self::Ready,
            PeerState::Unready => Self::Unready,
            PeerState::Draining => Self::Draining,
            PeerState::Silent => Self::Silent,
            PeerState::WrongSecret => Self::WrongSecret,
            PeerState::OtherVersion => Self::OtherVersion,
            PeerState::WrongClock => Self::WrongClock,
            PeerState::OtherAddress => Self::OtherAddress,
            PeerState::Itself => Self::Itself,
            PeerState::SameFolder => Self::SameFolder,
        }
    }
}
