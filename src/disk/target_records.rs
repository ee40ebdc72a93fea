//! The records of one target, and the choice of the active one. The main type is [`TargetRecords`].
//!
//! This file must not read the disk.

use std::sync::Arc;

use crate::model::{ExpectedDigests, Record, RecordOrder, RecordSet, UnreadableRecord};

/// Outcome of looking up a target.
#[derive(Debug, Clone)]
pub enum TargetLookup {
    /// The target was never stored, or has only bytes that no operator has accepted.
    NeverStored,
    /// The target must have these bytes. Their record cannot be read.
    Unreadable {
        record: UnreadableRecord,
        is_pinned: bool,
    },
    /// The target was stored at least once. Its object may have been evicted since.
    Known(Arc<TargetRecords>),
}

/// The records of one target. There is at least one.
#[derive(Debug)]
pub struct TargetRecords {
    active: Arc<Record>,
    others: Vec<Arc<Record>>,
    unreadable: Vec<UnreadableRecord>,
    state: ActiveState,
}

/// State of the record that answers.
#[derive(Debug, Clone, Copy)]
pub struct ActiveState {
    /// Whether the object of the record is on the disk.
    pub is_cached: bool,
    /// Whether an operator pinned the record.
    pub is_pinned: bool,
}

impl TargetRecords {
    /// Creates the records of a target, of which `active` answers.
    #[must_use]
    pub fn new(active: Record, records: RecordSet, state: ActiveState) -> Self {
        let others = records
            .readable
            .into_iter()
            .filter(|record| record.sha256 != active.sha256)
            .map(Arc::new)
            .collect();
        Self {
            active: Arc::new(active),
            others,
            unreadable: records.unreadable,
            state,
        }
    }

    /// Returns the record and its state if the target has no other record.
    #[must_use]
    pub fn single(&self) -> Option<(&Record, ActiveState)> {
        let is_single = self.others.is_empty() && self.unreadable.is_empty();
        is_single.then_some((&self.active, self.state))
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
        self.all().find(matches).unwrap_or(&self.active)
    }

    /// Returns the records that cannot be read. None of them is active.
    #[must_use]
    pub fn unreadable(&self) -> &[UnreadableRecord] {
        &self.unreadable
    }

    /// Returns the records that are not active, the latest first.
    #[must_use]
    pub fn others_latest_first(&self) -> Vec<Arc<Record>> {
        let mut others = self.others.clone();
        others.sort_by_key(|record| std::cmp::Reverse(RecordOrder::of(record)));
        others
    }

    /// Returns all records, the active one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        std::iter::once(&self.active).chain(&self.others)
    }

    /// Returns whether the object of the active record was on the disk at the time of the lookup.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.state.is_cached
    }

    /// Returns whether an operator pinned the active record.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.state.is_pinned
    }
}
