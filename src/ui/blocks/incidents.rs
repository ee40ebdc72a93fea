//! Incidents, and how an operator can end them.

use maud::{Markup, html};

use crate::model::Cause;
use crate::notify::{Incident, IncidentState, Severity};
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Open incidents that are shown.
const MAX_OPEN: usize = 50;

/// Ended incidents that are shown.
const MAX_ENDED: usize = 20;

/// Shows the incidents, the newest first.
pub fn incidents(snapshot: &Snapshot) -> Markup {
    let is_open = |incident: &&Incident| incident.state == IncidentState::Open;
    let all = || snapshot.incidents.iter();
    let open: Vec<_> = all().filter(is_open).collect();
    let ended: Vec<_> = all().filter(|incident| !is_open(incident)).collect();
    html! {
        @if open.is_empty() { p { "No incident is open." } }
        @if open.len() > MAX_OPEN {
            p.note { "The first " (MAX_OPEN) " of " (open.len()) " open incidents." }
        }
        ul.incidents {
            @for incident in open.iter().take(MAX_OPEN) { (one(incident)) }
        }
        @if !ended.is_empty() {
            details id="ended-incidents" {
                summary { (ended.len()) " ended" }
                ul.incidents {
                    @for incident in ended.iter().take(MAX_ENDED) { (one(incident)) }
                }
            }
        }
    }
}

fn one(incident: &Incident) -> Markup {
    let (severity, class) = match incident.severity {
        Severity::Alert => ("alert", "badge bad"),
        Severity::Notice => ("notice", "badge warn"),
    };
    html! {
        li {
            p {
                span class=(class) { (severity) } " "
                strong { (shown::visible(&incident.summary())) }
                @if let Some(ended) = incident.ended { " – ended " (shown::time(ended)) }
            }
            p { (advice(incident.cause)) }
            p.note {
                (times(incident)) ". "
                (shown::visible(&incident.detail))
            }
            @for url in incident.targets.iter().rev().take(3) { p { (shown::target_link(url)) } }
        }
    }
}

/// Shows how often an incident has occurred, and when.
fn times(incident: &Incident) -> Markup {
    html! {
        @if incident.count == 1 { "Once, " (shown::time(incident.last_seen)) } @else {
            (shown::count(incident.count)) " times since " (shown::time(incident.first_seen))
            ", last " (shown::time(incident.last_seen))
        }
    }
}

/// Returns how an operator can end incidents of a cause.
fn advice(cause: Cause) -> &'static str {
    match cause {
        Cause::NotFound => "Check the URL in the build. The origin does not have this file.",
        Cause::RemovedUpstream => {
            "Import a copy of the file, or add a mirror or an archive for the host."
        }
        Cause::UpstreamError => "Wait for the origin, or add a mirror for the host.",
        Cause::UnknownHost => "Check the host name in the build, and the name servers.",
        Cause::Unreachable => "Check the network and the firewall, or add a mirror for the host.",
        Cause::Timeout => "Check the network, or raise the time limits of fetches.",
        Cause::InvalidResponse => "Check the certificate and the responses of the origin.",
        Cause::WrongFileType => {
            "Look at the URL in a browser. Add a rule with check_file_type = false if the file is \
             right."
        }
        Cause::ChecksumMismatch => {
            "Compare the digest with the one that upstream publishes. Correct the checksum file, \
             or accept the new bytes."
        }
        Cause::ClientDigest => "Correct the digest in the build, or refresh the target.",
        Cause::ContentChanged => "Compare both digests below, and accept or refuse the new bytes.",
        Cause::NoSpace => "Raise cache.max_size, unpin targets, or free space on the disk.",
        Cause::StoreFailed => "Check the disk and the log. Responses are passed through meanwhile.",
        Cause::Corruption => {
            "Check the disk. The scrub restores objects from the bucket or from upstream."
        }
        Cause::Bucket => "Check the bucket and its credentials. Uploads are repeated.",
        Cause::Disk => "Check the disk and its file system. Requests are passed through meanwhile.",
    }
}
