//! Readiness of this node, and the nodes.

use maud::{Markup, html};

use crate::cluster::{PeerState, PeerView};
use crate::metrics::Label as _;
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Shows whether this node gets requests, and why not.
pub fn readiness(snapshot: &Snapshot) -> Markup {
    let gauges = &snapshot.gauges;
    html! {
        @match &snapshot.readiness {
            Err(reason) => {
                p { span.badge.bad { "not ready" } " " (shown::visible(reason)) }
            }
            Ok(warnings) => {
                p { span.badge.good { "ready" } }
                @for warning in warnings {
                    p { span.badge.warn { "warning" } " " (shown::visible(warning)) }
                }
            }
        }
        @if gauges.lost_log_lines > 0 {
            p { span.badge.warn { "log" } " " (shown::count(gauges.lost_log_lines))
                " lines of the log were lost." }
        }
        (pools(snapshot))
    }
}

/// Shows the pools that are in use or have rejected requests.
fn pools(snapshot: &Snapshot) -> Markup {
    let used = snapshot.gauges.pools.iter();
    let used: Vec<_> = used
        .filter(|(_, pool)| pool.taken + pool.waiting + pool.rejected > 0)
        .collect();
    html! {
        @if !used.is_empty() {
            div.scroll { table {
                thead { tr {
                    th { "Pool" } th.number { "Used" } th.number { "Of" } th.number { "Waiting" }
                    th.number { "Rejected" }
                } }
                tbody { @for (name, pool) in used { tr {
                    td { (name.as_str()) }
                    td.number { (shown::count(pool.taken)) }
                    td.number { (shown::count(pool.size)) }
                    td.number { (shown::count(pool.waiting)) }
                    td.number { (shown::count(pool.rejected)) }
                } } }
            } }
        }
    }
}

/// Shows this node and its peers.
pub fn nodes(snapshot: &Snapshot) -> Markup {
    let (state, class) = match &snapshot.readiness {
        Ok(_) => ("ready", "badge good"),
        Err(_) => ("not ready", "badge bad"),
    };
    let free = snapshot.disk.as_ref().map(|disk| disk.free_bytes);
    html! {
        div.scroll { table {
            thead { tr {
                th { "Name" } th { "Version" } th { "State" } th { "Started" }
                th.number { "Free space" } th.number { "Fetches" } th { "Scrub" }
            } }
            tbody { tr {
                td { (shown::visible(&snapshot.name)) " (this node)" }
                td { (env!("CARGO_PKG_VERSION")) }
                td { span class=(class) { (state) } }
                td { (shown::time(snapshot.started_at)) }
                td.number { (free.map_or_else(|| "unknown".to_owned(), shown::bytes)) }
                td.number { (shown::count(snapshot.gauges.in_flight_fetches)) }
                td { (scrub(snapshot)) }
            } }
        } }
        (peers(&snapshot.peers))
    }
}

/// Shows the peers with their states.
fn peers(peers: &[PeerView]) -> Markup {
    html! {
        @if !peers.is_empty() {
            div.scroll { table id="peers" {
                thead { tr {
                    th { "Peer" } th { "Name" } th { "Version" } th { "State" } th { "Since" }
                    th.number { "Size of the cache" }
                    th.number { "Received" } th.number { "Sent" }
                } }
                tbody { @for peer in peers { (peer_row(peer)) } }
            } }
        }
    }
}

fn peer_row(peer: &PeerView) -> Markup {
    let class = match peer.state {
        PeerState::Ready | PeerState::Itself | PeerState::SameFolder => "badge good",
        PeerState::Unknown | PeerState::Unready | PeerState::Draining => "badge warn",
        _ => "badge bad",
    };
    let node = peer.node.as_ref();
    html! { tr {
        td.url {
            bdi { (shown::visible(&peer.url.redacted())) }
            @if peer.is_found { " (found in Redis)" }
        }
        td { @if let Some(node) = node { (shown::visible(&node.name)) } }
        td { @if let Some(node) = node { (shown::visible(&node.version)) } }
        td { span class=(class) { (peer.state.as_str()) } }
        td { (shown::time(peer.since)) }
        td.number { @if let Some(node) = node { (shown::bytes(node.space_bytes)) } }
        td.number { (shown::bytes(peer.traffic.received_bytes)) }
        td.number { (shown::bytes(peer.traffic.sent_bytes)) }
    } }
}

/// Shows the round of the scrub: how old it is, and how far.
fn scrub(snapshot: &Snapshot) -> Markup {
    html! {
        @match &snapshot.scrub {
            None => "none yet",
            Some(round) => {
                (format!("{:.0} % of a round", round.progress * 100.0))
                @if let Some(began) = round.began { " since " (shown::time(began)) }
                ", last share " (shown::time(round.last_share_began))
            }
        }
    }
}
