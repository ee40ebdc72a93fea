//! The outcome of a copy of records and objects, for the result of a target or part.
//!
//! The main function is [`result_of_copy`].

use super::progress::Outcome;
use crate::admin::CopyReport;

/// Returns the outcome of a copy, and the number of bytes that were copied.
pub fn result_of_copy(report: &CopyReport) -> (Outcome, u64) {
    let outcome = match report {
        CopyReport { remaining: 1.., .. } => {
            let count = report.remaining;
            Outcome::failed(&format!(
                "{count} objects remain on this node only: no other node has taken them, or their \
                 records cannot be read"
            ))
        }
        CopyReport { not_taken: 1.., .. } => {
            let count = report.not_taken;
            Outcome::failed(&format!(
                "{count} objects were not copied, because the other node has not stored them; its \
                 log has the reason"
            ))
        }
        CopyReport { damaged: 1.., .. } => {
            let count = report.damaged;
            Outcome::failed(&format!(
                "{count} damaged records or objects were not copied"
            ))
        }
        CopyReport { refused: 1.., .. } => {
            let count = report.refused;
            Outcome::failed(&format!(
                "{count} objects were not copied, because the other node did not send them"
            ))
        }
        CopyReport {
            without_space: 1.., ..
        } => {
            let count = report.without_space;
            Outcome::failed(&format!(
                "{count} objects were not copied, because the disk would evict others for them"
            ))
        }
        CopyReport { copied: 0, .. } => Outcome::Unchanged,
        _ => Outcome::Changed,
    };
    (outcome, report.copied_bytes)
}
