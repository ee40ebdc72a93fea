//! Memory of the peers that have an object, so that many requests for one object ask the peers
//! once.
//!
//! The main type is [`KnownHolders`].

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::model::Sha256;

/// Time for which the holders of an object are remembered. A peer that has evicted the object
/// answers a client with 404, which then asks another source.
const REMEMBERED: Duration = Duration::from_secs(15);

/// Bound on the objects whose holders are remembered.
const MAX_REMEMBERED: u64 = 1024;

/// URLs of objects at the peers that were found lately.
#[derive(Debug, Clone)]
pub struct KnownHolders(pub(super) Cache<Sha256, Arc<Vec<String>>>);

impl Default for KnownHolders {
    fn default() -> Self {
        let known = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_live(REMEMBERED);
        Self(known.build())
    }
}
