//! Pools of permits that clients share fairly.
//!
//! A client alone gets at most three quarters of a pool. While others wait, it gets no new permit
//! above `limits.client_share`. Waiting clients are served in turn, then hosts in turn. In a pool
//! that nothing waits for, the last quarter is kept for clients within their share. A permit of
//! such a pool may count several units, such as pages of the cache disk. This module knows no
//! requests and no fetches. Its main type is [`FairPool`].

mod client;
mod fair_pool;
mod ledger;
mod queue;
mod readership;

pub use client::{ClientShare, DEFAULT_SHARE, PoolClient};
pub use fair_pool::{FairPool, PoolExhausted, PoolLevel, PoolPermit};
pub use readership::{HeldPermit, Readership, Reading};
