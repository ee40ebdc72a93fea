//! Look-ups in memory, with a time to live. The main type is [`LookupCache`].
//!
//! This file must not read the disk or the bucket. A look-up takes about 350 bytes, so that the
//! targets of a large mirror fit into memory.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;

use super::config::Config;
use super::error::CacheError;
use crate::disk::{ActiveState, TargetLookup, TargetRecords};
use crate::model::{Key, PackedRecord, RecordSet, Target};

/// Results of recent look-ups by target.
pub struct LookupCache {
    known: quick_cache::sync::Cache<Key, TimedLookup>,
    /// Look-ups that run. Without capacity, moka keeps no result and shares those that run.
    running: Cache<Key, TargetLookup>,
    positive_ttl: Duration,
    negative_ttl: Duration,
}

impl LookupCache {
    pub fn new(config: &Config) -> Self {
        let capacity = usize::try_from(config.map_capacity).unwrap_or(usize::MAX);
        Self {
            known: quick_cache::sync::Cache::new(capacity),
            running: Cache::new(0),
            positive_ttl: config.positive_ttl.0,
            negative_ttl: config.negative_ttl.0,
        }
    }

    pub fn get(&self, target: &Target) -> Option<TargetLookup> {
        let timed = self.known.get(&Key::new(target))?;
        timed.is_valid().then(|| timed.lookup.unpack(target))
    }

    /// Awaits `look_up` and keeps its result, unless [`Self::insert`] or [`Self::invalidate`] is
    /// called meanwhile. Concurrent calls for one target share one look-up. Errors are not kept.
    pub async fn look_up(
        &self,
        target: &Target,
        look_up: impl Future<Output = Result<TargetLookup, CacheError>>,
    ) -> Result<TargetLookup, Arc<CacheError>> {
        let key = Key::new(target);
        let look_up = pin!(look_up);
        let found = async {
            self.known.remove_if(&key, |timed| !timed.is_valid());
            let place = match self.known.get_value_or_guard_async(&key).await {
                Ok(timed) => return Ok(timed.lookup.unpack(target)),
                Err(place) => place,
            };
            let found = look_up.await?;
            // The place is lost after `insert` or `invalidate`, because the records may be older.
            let _ = place.insert(self.timed(&found));
            Ok(found)
        };
        self.running.try_get_with(key, found).await
    }

    pub fn insert(&self, key: Key, lookup: &TargetLookup) {
        self.known.insert(key, self.timed(lookup));
    }

    pub fn invalidate(&self, key: Key) {
        self.known.remove(&key);
    }

    /// Frees the memory of look-ups that are no longer valid.
    pub fn remove_expired(&self) {
        let expired = self.known.iter().filter(|(_, timed)| !timed.is_valid());
        // No lock is held over all entries, because requests wait for it.
        for key in expired.map(|(key, _)| key).collect::<Vec<_>>() {
            self.known.remove_if(&key, |timed| !timed.is_valid());
        }
    }

    fn timed(&self, lookup: &TargetLookup) -> TimedLookup {
        TimedLookup {
            lookup: PackedLookup::new(lookup),
            valid_until: Instant::now().checked_add(self.ttl(lookup)),
        }
    }

    /// How long a look-up is kept.
    fn ttl(&self, lookup: &TargetLookup) -> Duration {
        match lookup {
            TargetLookup::Known(records) if records.is_cached() => self.positive_ttl,
            TargetLookup::Known(_)
            | TargetLookup::Unreadable { .. }
            | TargetLookup::NeverStored => self.negative_ttl,
        }
    }
}

#[derive(Clone)]
struct TimedLookup {
    lookup: PackedLookup,
    /// `None` if no clock reaches the time.
    valid_until: Option<Instant>,
}

impl TimedLookup {
    fn is_valid(&self) -> bool {
        self.valid_until.is_none_or(|end| Instant::now() < end)
    }
}

/// Look-up in little memory.
#[derive(Clone)]
enum PackedLookup {
    NeverStored,
    /// The target has one record, as nearly all have.
    Single(Arc<PackedRecord>, ActiveState),
    Other(Arc<TargetLookup>),
}

impl PackedLookup {
    fn new(lookup: &TargetLookup) -> Self {
        let single = match lookup {
            TargetLookup::NeverStored => return Self::NeverStored,
            TargetLookup::Known(records) => records.single(),
            TargetLookup::Unreadable { .. } => None,
        };
        single
            .and_then(|(record, state)| Some((PackedRecord::new(record)?, state)))
            .map_or_else(
                || Self::Other(Arc::new(lookup.clone())),
                |(record, state)| Self::Single(Arc::new(record), state),
            )
    }

    fn unpack(&self, target: &Target) -> TargetLookup {
        match self {
            Self::NeverStored => TargetLookup::NeverStored,
            Self::Single(record, state) => TargetLookup::Known(Arc::new(TargetRecords::new(
                record.unpack(target),
                RecordSet::default(),
                *state,
            ))),
            Self::Other(lookup) => TargetLookup::clone(lookup),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use tokio::sync::oneshot;

    use super::*;
    use crate::model::{Digests, HumanDuration, Record, RecordSource, Sha256};

    fn cache(positive_ttl: Duration) -> LookupCache {
        LookupCache::new(&Config {
            positive_ttl: HumanDuration(positive_ttl),
            ..Config::default()
        })
    }

    fn target() -> Target {
        Target::parse("https://example.org/a.tar.gz").unwrap()
    }

    /// Returns the look-up of a stored target whose digest has `byte` only.
    fn known(byte: u8) -> TargetLookup {
        let digests = Digests {
            sha256: Sha256::from_bytes([byte; 32]),
            others: BTreeMap::new(),
        };
        let source = RecordSource::default();
        let record = Record::new(&target(), digests, 1, SystemTime::UNIX_EPOCH, source);
        let state = ActiveState {
            is_cached: true,
            is_pinned: false,
        };
        let records = TargetRecords::new(record, RecordSet::default(), state);
        TargetLookup::Known(Arc::new(records))
    }

    /// Returns the byte of [`known`].
    fn byte(lookup: &TargetLookup) -> Option<u8> {
        match lookup {
            TargetLookup::Known(records) => Some(records.active().sha256.as_bytes()[0]),
            TargetLookup::NeverStored | TargetLookup::Unreadable { .. } => None,
        }
    }

    #[tokio::test]
    async fn concurrent_calls_share_look_up_and_error() {
        let (cache, target) = (cache(Duration::from_mins(10)), target());
        let (end, ended) = oneshot::channel::<()>();
        let failing = async {
            ended.await.unwrap();
            Err(std::io::Error::other("unreadable").into())
        };
        let second = async { panic!("a second look-up") };
        let ended = async { end.send(()).unwrap() };
        let (first, shared, ()) = tokio::join!(
            cache.look_up(&target, failing),
            cache.look_up(&target, second),
            ended
        );
        assert!(Arc::ptr_eq(&first.unwrap_err(), &shared.unwrap_err()));
        assert!(cache.get(&target).is_none());
        let later = cache.look_up(&target, async { Ok(known(1)) }).await;
        assert_eq!(byte(&later.unwrap()), Some(1));
        assert_eq!(cache.get(&target).as_ref().and_then(byte), Some(1));
    }

    #[tokio::test]
    async fn look_up_that_was_overtaken_is_not_kept() {
        let (cache, target) = (cache(Duration::from_mins(10)), target());
        let key = Key::new(&target);
        let inserting = async {
            cache.insert(key, &known(2));
            Ok(known(1))
        };
        let found = cache.look_up(&target, inserting).await.unwrap();
        assert_eq!(byte(&found), Some(1));
        assert_eq!(cache.get(&target).as_ref().and_then(byte), Some(2));
        cache.invalidate(key);
        let invalidating = async {
            cache.invalidate(key);
            Ok(known(3))
        };
        cache.look_up(&target, invalidating).await.unwrap();
        assert!(cache.get(&target).is_none());
    }

    #[tokio::test]
    async fn expired_look_up_is_made_again_and_freed() {
        let (cache, target) = (cache(Duration::ZERO), target());
        for expected in [1, 2] {
            let found = cache.look_up(&target, async { Ok(known(expected)) }).await;
            assert_eq!(byte(&found.unwrap()), Some(expected));
            assert!(cache.get(&target).is_none());
        }
        assert_eq!(cache.known.len(), 1);
        cache.remove_expired();
        assert_eq!(cache.known.len(), 0);
    }

    #[tokio::test]
    async fn no_capacity_keeps_nothing_and_answers() {
        let cache = LookupCache::new(&Config {
            map_capacity: 0,
            ..Config::default()
        });
        let target = target();
        for expected in [1, 2] {
            let found = cache.look_up(&target, async { Ok(known(expected)) }).await;
            assert_eq!(byte(&found.unwrap()), Some(expected));
        }
        cache.insert(Key::new(&target), &known(3));
        assert!(cache.get(&target).is_none());
    }
}
