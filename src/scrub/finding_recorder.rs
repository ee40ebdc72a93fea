//! Counts the findings of one scrub, and reports them.

use std::sync::Arc;

use super::defects::{Defect, DefectAt};
use super::report::{RepairOutcome, ScrubEvent, ScrubFinding, ScrubReport};
use crate::model::{Event, EventSink, Record};

/// Result of a repair, with the reason if it failed.
pub struct Repair {
    pub outcome: RepairOutcome,
    pub error: Option<String>,
}

impl From<RepairOutcome> for Repair {
    fn from(outcome: RepairOutcome) -> Self {
        Self {
            outcome,
            error: None,
        }
    }
}

/// Counts findings and passes them to the caller of the scrub.
pub struct FindingRecorder<'a> {
    events: &'a EventSink,
    is_dry_run: bool,
    show: &'a (dyn Fn(&ScrubEvent<'_>) + Sync),
    pub report: ScrubReport,
}

impl<'a> FindingRecorder<'a> {
    pub fn new(
        events: &'a EventSink,
        is_dry_run: bool,
        show: &'a (dyn Fn(&ScrubEvent<'_>) + Sync),
    ) -> Self {
        Self {
            events,
            is_dry_run,
            show,
            report: ScrubReport::default(),
        }
    }

    pub fn count_intact(&mut self, size_bytes: u64) {
        self.report.objects += 1;
        self.report.size_bytes += size_bytes;
    }

    /// Reports the fraction of the objects that were read.
    pub fn show_progress(&self, fraction: f64) {
        (self.show)(&ScrubEvent::Done(fraction));
    }

    /// Emits the event that opens an incident. Call it before the repair, whose event resolves the
    /// incident. Defects without a target are only logged.
    pub fn emit_corruption(&self, defect: &DefectAt, records: &[Arc<Record>]) {
        if self.is_dry_run || records.is_empty() {
            return;
        }
        let DefectAt { name, detail, .. } = defect;
        let targets = records.iter().map(|record| record.target.clone()).collect();
        self.events.emit(Event::CorruptionFound {
            targets,
            detail: format!("{name}: {detail}"),
        });
    }

    /// Counts and shows one finding.
    pub fn record(&mut self, defect: DefectAt, repair: Repair, records: &[Arc<Record>]) {
        let DefectAt {
            defect,
            name,
            detail,
        } = defect;
        let Repair { outcome, error } = repair;
        let detail = match error {
            Some(error) => format!("{detail}; {error}"),
            None => detail,
        };
        let targets = records
            .iter()
            .map(|record| record.target.redacted())
            .collect();
        *self.counter(defect, outcome) += 1;
        (self.show)(&ScrubEvent::Found(&ScrubFinding {
            defect,
            name,
            outcome,
            detail,
            targets,
        }));
    }

    fn counter(&mut self, defect: Defect, outcome: RepairOutcome) -> &mut u64 {
        match (defect, outcome) {
            (Defect::WritableObject | Defect::UnknownFile, _)
            | (Defect::Orphan | Defect::Missing, RepairOutcome::Unchanged) => {
                &mut self.report.warnings
            }
            (_, outcome) if outcome.is_repaired() => &mut self.report.repaired,
            _ => &mut self.report.unrepaired,
        }
    }
}
