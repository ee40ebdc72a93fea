//! Nodes of one cluster: which peers this node has, whether they are ready, and which node owns a
//! key.
//!
//! Peers prove a shared secret to each other ([`ClusterKey`]). A peer that is silent or does not
//! fit is left out, and this node serves alone. This module must not know clients, fetches or
//! stored files. Its main type is [`Cluster`].

mod ask;
mod config;
mod drain;
mod find_peer;
mod found_peers;
mod holders;
mod known_holders;
mod link;
mod link_thread;
mod mark;
mod membership;
mod node;
mod offered_pieces;
mod open_link;
mod owner;
mod owner_order;
mod peer_client;
mod peer_error;
mod peer_state;
mod peer_table;
mod poll;
mod refusal;
mod replay;
mod traffic;
mod urls;

pub use ask::{FETCH_METHOD, MarkedHeaders, ORIGIN_TAG_FIELD, proven_content};
pub use config::{ClusterSettings, Config};
pub use drain::DrainState;
pub use found_peers::run_shared_index;
pub use holders::holders_of;
pub use mark::{
    ANY_RECIPIENT, ClusterKey, MARK_FIELD, Mark, MarkedRequest, PROOF_FIELD, PeerProof,
    REFUSAL_FIELD,
};
pub use membership::{Cluster, ClusterParts};
pub use node::{NodeDocument, NodeIdentity};
pub use offered_pieces::OfferedPieces;
pub use open_link::{LINK_CONTENT, LINK_REQUEST};
pub use owner::{WeightedNode, rank};
pub use peer_client::{PeerClient, PeerObject};
pub use peer_error::PeerError;
pub use peer_state::PeerState;
pub use peer_table::PeerView;
pub use poll::{NODE_PATH, POLL_REQUEST, WAKE_FIELD};
pub use refusal::{Nonce, PeerRefusal};
pub use traffic::{PeerTraffic, SENDER_FIELD, TrafficReading};
