//! Nodes of one cluster: how they find each other, and what they refuse.

mod config;
mod marks;
mod nodes;
pub mod stage;
