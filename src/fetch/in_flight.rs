//! Registry of the in-flight fetches of this process, one for each target and purpose. The main
//! type is [`InFlightMap`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::shared_body::SharedBody;
use crate::model::{Key, Target};

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
    by_key: HashMap<(Key, FetchPurpose), InFlightFetch>,
}

/// One in-flight fetch.
pub struct InFlightFetch {
    pub target: Target,
    pub began_at: SystemTime,
    pub body: Arc<SharedBody>,
}

impl InFlightMap {
    pub fn get(&self, key: Key, purpose: FetchPurpose) -> Option<&Arc<SharedBody>> {
        self.by_key.get(&(key, purpose)).map(|fetch| &fetch.body)
    }

    /// Returns all in-flight fetches.
    pub fn iter(&self) -> impl Iterator<Item = &InFlightFetch> {
        self.by_key.values()
    }

    /// The caller checks that the target has no fetch with this purpose.
    pub fn insert(&mut self, target: &Target, purpose: FetchPurpose, body: Arc<SharedBody>) {
        let fetch = InFlightFetch {
            target: target.clone(),
            began_at: SystemTime::now(),
            body,
        };
        self.by_key.insert((Key::new(target), purpose), fetch);
    }

    pub fn remove(&mut self, key: Key, purpose: FetchPurpose) {
        self.by_key.remove(&(key, purpose));
    }

    /// Number of in-flight fetches.
    pub fn count(&self) -> usize {
        self.by_key.len()
    }
}
