//! Hosts and clients that cost most.

use maud::{Markup, html};

use crate::metrics::Cost;
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Shows the hosts and clients with the most bytes from upstream.
pub fn costs(snapshot: &Snapshot) -> Markup {
    let hosts = snapshot.hosts.iter();
    let hosts = hosts.map(|(host, cost)| (shown::visible(host), *cost));
    let clients = snapshot.clients.iter();
    let clients = clients.map(|(client, cost)| (client.to_string(), *cost));
    html! {
        div.pair {
            (table("Hosts", "cost-hosts", hosts.collect()))
            (table("Clients", "cost-clients", clients.collect()))
        }
        p.note {
            "Since the start of this process, by bytes that came from upstream for one request. \
             Tunnels count whole."
        }
    }
}

fn table(title: &str, id: &str, rows: Vec<(String, Cost)>) -> Markup {
    html! {
        div {
            h3 { (title) }
            @if rows.is_empty() { p { "None yet." } } @else {
                div.scroll { table id=(id) {
                    thead { tr {
                        th { "Name" } th.number { "Requests" } th.number { "Served" }
                        th.number { "From upstream" } th.number { "Limited" }
                    } }
                    tbody { @for (name, cost) in rows { tr {
                        td.url { bdi { (name) } }
                        td.number { (shown::count(cost.requests)) }
                        td.number { (shown::bytes(cost.sent_bytes)) }
                        td.number { (shown::bytes(cost.upstream_bytes)) }
                        td.number { (shown::count(cost.limited)) }
                    } } }
                } }
            }
        }
    }
}
