//! Nodes on addresses of their own.

use std::net::SocketAddr;

use millpond::cluster::ClusterKey;
use millpond::model::Secret;
use serde_json::Value;

use crate::harness::{Answer, Builder, Gateway, Origin, encoded, eventually, listen};

pub const SECRET: &str = "a secret of all nodes";

/// Returns an address that is free now.
pub fn free_address(ip: &str) -> SocketAddr {
    listen(ip).local_addr().expect("a listener has an address")
}

/// Returns the URL of a node.
pub fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Returns the key of the cluster, as a node has it.
pub fn key(secret: &str) -> ClusterKey {
    ClusterKey::new(Secret::from(secret.to_owned()))
}

/// Returns the configuration of a node at an address, with these peers.
pub fn node(name: &str, address: SocketAddr, peers: &[SocketAddr]) -> Builder {
    let peers: Vec<_> = peers.iter().copied().map(url_of).collect();
    Gateway::builder()
        .text("gateway.name", name)
        .text("gateway.listen", &address.to_string())
        .text("cluster.secret", SECRET)
        .set("cluster.peers", &format!("{peers:?}"))
        // Only the origins. Peers are allowed because they are peers.
        .set("policy.allow_networks", "[\"127.0.0.1/32\"]")
        .relay()
}

/// Returns the list of nodes of a gateway.
pub fn nodes(gateway: &Gateway) -> Value {
    let answer = gateway.operate("GET", "/api/v1/nodes").send();
    answer.assert_status(200);
    answer.json()
}

/// Returns the random number of the process of a gateway.
pub fn run_of(gateway: &Gateway) -> String {
    let run = nodes(gateway)["own"]["run"].clone();
    serde_json::from_value(run).expect("it is a text")
}

/// Waits until a gateway sees its peer at an address in a state.
#[track_caller]
pub fn await_state(gateway: &Gateway, peer: SocketAddr, state: &str) {
    eventually(&format!("peer {peer} is {state}"), || {
        let list = nodes(gateway);
        let peers = list["peers"].as_array().expect("it is a list").clone();
        let found = peers.iter().find(|entry| {
            let url = entry["url"].as_str().unwrap_or_default();
            url.trim_end_matches('/') == url_of(peer)
        });
        (found.expect("the peer is listed")["state"] == state).then_some(())
    });
}

/// Returns the names of the owners of a target, as a node sees them.
pub fn owners(gateway: &Gateway, url: &str) -> Vec<String> {
    let path = format!("/api/v1/nodes?url={}", encoded(url));
    let answer = gateway.operate("GET", &path).send();
    let owners = answer.json()["owners"].clone();
    serde_json::from_value(owners).expect("it is a list of names")
}

/// Asserts that a response comes from the cache of the node.
#[track_caller]
pub fn assert_hit(answer: &Answer) {
    let status = answer.wants("cache-status");
    assert!(status.split("; ").any(|part| part == "hit"), "{status}");
}

/// Three nodes that see each other, and fetch from one origin.
pub struct Nodes {
    pub all: [Gateway; 3],
}

impl Nodes {
    pub fn start(ips: [&str; 3], origin: &Origin) -> Self {
        Self::with(ips, origin, |builder| builder)
    }

    /// Starts nodes with further settings.
    pub fn with(ips: [&str; 3], origin: &Origin, change: impl Fn(Builder) -> Builder) -> Self {
        let addresses = ips.map(free_address);
        let mut number = 0;
        let all = addresses.map(|address| {
            number += 1;
            let builder = node(&format!("node-{number}"), address, &addresses);
            change(builder.origin(origin)).start()
        });
        for (at, gateway) in all.iter().enumerate() {
            for (peer, address) in addresses.iter().enumerate() {
                let state = if peer == at { "itself" } else { "ready" };
                await_state(gateway, *address, state);
            }
        }
        Self { all }
    }

    /// Returns the indexes of the owner of a target, and of the last node in its order.
    pub fn owner_and_follower(&self, url: &str) -> (usize, usize) {
        let owners = owners(&self.all[0], url);
        let at = |place: usize| {
            let number = owners[place].strip_prefix("node-");
            let number = number.and_then(|text| text.parse::<usize>().ok());
            number.expect("it is one of the nodes") - 1
        };
        (at(0), at(2))
    }
}
