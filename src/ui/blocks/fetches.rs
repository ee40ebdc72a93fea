//! Running fetches, failures by host, and open circuits.

use std::time::SystemTime;

use maud::{Markup, html};

use crate::fetch::RunningFetch;
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Shows the running fetches, the oldest first.
pub fn fetches(snapshot: &Snapshot) -> Markup {
    let total = snapshot.gauges.in_flight_fetches;
    html! {
        @if snapshot.fetches.is_empty() { p { "No fetch is running." } } @else {
            @if total > snapshot.fetches.len() as u64 {
                p.note { "The oldest " (snapshot.fetches.len()) " of " (shown::count(total)) "." }
            }
            div.scroll { table id="running-fetches" {
                thead { tr {
                    th { "Target" } th { "Source" } th { "Progress" } th.number { "Average speed" }
                    th.number { "Readers" } th { "Began" }
                } }
                tbody { @for fetch in &snapshot.fetches { (fetch_row(fetch)) } }
            } }
        }
    }
}

fn fetch_row(fetch: &RunningFetch) -> Markup {
    let elapsed = SystemTime::now().duration_since(fetch.began_at);
    let seconds = elapsed.unwrap_or_default().as_secs().max(1);
    html! { tr {
        td { (shown::target_link(&fetch.target.redacted())) }
        td.url {
            @match &fetch.source {
                Some(source) => bdi { (shown::visible(source)) },
                None => "waiting",
            }
        }
        td { (progress(fetch)) }
        td.number { (shown::bytes(fetch.received_bytes / seconds)) "/s" }
        td.number { (fetch.readers) }
        td { (shown::time(fetch.began_at)) }
    } }
}

fn progress(fetch: &RunningFetch) -> Markup {
    html! {
        @if let Some(length) = fetch.length {
            progress max="100" value=(shown::share(fetch.received_bytes, length)) {}
            " " (shown::bytes(fetch.received_bytes)) " of " (shown::bytes(length))
        } @else {
            (shown::bytes(fetch.received_bytes))
        }
    }
}

/// Shows the last failure of each host, the newest first, and the open circuits.
pub fn failures(snapshot: &Snapshot) -> Markup {
    html! {
        @if snapshot.circuits.is_empty() { p { "No circuit is open." } } @else {
            h3 { "Open circuits" }
            ul { @for circuit in &snapshot.circuits { li {
                bdi.url { (shown::visible(&circuit.site)) } " "
                span.badge.bad {
                    @if circuit.is_open_for_all { "for all" } @else { "for some clients" }
                }
                " " (shown::visible(&circuit.error))
            } } }
        }
        @if snapshot.failures.is_empty() {
            p { "No fetch has failed since the start of this process." }
        } @else {
            div.scroll { table id="failures-by-host" {
                thead { tr {
                    th { "Host" } th.number { "Failures" } th { "Last" } th { "Cause" }
                    th { "Target" }
                } }
                tbody { @for failure in &snapshot.failures { tr {
                    td.url { bdi { (shown::visible(&failure.host)) } }
                    td.number { (shown::count(failure.count)) }
                    td { (shown::time(failure.last.at)) }
                    td.text { code { (failure.last.cause.as_str()) } " "
                        (shown::visible(&failure.last.detail)) }
                    td { (shown::target_link(&failure.last.url)) }
                } } }
            } }
        }
    }
}
