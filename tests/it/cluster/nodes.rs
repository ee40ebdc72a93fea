//! Nodes see each other, and serve alone without the ones that do not fit.

use serde_json::Value;

use super::fake_peer::FakePeer;
use super::stage::{await_state, free_address, node, nodes, owners, url_of};
use crate::harness::{Gateway, Origin, Reply, archive};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn nodes_see_each_other() {
    let (first, second, third) = (
        free_address("127.0.0.21"),
        free_address("127.0.0.22"),
        free_address("127.0.0.23"),
    );
    let all = [first, second, third];
    let gateways = [
        node("first", first, &all).start(),
        node("second", second, &all).start(),
        node("third", third, &all).start(),
    ];
    for (at, gateway) in gateways.iter().enumerate() {
        for (peer, address) in all.iter().enumerate() {
            // A node recognizes its own address, which all nodes may list.
            let state = if peer == at { "itself" } else { "ready" };
            await_state(gateway, *address, state);
        }
    }
    let list = nodes(&gateways[0]);
    assert_eq!(list["is_cluster"], true);
    assert_eq!(list["own"]["name"], "first");
    assert_eq!(list["peers"][1]["node"]["name"], "second");
    assert_eq!(list["peers"][1]["node"]["space_bytes"], 1 << 30);
    let mut owned = [0; 3];
    for number in 0..30 {
        let url = format!("https://example.org/x-{number}.0.tar.gz");
        let orders = gateways.each_ref().map(|gateway| owners(gateway, &url));
        assert_eq!(orders[0].len(), 3, "{orders:?}");
        assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
        let names = ["first", "second", "third"];
        let first = names.iter().position(|name| orders[0][0] == *name);
        owned[first.expect("the owner is a node")] += 1;
    }
    // The chance that a node owns none of 30 targets is 5 in a million.
    assert!(!owned.contains(&0), "{owned:?}");
    let metrics = gateways[0].request("GET", "/metrics").send().text();
    assert!(metrics.contains("millpond_cluster_peers{state=\"ready\"} 2\n"));
    assert!(metrics.contains("millpond_cluster_peers{state=\"itself\"} 1\n"));
    assert!(metrics.contains("millpond_cluster_refusals_total{reason=\"secret\"} 0\n"));
}

#[test]
fn own_advertised_address_is_skipped() {
    let own = free_address("127.0.0.24");
    let gateway = node("own", own, &[own])
        .text("cluster.advertise", &url_of(own))
        .start();
    let list = nodes(&gateway);
    assert_eq!(list["peers"], serde_json::json!([]));
    let advertised = list["own"]["advertise"].as_str().unwrap_or_default();
    assert_eq!(advertised.trim_end_matches('/'), url_of(own));
}

#[test]
fn processes_of_one_folder_skip_each_other() {
    let (own, other) = (free_address("127.0.0.63"), free_address("127.0.0.64"));
    let first = node("own", own, &[other]).start();
    let second = first.sibling().text("gateway.name", "other");
    let second = second
        .text("gateway.listen", &other.to_string())
        .set("cluster.peers", &format!("[{:?}]", url_of(own)))
        .start();
    await_state(&first, other, "same_folder");
    await_state(&second, own, "same_folder");
    assert_eq!(owners(&first, "https://example.org/x-1.0.tar.gz"), ["own"]);
}

#[test]
fn node_starts_and_serves_without_its_peers() {
    let (own, other) = (free_address("127.0.0.25"), free_address("127.0.0.26"));
    let origin = Origin::start();
    let body = archive(1, 100_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = node("own", own, &[other]).origin(&origin).start();
    await_state(&gateway, other, "silent");
    gateway.request("GET", "/readyz").send().assert_status(200);
    gateway.assert_serves(&origin.url(PATH), &body);
    // The first poll of the other node wakes this one.
    let other_gateway = node("other", other, &[own]).start();
    await_state(&gateway, other, "ready");
    await_state(&other_gateway, own, "ready");
}

#[test]
fn stopped_and_killed_peers_are_silent() {
    let (own, other) = (free_address("127.0.0.27"), free_address("127.0.0.28"));
    let gateway = node("own", own, &[other]).start();
    let mut peer = node("other", other, &[own]).start();
    await_state(&gateway, other, "ready");
    peer.signal("STOP");
    await_state(&gateway, other, "silent");
    peer.signal("CONT");
    await_state(&gateway, other, "ready");
    peer.kill9();
    await_state(&gateway, other, "silent");
    peer.restart();
    await_state(&gateway, other, "ready");
    let is_ready = |event: &Value| event["message"] == "peer is ready";
    let ready = gateway.log().wait_for_many("ready peers", 3, is_ready);
    assert_eq!(ready.len(), 3);
}

#[test]
fn wrong_secret_is_seen_on_both_nodes() {
    let (own, other) = (free_address("127.0.0.29"), free_address("127.0.0.30"));
    let gateway = node("own", own, &[other]).start();
    let foreign = node("other", other, &[own])
        .text("cluster.secret", "another secret, foreign")
        .start();
    await_state(&gateway, other, "wrong_secret");
    await_state(&foreign, own, "wrong_secret");
    let metrics = gateway.request("GET", "/metrics").send().text();
    let refused = metrics
        .lines()
        .find_map(|line| line.strip_prefix("millpond_cluster_refusals_total{reason=\"secret\"} "));
    assert_ne!(refused, Some("0"), "{metrics}");
}

/// Change to the document of a node.
type Change = fn(&mut millpond::cluster::NodeDocument);

#[test]
fn peer_that_does_not_fit_is_one_line() {
    let cases: [(&str, Change, &str, &str); 4] = [
        (
            "127.0.0.32",
            |node| "0.0.0".clone_into(&mut node.version),
            "other_version",
            "peer has another version or cache layout, serving without this peer",
        ),
        (
            "127.0.0.33",
            |node| node.layout += 1,
            "other_version",
            "peer has another version or cache layout, serving without this peer",
        ),
        (
            "127.0.0.34",
            |node| node.clock_ms -= 10 * 60 * 1000,
            "wrong_clock",
            "clocks of peer and node differ by more than 30 s, serving without this peer",
        ),
        (
            "127.0.0.35",
            |node| node.ready = false,
            "unready",
            "peer is not ready, serving without this peer",
        ),
    ];
    let peers: Vec<_> = cases
        .iter()
        .map(|(ip, change, ..)| FakePeer::start(ip, *change))
        .collect();
    let addresses: Vec<_> = peers.iter().map(|peer| peer.address).collect();
    let gateway = node("own", free_address("127.0.0.31"), &addresses).start();
    for (peer, (_, _, state, text)) in peers.iter().zip(&cases) {
        await_state(&gateway, peer.address, state);
        // Later polls with the same result log nothing.
        peer.await_polls(2);
        let lines = gateway.log().events();
        let lines = lines.iter().filter(|event| {
            let url = event["peer"].as_str().unwrap_or_default();
            url.trim_end_matches('/') == url_of(peer.address)
        });
        let lines: Vec<_> = lines.map(|event| event["message"].clone()).collect();
        assert_eq!(lines, [*text], "{state}");
    }
}

#[test]
fn gateway_without_a_cluster_has_no_peers() {
    let gateway = Gateway::builder().start();
    let list = nodes(&gateway);
    assert_eq!(list["is_cluster"], false);
    assert_eq!(list["peers"], serde_json::json!([]));
    let metrics = gateway.request("GET", "/metrics").send().text();
    assert!(metrics.contains("millpond_ready 1"), "{metrics}");
    assert!(!metrics.contains("millpond_cluster"), "{metrics}");
    let public = gateway.request("GET", "/api/v1/node");
    public.send().assert_problem(401);
    public
        .header("Millpond-Peer", "v1")
        .send()
        .assert_problem(401);
    let public = gateway.request("GET", "/api/v1/nodes");
    public.send().assert_problem(401);
    let events = gateway.log().events();
    let has_peer = events.iter().any(|event| event.get("peer").is_some());
    assert!(!events.is_empty() && !has_peer, "{events:?}");
}
