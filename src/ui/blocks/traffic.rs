//! Hit ratio, and bytes served against bytes fetched.

use maud::{Markup, html};

use crate::metrics::TrafficTotals;
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Shows the hit ratio by requests and by bytes.
pub fn hits(snapshot: &Snapshot) -> Markup {
    let row = |name: &str, totals: &TrafficTotals| {
        html! { tr {
            td { (name) }
            td.number { (shown::percent(totals.hit_ratio())) }
            td.number { (shown::percent(totals.byte_hit_ratio())) }
            td.number { (shown::count(totals.hits)) }
            td.number { (shown::count(totals.downloads)) }
            td.number { (shown::count(totals.requests)) }
        } }
    };
    html! {
        div.scroll { table id="hit-ratios" {
            thead { tr {
                th { "Last" } th.number { "By requests" } th.number { "By bytes" }
                th.number { "Hits" } th.number { "Downloads" } th.number { "Requests" }
            } }
            tbody {
                @for period in &snapshot.periods { (row(period.period.name(), &period.totals)) }
                (row("since start", &snapshot.since_start))
            }
        } }
    }
}

/// Shows the bytes sent to clients and those received from origins.
pub fn bytes(snapshot: &Snapshot) -> Markup {
    let row = |name: &str, totals: &TrafficTotals| {
        let saved = totals.sent_bytes.saturating_sub(totals.received_bytes);
        html! { tr {
            td { (name) }
            td.number { (shown::bytes(totals.sent_bytes)) }
            td.number { (shown::bytes(totals.received_bytes)) }
            td.number { (shown::bytes(saved)) }
            td.number { (shown::count(totals.aborted_responses)) }
        } }
    };
    html! {
        div.scroll { table id="traffic-bytes" {
            thead { tr {
                th { "Last" } th.number { "Served" } th.number { "Fetched" } th.number { "Saved" }
                th.number { "Aborted responses" }
            } }
            tbody {
                @for period in &snapshot.periods { (row(period.period.name(), &period.totals)) }
                (row("since start", &snapshot.since_start))
            }
        } }
        p.note {
            "The first known traffic is of " (shown::time(snapshot.traffic_since))
            ". This process has started at " (shown::time(snapshot.started_at)) "."
        }
    }
}
