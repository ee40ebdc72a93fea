//! Memory of stated digests that upstream does not have.
//!
//! A client that states a digest which no stored object of a target has makes Millpond ask the
//! origin. A wrong digest must cost upstream nothing twice, and many wrong ones little. The main
//! type is [`DigestRefusals`].

use std::time::Duration;

use moka::sync::Cache;

use crate::limits::PoolClient;
use crate::model::{ExpectedDigests, Key, Sha256};

/// Bound on the remembered digests.
const MAX_REFUSALS: u64 = 100_000;

/// Bound on the targets whose requests for other bytes are counted, and on their clients.
const MAX_COUNTED: u64 = 100_000;

/// Requests for other bytes of one target by one client within `cache.negative_ttl`. A new release
/// needs one, and a client that guesses digests gets no more.
const MAX_REQUESTS_OF_CLIENT: u32 = 2;

/// Requests for other bytes of one target by all clients in that time. A client that guesses leaves
/// some for the others.
const MAX_REQUESTS: u32 = 8;

/// Digests that clients stated and upstream did not have. Cheap to clone.
#[derive(Clone)]
pub struct DigestRefusals {
    found: Cache<(Key, ExpectedDigests), Sha256>,
    /// Requests of each client, and of all clients.
    requests: Cache<(Key, Option<PoolClient>), u32>,
}

impl DigestRefusals {
    pub fn new(ttl: Duration) -> Self {
        Self {
            found: Cache::builder()
                .max_capacity(MAX_REFUSALS)
                .time_to_live(ttl)
                .build(),
            requests: Cache::builder()
                .max_capacity(MAX_COUNTED)
                .time_to_live(ttl)
                .build(),
        }
    }

    /// Remembers that the target has the bytes `found` instead of those with the stated digests.
    pub fn remember(&self, key: Key, stated: ExpectedDigests, found: Sha256) {
        self.found.insert((key, stated), found);
    }

    /// Returns the digest that the target had when upstream was asked for the stated digests.
    pub fn get(&self, key: Key, stated: &ExpectedDigests) -> Option<Sha256> {
        self.found.get(&(key, stated.clone()))
    }

    /// Counts a client's request for other bytes of a target. Returns false if there were too many.
    pub fn count_request(&self, key: Key, client: PoolClient) -> bool {
        let bounds = [(Some(client), MAX_REQUESTS_OF_CLIENT), (None, MAX_REQUESTS)];
        let counted = |client| self.requests.get(&(key, client)).unwrap_or_default();
        let is_allowed = bounds.iter().all(|(client, max)| counted(*client) < *max);
        if is_allowed {
            for (client, _) in bounds {
                self.requests.insert((key, client), counted(client) + 1);
            }
        }
        is_allowed
    }
}
