//! Restores the bytes of records from the bucket or from upstream.

use std::sync::Arc;

use super::finding_recorder::Repair;
use super::object_check;
use super::report::RepairOutcome;
use crate::cache::Cache;
use crate::fetch::Fetcher;
use crate::model::{Event, EventSink, Record};

/// Bound on the targets that are fetched to restore one object.
const MAX_FETCHED_TARGETS: usize = 8;

/// The cache to repair, and the sources of intact bytes.
pub struct RepairSources {
    pub cache: Cache,
    pub fetcher: Fetcher,
    pub events: EventSink,
}

/// Restores the object that all of `records` name, from the bucket or else from upstream.
pub async fn restore(sources: &RepairSources, records: &[Arc<Record>]) -> Repair {
    let Some(first) = records.first() else {
        return RepairOutcome::Quarantined.into();
    };
    let mut last_error = None;
    match sources.cache.restore(first).await {
        Ok(true) => return emit_repaired(sources, RepairOutcome::Restored, records),
        Ok(false) => {}
        Err(error) => last_error = Some(error.to_string()),
    }
    for record in records.iter().take(MAX_FETCHED_TARGETS) {
        let fetched = sources.fetcher.restore(&record.target, record.sha256).await;
        if let Err(error) = fetched {
            last_error = Some(error.to_string());
            continue;
        }
        match object_check::is_on_disk(&sources.cache, record).await {
            Ok(true) => return emit_repaired(sources, RepairOutcome::Refetched, records),
            Ok(false) => {}
            Err(error) => last_error = Some(error.to_string()),
        }
    }
    Repair {
        outcome: RepairOutcome::Unrecoverable,
        error: last_error,
    }
}

/// Emits the event that resolves the incidents of these targets.
fn emit_repaired(
    sources: &RepairSources,
    outcome: RepairOutcome,
    records: &[Arc<Record>],
) -> Repair {
    let targets = records.iter().map(|record| record.target.clone()).collect();
    sources.events.emit(Event::Repaired { targets });
    outcome.into()
}
