//! Running fetches, failures by host, and open circuits.

use maud::{Markup, html};

use crate::fetch::{ByteOrigin, FetchAim, FetchView, MeterReading};
use crate::policy::SourceKind;
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Fetches that are shown.
const MAX_FETCHES: usize = 20;

/// Shows the running fetches, the oldest first.
pub fn fetches(snapshot: &Snapshot) -> Markup {
    let total = snapshot.fetches.len();
    html! {
        @if snapshot.fetches.is_empty() { p { "No fetch is running." } } @else {
            @if total > MAX_FETCHES {
                p.note { "The oldest " (MAX_FETCHES) " of " (shown::count(total as u64)) "." }
            }
            div.scroll { table id="running-fetches" {
                thead { tr {
                    th { "Target" } th { "Purpose" } th { "Source" } th { "Progress" }
                    th.number { "Speed" } th.number { "Readers" } th.number { "Age" }
                } }
                tbody {
                    @for fetch in snapshot.fetches.iter().take(MAX_FETCHES) { (fetch_row(fetch)) }
                }
            } }
        }
    }
}

fn fetch_row(fetch: &FetchView) -> Markup {
    let reading = &fetch.reading;
    html! { tr {
        td { (shown::target_link(&fetch.target.redacted())) }
        td { (aim(fetch.aim)) }
        td { (reading.origin.map_or("waiting", source)) }
        td { (progress(reading)) }
        td.number { (shown::bytes(reading.bytes_per_second)) "/s" }
        td.number { (reading.readers) }
        td.number { (shown::duration(fetch.age)) }
    } }
}

fn aim(aim: FetchAim) -> &'static str {
    match aim {
        FetchAim::Answer => "answer",
        FetchAim::OtherBytes => "other bytes",
        FetchAim::Refresh => "refresh",
        FetchAim::Revalidation => "revalidation",
        FetchAim::Promotion => "promotion",
    }
}

fn source(origin: ByteOrigin) -> &'static str {
    match origin {
        ByteOrigin::Source(SourceKind::Origin) => "origin",
        ByteOrigin::Source(SourceKind::Mirror) => "mirror",
        ByteOrigin::Source(SourceKind::Parent) => "parent",
        ByteOrigin::Source(SourceKind::Archive) => "archive",
        ByteOrigin::Source(SourceKind::Peer) => "peer",
        ByteOrigin::OtherProcess => "other process",
        ByteOrigin::Bucket => "bucket",
    }
}

fn progress(reading: &MeterReading) -> Markup {
    html! {
        @if let Some(length) = reading.length {
            progress max="100" value=(shown::share(reading.received_bytes, length)) {}
            " " (shown::bytes(reading.received_bytes)) " of " (shown::bytes(length))
        } @else {
            (shown::bytes(reading.received_bytes))
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
