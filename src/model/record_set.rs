//! The records of one target, and the choice of the one that answers. No clock takes part in it.
//!
//! This file must not read the disk or the bucket. Its main type is [`RecordSet`].

use std::num::NonZeroU64;
use std::time::SystemTime;

use super::{Record, Sha256, Standing};

/// Number that a target's first record has.
const FIRST_GENERATION: NonZeroU64 = NonZeroU64::MIN;

/// Place of a record among those of its target. The lowest one answers.
///
/// A record without a generation was written by version 0.1.0, and precedes all others. Such
/// records are ordered by their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordOrder {
    standing: Standing,
    generation: Option<NonZeroU64>,
    first_seen: Option<SystemTime>,
    sha256: Sha256,
}

impl RecordOrder {
    /// Returns the place of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let generation = record.generation;
        Self {
            standing: record.standing,
            generation,
            first_seen: generation.is_none().then_some(record.first_seen),
            sha256: record.sha256,
        }
    }
}

/// Reason why the file of a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadableReason {
    /// The content is damaged, or the file cannot be read.
    Damaged,
    /// A newer release wrote the file, which must stay as it is.
    NewerVersion,
    /// The content is the record of another target, so the object may belong to that one.
    OtherTarget,
}

/// A record that cannot be read. Its name is the digest of the bytes that the target had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableRecord {
    pub sha256: Sha256,
    pub reason: UnreadableReason,
}

/// The record that answers for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// No record may answer.
    Nothing,
    Record(&'a Record),
    /// The target must have these bytes, although the file of the record cannot be read.
    Unreadable(UnreadableRecord),
}

/// All records of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordSet {
    pub readable: Vec<Record>,
    pub unreadable: Vec<UnreadableRecord>,
}

impl RecordSet {
    /// Returns the number of records.
    #[must_use]
    pub fn count(&self) -> usize {
        self.readable.len() + self.unreadable.len()
    }

    /// Returns the digests of all records.
    pub fn digests(&self) -> impl Iterator<Item = Sha256> {
        let readable = self.readable.iter().map(|record| record.sha256);
        readable.chain(self.unreadable.iter().map(|record| record.sha256))
    }

    /// Chooses the record that answers. `pinned` are the digests of the target's pins, the newest
    /// first.
    #[must_use]
    pub fn answer(&self, pinned: &[Sha256]) -> Answer<'_> {
        let newest_pin = pinned
            .iter()
            .find(|pinned| self.digests().any(|sha256| sha256 == **pinned));
        if let Some(pinned) = newest_pin {
            return self.by_digest(*pinned);
        }
        let first = self.first_established();
        // A generation that is missing before the first one is that of an unreadable record.
        let may_follow_another =
            first.is_none_or(|first| first.generation > Some(FIRST_GENERATION));
        let unreadable = self.unreadable.iter().min_by_key(|record| record.sha256);
        match (unreadable, first) {
            (Some(unreadable), _) if may_follow_another => Answer::Unreadable(*unreadable),
            (_, Some(first)) => Answer::Record(first),
            (_, None) => Answer::Nothing,
        }
    }

    fn by_digest(&self, sha256: Sha256) -> Answer<'_> {
        let readable = self.readable.iter().find(|record| record.sha256 == sha256);
        let unreadable = self.unreadable.iter();
        let mut unreadable = unreadable.filter(|record| record.sha256 == sha256);
        readable.map_or_else(
            || {
                unreadable
                    .next()
                    .map_or(Answer::Nothing, |record| Answer::Unreadable(*record))
            },
            Answer::Record,
        )
    }

    fn first_established(&self) -> Option<&Record> {
        self.readable
            .iter()
            .filter(|record| record.standing == Standing::Established)
            .min_by_key(|record| RecordOrder::of(record))
    }

    /// Gives a new record the generation behind all others. It is witnessed if the target has other
    /// bytes already, unless an operator accepts it.
    #[must_use]
    pub fn place(&self, record: Record, acceptance: Acceptance) -> Record {
        let generations = self.readable.iter().filter_map(|known| known.generation);
        let newest = generations.map(NonZeroU64::get).max().unwrap_or(0);
        // Records without a known generation count as one generation each.
        let next = newest.max(self.count() as u64).saturating_add(1);
        let is_other = |sha256: Sha256| sha256 != record.sha256;
        let established = self
            .readable
            .iter()
            .filter(|known| known.standing == Standing::Established);
        let has_others = established.map(|known| known.sha256).any(is_other)
            || self
                .unreadable
                .iter()
                .map(|known| known.sha256)
                .any(is_other);
        let standing = match acceptance {
            Acceptance::Refused => Standing::Witnessed,
            Acceptance::IfFirst if has_others => Standing::Witnessed,
            Acceptance::IfFirst | Acceptance::Accepted => Standing::Established,
        };
        let mut placed = record;
        placed.generation = NonZeroU64::new(next);
        placed.standing = standing;
        // The same bytes keep their place, unless the new one is better.
        let mut same = self.readable.iter();
        if let Some(same) = same.find(|known| known.sha256 == placed.sha256)
            && RecordOrder::of(same) < RecordOrder::of(&placed)
        {
            placed.generation = same.generation;
            placed.standing = same.standing;
            placed.first_seen = same.first_seen;
        }
        placed
    }

    /// Gives a record that replaces an unreadable one the first generation that no other has.
    /// Behind an established record it is only witnessed.
    #[must_use]
    pub fn place_rebuilt(&self, record: Record) -> Record {
        let is_taken = |generation: &NonZeroU64| {
            let mut others = self.readable.iter();
            others.any(|other| other.generation == Some(*generation))
        };
        let bound = self.readable.len() as u64 + 1;
        let generation = (1..=bound)
            .filter_map(NonZeroU64::new)
            .find(|free| !is_taken(free));
        let has_earlier = self
            .readable
            .iter()
            .any(|other| other.standing == Standing::Established && other.generation < generation);
        let mut placed = record;
        placed.generation = generation;
        if has_earlier {
            placed.standing = Standing::Witnessed;
        }
        placed
    }
}

/// Whether new bytes of a target are accepted as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// An operator accepts them, also in place of others.
    Accepted,
    /// They are accepted unless the target has others on record.
    IfFirst,
    /// The target has others, also if no record of them is on this disk.
    Refused,
}
