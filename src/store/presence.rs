//! The existence map: what is known of targets, for a while.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use super::{Config, StoreError};
use crate::model::{Expected, Key, Record, Sha256};

/// What is known of a target.
#[derive(Debug, Clone)]
pub enum Presence {
    /// It was never stored.
    Absent,
    /// It was stored at least once; its bytes may be evicted since.
    Known(Arc<Known>),
}

/// The records of a target, at least one.
#[derive(Debug)]
pub struct Known {
    answering: Arc<Record>,
    others: Vec<Arc<Record>>,
    is_held: bool,
    is_pinned: bool,
}

impl Known {
    /// Of these records the pinned one answers, else the earliest first seen.
    pub(super) fn new(records: Vec<Record>, pinned: Option<Sha256>, is_held: impl Fn(&Record) -> bool) -> Option<Self> {
        let pinned = records.iter().find(|record| Some(record.sha256) == pinned).cloned();
        let is_pinned = pinned.is_some();
        let answering = pinned.or_else(|| Record::answering(records.clone()))?;
        let others = records.into_iter().filter(|record| record.sha256 != answering.sha256).map(Arc::new).collect();
        Some(Self { is_held: is_held(&answering), is_pinned, answering: Arc::new(answering), others })
    }

    /// The record that answers for the target.
    #[must_use]
    pub fn answering(&self) -> &Arc<Record> {
        &self.answering
    }

    /// The record that answers somebody who expects certain bytes: one that has them, where there is one.
    #[must_use]
    pub fn answering_to(&self, expected: &Expected) -> &Arc<Record> {
        let fits = |record: &&Arc<Record>| record.known_digests().violated(expected).is_none();
        if expected.is_empty() {
            return &self.answering;
        }
        std::iter::once(&self.answering).chain(&self.others).find(fits).unwrap_or(&self.answering)
    }

    /// The records that do not answer, the latest first.
    pub(super) fn others_latest_first(&self) -> Vec<Arc<Record>> {
        let mut others = self.others.clone();
        others.sort_by_key(|record| std::cmp::Reverse((record.first_seen, record.sha256)));
        others
    }

    /// How many records there are.
    pub(super) fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Whether the answering record's bytes were held when somebody looked.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether an operator has said that these are the bytes.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.is_pinned
    }
}

pub struct ExistenceMap {
    cache: Cache<Key, Presence>,
}

impl ExistenceMap {
    pub fn new(config: &Config) -> Self {
        let lifetimes = Lifetimes { present: config.present_ttl.0, absent: config.absent_ttl.0 };
        Self { cache: Cache::builder().max_capacity(config.map_capacity).expire_after(lifetimes).build() }
    }

    pub async fn get(&self, key: Key) -> Option<Presence> {
        self.cache.get(&key).await
    }

    /// What is known, or what `look` finds. Callers for one key share one look; an error is not remembered.
    pub async fn get_or_look(
        &self,
        key: Key,
        look: impl Future<Output = Result<Presence, StoreError>>,
    ) -> Result<Presence, Arc<StoreError>> {
        self.cache.try_get_with(key, look).await
    }

    pub async fn insert(&self, key: Key, presence: Presence) {
        self.cache.insert(key, presence).await;
    }

    pub async fn forget(&self, key: Key) {
        self.cache.invalidate(&key).await;
    }
}

struct Lifetimes {
    present: Duration,
    absent: Duration,
}

impl Lifetimes {
    fn of(&self, presence: &Presence) -> Duration {
        match presence {
            Presence::Known(known) if known.is_held() => self.present,
            Presence::Known(_) | Presence::Absent => self.absent,
        }
    }
}

impl Expiry<Key, Presence> for Lifetimes {
    fn expire_after_create(&self, _: &Key, presence: &Presence, _: Instant) -> Option<Duration> {
        Some(self.of(presence))
    }

    fn expire_after_update(&self, _: &Key, presence: &Presence, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(self.of(presence))
    }
}
