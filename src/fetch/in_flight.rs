//! Registry of the in-flight fetches of this process, one for each target and purpose. The main
//! type is [`InFlightMap`].

use std::collections::HashMap;
use std::sync::Arc;

use super::shared_body::SharedBody;
use crate::model::Key;

/// Purpose of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchPurpose {
    /// The bytes that answer for the target. No digest that a client states decides on them.
    Answer,
    /// Bytes that a client states and that the stored answer of the target does not have. Only
    /// clients that state their digest get them.
    OtherBytes,
}

/// In-flight fetches by target. A target has one fetch for its answer, whatever digests its readers
/// expect. A fetch of other bytes is apart, so that readers without a digest never get its body.
#[derive(Default)]
pub struct InFlightMap {
    by_key: HashMap<(Key, FetchPurpose), Arc<SharedBody>>,
}

impl InFlightMap {
    pub fn get(&self, key: Key, purpose: FetchPurpose) -> Option<&Arc<SharedBody>> {
        self.by_key.get(&(key, purpose))
    }

    /// The caller checks that the target has no fetch with this purpose.
    pub fn insert(&mut self, key: Key, purpose: FetchPurpose, body: Arc<SharedBody>) {
        self.by_key.insert((key, purpose), body);
    }

    /// Removes a fetch by its body. A fetch that was abandoned may have a successor already.
    pub fn remove(&mut self, key: Key, purpose: FetchPurpose, body: &SharedBody) {
        let registered = self.get(key, purpose);
        if registered.is_some_and(|other| std::ptr::eq(Arc::as_ptr(other), body)) {
            self.by_key.remove(&(key, purpose));
        }
    }

    /// Number of in-flight fetches.
    pub fn count(&self) -> usize {
        self.by_key.len()
    }
}
