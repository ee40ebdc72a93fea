//! Places a copied record among those that its target has in a destination folder.
//!
//! This file must not know where the record comes from. The main type is [`PlacedRecord`].

use crate::cache::{Cache, CacheError};
use crate::disk::{IoClass, records};
use crate::model::{Acceptance, Record, Sha256, Standing};

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

/// Places a record. Established bytes that are not among `source_digests` were stored by the
/// destination itself, and stay the answer for the target.
///
/// # Errors
/// [`CacheError`] if the disk cannot be read.
pub async fn place(
    to: &Cache,
    record: Record,
    source_digests: &[Sha256],
) -> Result<PlacedRecord, CacheError> {
    let key = record.key();
    let existing = to.disk().run(IoClass::Maintenance, move |disk| {
        records::read_all(&disk.layout, key)
    });
    let existing = existing.await?;
    let mut established = existing
        .readable
        .iter()
        .filter(|known| known.standing == Standing::Established);
    let has_own = established.any(|known| !source_digests.contains(&known.sha256));
    Ok(if has_own {
        PlacedRecord {
            record: existing.place(record, Acceptance::Refused),
            effect: PlacementEffect::Witnessed,
        }
    } else {
        PlacedRecord {
            record,
            effect: PlacementEffect::Unchanged,
        }
    })
}
