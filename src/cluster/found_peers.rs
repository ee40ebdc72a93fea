//! Finds peers in the shared index, beside those of the configuration.
//!
//! An entry of the index is no proof. Its address is asked like one of the configuration, and only
//! a node with the secret, which states this address itself, becomes a peer. The main function is
//! [`run_shared_index`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::config::base_url;
use super::membership::Cluster;
use super::peer_table::MAX_FOUND;
use super::urls::base_of;
use crate::model::{Event, Target};
use crate::shared_index::NodeEntry;

/// Longest time in which the addresses of a name are looked up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps the shared index up to date, and has the cluster use its nodes. Returns at once without
/// one.
pub async fn run_shared_index(cluster: &Cluster, events: broadcast::Receiver<Arc<Event>>) {
    let Some(index) = cluster.shared_index() else {
        return;
    };
    let mut nodes = index.nodes();
    let follow = async {
        while nodes.changed().await.is_ok() {
            let entries = nodes.borrow_and_update().clone();
            let entries = entries.into_iter().take(MAX_FOUND);
            let found = join_all(entries.map(|entry| allowed_url(cluster, entry))).await;
            let found: Vec<_> = found.into_iter().flatten().collect();
            cluster.table.replace_found(&found);
        }
    };
    tokio::join!(index.run(events), follow);
}

/// Returns the URL of an entry if it may be asked.
async fn allowed_url(cluster: &Cluster, entry: NodeEntry) -> Option<Target> {
    let url = base_url("redis_url", &entry.address).ok()?;
    let own = cluster.advertise()?;
    if base_of(&url) == base_of(own) || entry.id == cluster.own().id {
        return None;
    }
    if cluster.table.find(&url, |peer| !peer.is_found()) == Some(true) {
        return Some(url);
    }
    if url.path() != "/" {
        // Such a path could be that of any service.
        return None;
    }
    // Nodes of one machine, such as those of a test, may find each other.
    let own_address = own.address();
    let is_local = own_address.is_some_and(|address| address.is_loopback());
    let is_allowed = |address: IpAddr| match address.to_canonical() {
        address if address.is_loopback() => is_local,
        address => is_address_of_node(address),
    };
    let is_allowed = if let Some(address) = url.address() {
        is_allowed(address)
    } else {
        let (host, port) = (url.host(), url.port());
        let lookup = cluster.dialer.configured_addresses(host, port);
        let addresses = timeout(LOOKUP_TIMEOUT, lookup).await.ok()?.ok()?;
        addresses.iter().all(|address| is_allowed(address.ip()))
    };
    if !is_allowed {
        tracing::debug!(
            url = url.as_str(),
            "address in the shared index is not allowed"
        );
    }
    is_allowed.then_some(url)
}

/// Whether an address may be that of another node. Services of the machine and of its provider have
/// other ones.
fn is_address_of_node(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_unspecified()
                && !address.is_link_local()
                && !address.is_multicast()
                && !address.is_broadcast()
        }
        IpAddr::V6(address) => {
            !address.is_unspecified() && !address.is_unicast_link_local() && !address.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_the_provider_are_no_nodes() {
        for (address, is_allowed) in [
            ("10.0.0.12", true),
            ("192.0.2.1", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("169.254.169.254", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(is_address_of_node(parsed), is_allowed, "{address}");
        }
    }
}
