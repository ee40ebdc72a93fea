//! Jobs with their progress.

use maud::{Markup, html};

use crate::jobs::{JobState, JobView};
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Jobs that are shown.
const MAX_JOBS: usize = 20;

/// Failures of one job that are shown.
const MAX_FAILURES: usize = 20;

/// Shows the jobs, the newest first.
pub fn jobs(snapshot: &Snapshot) -> Markup {
    html! {
        @if snapshot.jobs.is_empty() { p { "There is no job." } } @else {
            div.scroll { table id="job-list-table" {
                thead { tr {
                    th { "Job" } th { "State" } th { "Progress" } th.number { "Failed" }
                    th.number { "Bytes" } th { "Created" } th.operate { "Actions" }
                } }
                tbody { @for job in snapshot.jobs.iter().take(MAX_JOBS) { (row(job)) } }
            } }
        }
    }
}

fn row(job: &JobView) -> Markup {
    let counts = &job.counts;
    let class = match job.state {
        JobState::Succeeded => "badge good",
        JobState::Failed => "badge bad",
        JobState::Cancelled => "badge warn",
        _ => "badge",
    };
    let done = shown::share(counts.done as u64, counts.targets as u64);
    html! { tr data-job=(job.id.as_str()) {
        td { (job.kind.as_str()) " " code { (job.id.as_str()) } (failures(job)) }
        td { span class=(class) { (job.state.as_str()) } }
        td {
            progress max="100" value=(done) {}
            " " (shown::count(counts.done as u64)) " of " (shown::count(counts.targets as u64))
        }
        td.number { (shown::count(counts.failed as u64)) }
        td.number { (shown::bytes(counts.bytes)) }
        td { (shown::time(job.created_at)) }
        td.operate {
            @if !job.state.has_ended() {
                button type="button" data-act="cancel-job" data-job=(job.id.as_str()) {
                    "Cancel"
                }
            }
        }
    } }
}

fn failures(job: &JobView) -> Markup {
    html! {
        @if !job.failures.is_empty() {
            details id={ "job-failures-" (job.id.as_str()) } {
                summary { "Failures" }
                @for failure in job.failures.iter().take(MAX_FAILURES) {
                    p { (shown::target_link(&failure.url)) " " (shown::visible(&failure.error)) }
                }
            }
        }
    }
}
