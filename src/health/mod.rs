//! Whether this node should get requests.
//!
//! Knows the disk's health. Does not know who asks. Its main type is [`Readiness`].

mod readiness;

pub use readiness::{Readiness, channel, watch};
