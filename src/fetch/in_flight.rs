//! Registry of the in-flight fetches of this process. The main type is [`InFlightMap`].

use std::collections::HashMap;
use std::sync::Arc;

use super::shared_body::SharedBody;
use crate::model::{ExpectedDigests, Key};

/// Key of an in-flight fetch.
///
/// A request with an expected digest gets a fetch of its own, because a client's wrong digest must
/// not affect other clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FetchKey {
    pub key: Key,
    pub expected: ExpectedDigests,
}

impl FetchKey {
    /// Returns the key of the fetch for all requests without an expected digest.
    pub fn without_digest(key: Key) -> Self {
        Self {
            key,
            expected: ExpectedDigests::nothing(),
        }
    }
}

/// In-flight fetches, grouped by target.
#[derive(Default)]
pub struct InFlightMap {
    by_key: HashMap<Key, Vec<(ExpectedDigests, Arc<SharedBody>)>>,
    count: usize,
}

impl InFlightMap {
    pub fn get(&self, key: Key, expected: &ExpectedDigests) -> Option<&Arc<SharedBody>> {
        self.by_key
            .get(&key)?
            .iter()
            .find(|(other, _)| other == expected)
            .map(|(_, body)| body)
    }

    /// The caller checks that the map has no fetch with this key.
    pub fn insert(&mut self, fetch_key: &FetchKey, body: Arc<SharedBody>) {
        self.by_key
            .entry(fetch_key.key)
            .or_default()
            .push((fetch_key.expected.clone(), body));
        self.count += 1;
    }

    pub fn remove(&mut self, fetch_key: &FetchKey) {
        let Some(fetches) = self.by_key.get_mut(&fetch_key.key) else {
            return;
        };
        if let Some(index) = fetches
            .iter()
            .position(|(expected, _)| *expected == fetch_key.expected)
        {
            fetches.swap_remove(index);
            self.count -= 1;
        }
        if fetches.is_empty() {
            self.by_key.remove(&fetch_key.key);
        }
    }

    /// Whether the target is being fetched, with any expected digest.
    pub fn contains_target(&self, key: Key) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Number of in-flight fetches.
    pub fn count(&self) -> usize {
        self.count
    }
}
