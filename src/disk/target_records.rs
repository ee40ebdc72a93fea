//! The records of one target, and which of them is the answer.

use std::sync::Arc;

use crate::model::{ExpectedDigests, Record, Sha256};

/// Outcome of looking a target up.
#[derive(Debug, Clone)]
pub enum TargetLookup {
    /// The target was never stored.
    NeverStored,
    /// The target was stored at least once. Its object may have been evicted since.
    Known(Arc<TargetRecords>),
}

/// The records of a target, at least one.
#[derive(Debug)]
pub struct TargetRecords {
    active: Arc<Record>,
    others: Vec<Arc<Record>>,
    is_cached: bool,
    is_pinned: bool,
}

impl TargetRecords {
    /// Chooses the active record: the pinned one, else the one first seen. `None` without records.
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

    /// The record that answers for the target.
    #[must_use]
    pub fn active(&self) -> &Arc<Record> {
        &self.active
    }

    /// The record that answers a request with expected digests: one that has them, if there is one.
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

    /// The records that are not active, the latest first.
    #[must_use]
    pub fn others_latest_first(&self) -> Vec<Arc<Record>> {
        let mut others = self.others.clone();
        others.sort_by_key(|record| std::cmp::Reverse((record.first_seen, record.sha256)));
        others
    }

    /// Number of records.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Whether the active record's object was on the disk at the time of the look-up.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// Whether an operator pinned the active record.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.is_pinned
    }
}
