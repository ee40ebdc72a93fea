//! Targets whose bytes have changed, and bytes that were refused.

use maud::{Markup, html};

use crate::ui::shown;
use crate::ui::snapshot::{ChangedTarget, OtherBytes, Snapshot};

/// Shows targets that have returned other bytes than before, with both digests.
pub fn changed(snapshot: &Snapshot) -> Markup {
    html! {
        @if snapshot.changed.is_empty() {
            p { "No target has changed since the start of this process, or all are decided." }
        }
        @for target in &snapshot.changed { (one(target)) }
    }
}

fn one(target: &ChangedTarget) -> Markup {
    html! {
        article.changed {
            p { (shown::target_link(&target.url)) }
            div.scroll { table {
                thead { tr {
                    th { "Bytes" } th { "SHA-256" } th.number { "Size" } th { "First seen" }
                    th { "Source" } th.operate { "Decision" }
                } }
                tbody {
                    @if let Some(active) = &target.active { (row(target, "before", active)) }
                    @for other in &target.others { (row(target, "now", other)) }
                }
            } }
        }
    }
}

fn row(target: &ChangedTarget, name: &str, bytes: &OtherBytes) -> Markup {
    let sha256 = bytes.sha256.to_string();
    html! { tr {
        td { (name) }
        td { code.whole { (sha256) } }
        td.number { (shown::bytes(bytes.size_bytes)) }
        td { (shown::time(bytes.first_seen)) }
        td.url { bdi { (shown::visible(&bytes.source)) } }
        td.operate {
            @if name == "before" {
                button type="button" data-act="refuse" data-url=(target.url) data-sha256=(sha256) {
                    "Refuse the change"
                }
            } @else {
                button type="button" data-act="accept" data-url=(target.url) data-sha256=(sha256) {
                    "Accept these"
                }
            }
        }
    } }
}

/// Shows wrong file types and digests, the newest first.
pub fn mismatches(snapshot: &Snapshot) -> Markup {
    html! {
        @if snapshot.mismatches.is_empty() {
            p { "No wrong file type or digest since the start of this process." }
        } @else {
            div.scroll { table id="mismatch-list" {
                thead { tr { th { "Time" } th { "Cause" } th { "Target" } th { "Detail" } } }
                tbody { @for failed in &snapshot.mismatches { tr {
                    td { (shown::time(failed.at)) }
                    td { code { (failed.cause.as_str()) } }
                    td { (shown::target_link(&failed.url)) }
                    td.text { (shown::visible(&failed.detail)) }
                } } }
            } }
        }
    }
}
