//! The optional index in Redis that the nodes of a cluster share: which nodes there are, and which
//! nodes have a large object.
//!
//! Its content is a hint, which the cluster verifies at the node itself. No lock and no decision
//! depends on it, and everything works without it. This module must not know peers, secrets of the
//! cluster, or stored files. It is the only one that knows the Redis client. Its main type is
//! [`SharedIndex`].

mod bounded_stream;
mod change_queue;
mod commands;
mod connection;
mod error;
mod handle;
mod node_entry;
mod redis_url;
mod state;

pub use connection::check_login;
pub use error::SharedIndexError;
pub use handle::{IndexCounts, SharedIndex};
pub use node_entry::NodeEntry;
pub use redis_url::RedisUrl;
