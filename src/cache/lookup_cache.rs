//! Look-ups in memory, with a time to live.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use super::config::Config;
use super::error::CacheError;
use crate::disk::TargetLookup;
use crate::model::Key;

/// Results of recent look-ups by target.
pub struct LookupCache {
    cache: Cache<Key, TargetLookup>,
}

impl LookupCache {
    pub fn new(config: &Config) -> Self {
        let lifetimes = LookupTtl {
            positive: config.positive_ttl.0,
            negative: config.negative_ttl.0,
        };
        Self {
            cache: Cache::builder()
                .max_capacity(config.map_capacity)
                .expire_after(lifetimes)
                .build(),
        }
    }

    pub async fn get(&self, key: Key) -> Option<TargetLookup> {
        self.cache.get(&key).await
    }

    /// Returns the look-up in memory, or else awaits `look_up` and keeps its result. Concurrent
    /// calls for one key share one look-up. Errors are not kept.
    pub async fn get_or_look_up(
        &self,
        key: Key,
        look_up: impl Future<Output = Result<TargetLookup, CacheError>>,
    ) -> Result<TargetLookup, Arc<CacheError>> {
        self.cache.try_get_with(key, look_up).await
    }

    pub async fn insert(&self, key: Key, lookup: TargetLookup) {
        self.cache.insert(key, lookup).await;
    }

    pub async fn invalidate(&self, key: Key) {
        self.cache.invalidate(&key).await;
    }
}

/// How long hits and misses are kept.
struct LookupTtl {
    positive: Duration,
    negative: Duration,
}

impl LookupTtl {
    fn ttl(&self, lookup: &TargetLookup) -> Duration {
        match lookup {
            TargetLookup::Known(records) if records.is_cached() => self.positive,
            TargetLookup::Known(_)
            | TargetLookup::Unreadable { .. }
            | TargetLookup::NeverStored => self.negative,
        }
    }
}

impl Expiry<Key, TargetLookup> for LookupTtl {
    fn expire_after_create(&self, _: &Key, lookup: &TargetLookup, _: Instant) -> Option<Duration> {
        Some(self.ttl(lookup))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        lookup: &TargetLookup,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.ttl(lookup))
    }
}
