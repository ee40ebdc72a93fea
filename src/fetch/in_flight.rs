//! Registry of the in-flight fetches of this process, one for each target. The main type is
//! [`InFlightMap`].

use std::collections::HashMap;
use std::sync::Arc;

use super::shared_body::SharedBody;
use crate::model::Key;

/// In-flight fetches by target. A target has one fetch, whatever digests its readers expect.
#[derive(Default)]
pub struct InFlightMap {
    by_key: HashMap<Key, Arc<SharedBody>>,
}

impl InFlightMap {
    pub fn get(&self, key: Key) -> Option<&Arc<SharedBody>> {
        self.by_key.get(&key)
    }

    /// The caller checks that the target has no fetch.
    pub fn insert(&mut self, key: Key, body: Arc<SharedBody>) {
        self.by_key.insert(key, body);
    }

    pub fn remove(&mut self, key: Key) {
        self.by_key.remove(&key);
    }

    /// Number of in-flight fetches.
    pub fn count(&self) -> usize {
        self.by_key.len()
    }
}
