//! Readiness of this instance for requests.
//!
//! This module knows the health of the cache disk. It does not know its users, `/readyz` and DNS
//! failover. Its main type is [`Readiness`].

mod readiness;

pub use readiness::{Readiness, channel, watch};
