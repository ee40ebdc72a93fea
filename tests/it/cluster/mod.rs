//! Nodes of one cluster: how they find each other, and what they refuse.

mod config;
mod drains;
pub mod fake_peer;
mod fetches;
mod handovers;
mod images;
mod kept_objects;
mod lost_owners;
mod marks;
mod nodes;
mod partitions;
mod restarts;
mod shared_index;
mod shared_index_failures;
pub mod stage;
mod warm;
