//! Misses over three nodes: the owner fetches once, and the others follow its body.

use super::stage::{Nodes, assert_hit, await_state, free_address, node, owners};
use crate::harness::{Gate, Origin, Reply, all_at_once, archive, assert_same, eventually};

/// Clients of each node in the test of many clients.
const CLIENTS: usize = 200;

#[test]
fn many_clients_cause_one_origin_request() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let path = "/pub/many-1.0.tar.gz";
    let body = archive(1, 300_000);
    origin.serve(path, Reply::file(&body).gate_at(100_000, &gate));
    let nodes = Nodes::start(["127.0.0.41", "127.0.0.42", "127.0.0.43"], &origin);
    let url = origin.url(path);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        for gateway in &nodes.all {
            clients.push(gateway.get(&url).start());
        }
    }
    gate.await_reached(1);
    gate.open();
    for client in clients {
        client.head().finish().assert_body(200, &body);
    }
    assert_eq!(origin.count(path), 1);
    for gateway in &nodes.all {
        gateway.await_stored(&url);
        assert_hit(&gateway.assert_serves(&url, &body));
    }
    assert_eq!(origin.total(), 1);
}

#[test]
fn each_target_is_fetched_once() {
    let origin = Origin::start();
    let nodes = Nodes::start(["127.0.0.44", "127.0.0.45", "127.0.0.46"], &origin);
    let all: Vec<_> = (0..12)
        .map(|number| (format!("/pub/x-{number}.0.tar.gz"), archive(number, 60_000)))
        .collect();
    for (path, body) in &all {
        origin.serve(path, Reply::file(body));
    }
    for (path, body) in &all {
        let url = origin.url(path);
        all_at_once(3, |at| nodes.all[at].assert_serves(&url, body));
        assert_eq!(origin.count(path), 1, "{path}");
    }
    for gateway in &nodes.all {
        let page = gateway.request("GET", "/metrics").send().text();
        let mut attempts = page.lines().filter(|line| line.contains("source=\"peer\""));
        let has_followed = |line: &str| line.contains("complete") && !line.ends_with(" 0");
        assert!(attempts.any(has_followed), "{page}");
    }
}

#[test]
fn owner_stopped_before_a_request_is_skipped() {
    let (origin, path) = (Origin::start(), "/pub/skipped-1.0.tar.gz");
    let body = archive(9, 200_000);
    origin.serve(path, Reply::file(&body));
    let nodes = Nodes::start(["127.0.0.51", "127.0.0.52", "127.0.0.53"], &origin);
    let url = origin.url(path);
    let (owner, follower) = nodes.owner_and_follower(&url);
    nodes.all[owner].signal("STOP");
    nodes.all[follower].assert_serves(&url, &body);
    nodes.all[owner].signal("CONT");
    // The stopped node reads its request now, which is too late to have an effect.
    await_state(&nodes.all[follower], nodes.all[owner].addr(), "ready");
    nodes.all[owner].request("GET", "/readyz").send();
    assert_eq!(origin.count(path), 1);
}

#[test]
fn stopped_owner_is_replaced_by_one_node() {
    let (origin, path) = (Origin::start(), "/pub/replaced-1.0.tar.gz");
    let body = archive(13, 200_000);
    origin.serve(path, Reply::file(&body));
    let nodes = Nodes::start(["127.0.0.78", "127.0.0.79", "127.0.0.80"], &origin);
    let url = origin.url(path);
    let (owner, follower) = nodes.owner_and_follower(&url);
    nodes.all[owner].signal("STOP");
    let running = [3 - owner - follower, follower];
    all_at_once(2, |at| nodes.all[running[at]].assert_serves(&url, &body));
    nodes.all[owner].signal("CONT");
    assert_eq!(origin.count(path), 1);
}

#[test]
fn missing_target_is_404_at_all_nodes() {
    let (origin, path) = (Origin::start(), "/pub/missing-1.0.tar.gz");
    origin.serve(path, Reply::status(404));
    let nodes = Nodes::start(["127.0.0.54", "127.0.0.55", "127.0.0.56"], &origin);
    let url = origin.url(path);
    let statuses = all_at_once(3, |at| nodes.all[at].get(&url).send().status);
    assert_eq!(statuses, [404, 404, 404]);
    assert_eq!(origin.count(path), 1);
}

#[test]
fn different_lists_only_misroute() {
    let (origin, path) = (Origin::start(), "/pub/lists-1.0.tar.gz");
    let body = archive(11, 300_000);
    origin.serve(path, Reply::file(&body));
    let (first, second) = (free_address("127.0.0.61"), free_address("127.0.0.62"));
    let knowing = node("first", first, &[second]).origin(&origin);
    let knowing = knowing.port(second.port()).start();
    let alone = node("second", second, &[]).origin(&origin).start();
    await_state(&knowing, second, "ready");
    let url = origin.url(path);
    let bodies = all_at_once(2, |at| {
        let gateway = if at == 0 { &knowing } else { &alone };
        gateway.get(&url).send().body
    });
    for found in bodies {
        assert_same(&found, &body);
    }
    eventually("both have fetched", || {
        (1..=2).contains(&origin.count(path)).then_some(())
    });
    // The address of a peer is allowed for requests to peers only.
    let at_peer = format!("http://{second}/x-1.0.tar.gz");
    knowing.get(&at_peer).send().assert_problem(403);
}

#[test]
fn client_is_redirected_by_the_owner_only() {
    let origin = Origin::start();
    let addresses = ["127.0.0.74", "127.0.0.75"].map(free_address);
    let nodes = addresses.map(|address| {
        let name = format!("node-{}", address.ip());
        let builder = node(&name, address, &addresses).origin(&origin);
        builder.text("gateway.miss", "redirect").start()
    });
    for (gateway, peer) in nodes.iter().zip([addresses[1], addresses[0]]) {
        await_state(gateway, peer, "ready");
    }
    for (name, status) in [("node-127.0.0.74", 302), ("node-127.0.0.75", 200)] {
        let path = (0..100)
            .map(|number| format!("/pub/redirect-{number}.0.tar.gz"))
            .find(|path| owners(&nodes[0], &origin.url(path))[0] == name)
            .expect("each node owns half of all targets");
        let body = archive(12, 50_000);
        origin.serve(&path, Reply::file(&body));
        let answer = nodes[0].get(&origin.url(&path)).wget_agent().send();
        assert_eq!(answer.status, status, "{name}");
    }
}
