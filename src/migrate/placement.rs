//! Places a copied record among those that its target has in the destination.
//!
//! This file must not know where the records come from. The main type is [`PlacedRecord`].

use crate::model::{Acceptance, Record, RecordOrder, RecordSet, Standing};

/// A record with its generation and standing in the destination.
pub struct PlacedRecord {
    pub record: Record,
    pub effect: PlacementEffect,
}

/// Effect of the destination's own records on a copied one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementEffect {
    /// The record has its place of the source.
    Unchanged,
    /// The destination has other bytes. They stay the answer, and the record is witnessed.
    Witnessed,
}

impl PlacedRecord {
    /// Returns a record of a target that the destination does not have.
    pub fn unchanged(record: Record) -> Self {
        Self {
            record,
            effect: PlacementEffect::Unchanged,
        }
    }

    /// Places a record among those of the destination. Established bytes that do not have the same
    /// place in the source were stored by the destination itself, and stay the answer.
    pub fn among(existing: &RecordSet, source: &RecordSet, record: Record) -> Self {
        let is_of_source = |known: &Record| {
            let mut copies = source.readable.iter();
            copies.any(|copy| RecordOrder::of(copy) == RecordOrder::of(known))
        };
        let mut readable = existing.readable.iter();
        let has_own =
            readable.any(|known| known.standing == Standing::Established && !is_of_source(known));
        let mut unreadable = existing.unreadable.iter();
        // An unreadable record may answer, and copies are readable.
        let has_own = has_own || unreadable.any(|known| known.sha256 != record.sha256);
        if has_own {
            Self {
                record: existing.place(record, Acceptance::Refused),
                effect: PlacementEffect::Witnessed,
            }
        } else {
            Self::unchanged(record)
        }
    }
}
