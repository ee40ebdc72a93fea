//! The records of one target, and the choice of the active one. The main type is [`TargetRecords`].
//!
//! This file must not read the disk.

use std::sync::Arc;

use crate::model::{ExpectedDigests, Record, Sha256};

/// Outcome of looking up a target.
#[derive(Debug, Clone)]
pub enum TargetLookup {
    /// The target was never stored.
    NeverStored,
    /// The target was stored at least once. Its object may have been evicted since.
    Known(Arc<TargetRecords>),
}

/// The records of one target. There is at least one.
#[derive(Debug)]
pub struct TargetRecords {
    active: Arc<Record>,
    others: Vec<Arc<Record>>,
    is_cached: bool,
    is_pinned: bool,
}

impl TargetRecords {
    /// Chooses the active record: the pinned one, otherwise the one seen first. Returns `None`
    /// without records. `is_cached` says whether the object of a record is on the disk.
    #[must_use]
    pub fn new(
        records: Vec<Record>,
        pinned: Option<Sha256>,
        is_cached: impl Fn(&Record) -> bool,
    ) -> Option<Self> {
        let pinned = records
            .iter()
            .find(|record| Some(record.sha256) == pinned)
            .cloned();
        let is_pinned = pinned.is_some();
        let active = pinned.or_else(|| Record::active(records.clone()))?;
        let others = records
            .into_iter()
            .filter(|record| record.sha256 != active.sha256)
            .map(Arc::new)
            .collect();
        Some(Self {
            is_cached: is_cached(&active),
            is_pinned,
            active: Arc::new(active),
            others,
        })
    }

    /// Returns the record that answers for the target.
    #[must_use]
    pub fn active(&self) -> &Arc<Record> {
        &self.active
    }

    /// Returns the record that answers a request with expected digests. Prefers the active record,
    /// then another one with these digests. Returns the active record if no record has them.
    #[must_use]
    pub fn active_for(&self, expected: &ExpectedDigests) -> &Arc<Record> {
        let matches =
            |record: &&Arc<Record>| record.known_digests().first_mismatch(expected).is_none();
        if expected.is_empty() {
            return &self.active;
        }
        std::iter::once(&self.active)
            .chain(&self.others)
            .find(matches)
            .unwrap_or(&self.active)
    }

    /// Returns the records that are not active, the latest first.
    #[must_use]
    pub fn others_latest_first(&self) -> Vec<Arc<Record>> {
        let mut others = self.others.clone();
        others.sort_by_key(|record| std::cmp::Reverse((record.first_seen, record.sha256)));
        others
    }

    /// Returns the number of records.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Returns whether the object of the active record was on the disk at the time of the lookup.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// Returns whether an operator pinned the active record.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.is_pinned
    }
}
