//! Fetches of several processes that share a cache folder.
//!
//! One process at a time holds the lease of a target and fetches. The others follow the file that
//! it stages. This module must not know sources or attempts.

mod heartbeat;
mod lease_record;
mod peer;

pub use lease_record::{LeaseRecord, StagedBody};
pub use peer::{LeaseOutcome, PeerBody, acquire_lease, wait_for_lease_release};
