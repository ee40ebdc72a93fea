//! Jobs with their progress.

use maud::{Markup, html};

use crate::jobs::{JobState, JobView};
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Bound on the failures of one job that are shown.
pub const MAX_JOB_FAILURES: usize = 20;

/// Shows the jobs, the newest first.
pub fn jobs(snapshot: &Snapshot) -> Markup {
    html! {
        @if snapshot.jobs.is_empty() { p { "There is no job." } } @else {
            div.scroll { table id="job-list-table" {
                thead { tr {
                    th { "Job" } th { "State" } th { "Progress" } th.number { "Failed" }
                    th.number { "Bytes" } th { "Created" } th.operate { "Actions" }
                } }
                tbody { @for job in &snapshot.jobs { (row(job)) } }
            } }
        }
    }
}

fn row(job: &JobView) -> Markup {
    let (spec, progress) = (&job.spec, &job.progress);
    let class = match progress.state {
        JobState::Succeeded => "badge good",
        JobState::Failed => "badge bad",
        JobState::Cancelled => "badge warn",
        _ => "badge",
    };
    let done = shown::share(progress.done as u64, spec.targets as u64);
    html! { tr data-job=(job.id.as_str()) {
        td {
            (spec.kind.as_str())
            @if let Some(to) = spec.to { " to the " (to.as_str()) }
            " " code { (job.id.as_str()) } (failures(job))
        }
        td { span class=(class) { (progress.state.as_str()) } }
        td {
            progress max="100" value=(done) {}
            " " (shown::count(progress.done as u64)) " of " (shown::count(spec.targets as u64))
        }
        td.number { (shown::count(progress.failed as u64)) }
        td.number { (shown::bytes(progress.bytes)) }
        td { (shown::time(spec.created_at)) }
        td.operate {
            @if !progress.state.has_ended() {
                button type="button" data-act="cancel-job" data-job=(job.id.as_str()) {
                    "Cancel"
                }
            }
        }
    } }
}

fn failures(job: &JobView) -> Markup {
    html! {
        @if !job.progress.failures.is_empty() {
            details id={ "job-failures-" (job.id.as_str()) } {
                summary { "Failures" }
                @for failure in job.progress.failures.iter().take(MAX_JOB_FAILURES) {
                    p {
                        // The job itself may fail, without a target.
                        @if !failure.url.is_empty() { (shown::target_link(&failure.url)) " " }
                        (shown::visible(&failure.error))
                    }
                }
            }
        }
    }
}
