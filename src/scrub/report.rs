//! Options, findings and results of a scrub.

use serde::Serialize;

use super::defects::Defect;
use crate::model::Rate;

/// Options of a scrub.
#[derive(Debug, Clone, Copy)]
pub struct ScrubOptions {
    /// Share of all objects to read, above 0 and at most 1.
    pub share: f64,
    /// Whether names, records and index are checked too.
    pub checks_metadata: bool,
    /// Whether defects are only reported, and nothing is changed or fetched.
    pub is_dry_run: bool,
    /// Bound on the bytes read per second.
    pub rate: Rate,
}

/// Result of repairing a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairOutcome {
    /// Restored from the bucket, or a record from its object.
    Restored,
    /// Fetched again from upstream.
    Refetched,
    /// Moved to quarantine. No record names the object, so no request needs it.
    Quarantined,
    /// Removed from the index.
    RemovedFromIndex,
    /// No source has the bytes. The next request and the next scrub try again.
    Unrecoverable,
    /// Nothing was changed.
    Unchanged,
}

impl RepairOutcome {
    /// Whether the defect was repaired.
    #[must_use]
    pub fn is_repaired(self) -> bool {
        !matches!(self, Self::Unrecoverable | Self::Unchanged)
    }
}

/// A defect, and the result of its repair.
#[derive(Debug, Clone, Serialize)]
pub struct ScrubFinding {
    pub defect: Defect,
    /// Path within the folder.
    pub name: String,
    pub outcome: RepairOutcome,
    pub detail: String,
    /// URLs of the targets that have these bytes, without secrets.
    pub targets: Vec<String>,
}

/// Counts of one scrub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ScrubReport {
    /// Intact objects.
    pub objects: u64,
    /// Total size of the intact objects.
    pub size_bytes: u64,
    /// Records that were read.
    pub records: u64,
    /// Defects that were repaired.
    pub repaired: u64,
    /// Defects that remain.
    pub unrepaired: u64,
    /// Unusual files that do no harm.
    pub warnings: u64,
}

/// Progress of a scrub.
pub enum ScrubEvent<'a> {
    Found(&'a ScrubFinding),
    /// Fraction of the objects in this scrub that were read, from 0 to 1.
    Done(f64),
}
