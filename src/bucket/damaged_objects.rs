//! Objects of which one replica has a damaged copy. The main type is [`DamagedObjects`].

use std::time::Duration;

use moka::sync::Cache;

use crate::model::Sha256;

/// Time for which a replica is not asked for an object of which it has a damaged copy.
const DAMAGED_FOR: Duration = Duration::from_hours(1);

/// Bound on the objects that are remembered as damaged.
const MAX_DAMAGED: u64 = 10_000;

/// Objects of which one replica has a damaged copy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DamagedObjects(Cache<Sha256, ()>);

impl Default for DamagedObjects {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MAX_DAMAGED);
        Self(cache.time_to_live(DAMAGED_FOR).build())
    }
}

impl DamagedObjects {
    pub fn add(&self, sha256: Sha256) {
        self.0.insert(sha256, ());
    }

    pub fn has(&self, sha256: Sha256) -> bool {
        self.0.contains_key(&sha256)
    }
}
