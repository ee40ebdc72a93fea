//! A node that takes the pieces of an object from several peers.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use millpond::model::{ExpectedDigests, Hasher};
use serde_json::json;

use super::stage::{LyingNode, PIECE, SIZE, await_pieces, object_path};
use crate::cluster::fake_peer::FAKE;
use crate::cluster::stage::{
    await_state, free_address, node, nodes as cluster_nodes, owners, url_of,
};
use crate::harness::{
    Body, Gateway, Origin, Reply, archive, encoded, eventually, is_request_of, sha256,
};
use crate::operate::jobs::{await_end, start};

/// Rate of each node that has the object. A body from one takes a second.
const RATE: &str = "16MiB";

/// Rate of nodes whose times are compared, or which are ended within a body. It takes longer than
/// all other work.
const SLOW_RATE: &str = "4MiB";

/// Nodes that have an object, and one that does not.
struct Holders {
    origin: Origin,
    all: Vec<Gateway>,
    receiver: Gateway,
    path: String,
    body: Body,
}

impl Holders {
    /// Starts nodes of which the last one lacks the object. It sees `others` as peers, too.
    fn start(prefix: &str, count: usize, others: &[SocketAddr]) -> Self {
        Self::with_rate(prefix, count, others, RATE)
    }

    fn with_rate(prefix: &str, count: usize, others: &[SocketAddr], rate: &str) -> Self {
        let origin = Origin::start();
        let addresses: Vec<_> = (1..=count + 1)
            .map(|number| free_address(&format!("{prefix}.{number}")))
            .collect();
        let builder = |at: usize, peers: &[SocketAddr]| {
            let name = format!("node-{at}");
            node(&name, addresses[at], peers).origin(&origin)
        };
        let limited = |at| builder(at, &addresses).text("limits.total_bandwidth", rate);
        let all: Vec<_> = (0..count).map(|at| limited(at).start()).collect();
        let seen = [&addresses[..], others].concat();
        let receiver = builder(count, &seen).start();
        for peer in addresses[..count].iter().chain(others) {
            await_state(&receiver, *peer, "ready");
        }
        for gateway in &all {
            await_state(gateway, addresses[count], "ready");
        }
        let (path, body) = Self::place(&origin, &receiver, 41);
        Self {
            origin,
            all,
            receiver,
            path,
            body,
        }
    }

    /// Returns a file that one of the nodes with an object owns.
    fn place(origin: &Origin, receiver: &Gateway, seed: u64) -> (String, Body) {
        let path = (0..200)
            .map(|number| format!("/pub/large-{seed}.{number}.tar.gz"))
            .find(|path| {
                let owner = owners(receiver, &origin.url(path)).swap_remove(0);
                owner.starts_with("node-") && owner != format!("node-{}", receiver_number(receiver))
            });
        let (path, body) = (path.expect("each node owns some"), archive(seed, SIZE));
        origin.serve(&path, Reply::file(&body).ranges());
        (path, body)
    }

    fn url(&self) -> String {
        self.origin.url(&self.path)
    }

    /// Returns the index of the owner of the file.
    fn owner(&self) -> usize {
        let owner = owners(&self.receiver, &self.url()).swap_remove(0);
        let number = owner.strip_prefix("node-").expect("it is one of the nodes");
        number.parse().expect("it is a number")
    }

    /// Imports the file at all nodes but the receiver, and waits for its pieces.
    fn import(&self) {
        for gateway in &self.all {
            import(gateway, &self.url(), &self.body);
        }
    }

    /// Returns how many requests for parts of the object each node was sent.
    fn asked(&self) -> Vec<usize> {
        let path = object_path(&self.body);
        let is_part =
            |event: &&serde_json::Value| is_request_of(event, &path) && event["status"] == 206;
        let nodes = self.all.iter();
        nodes
            .map(|node| node.log().events().iter().filter(is_part).count())
            .collect()
    }
}

fn receiver_number(receiver: &Gateway) -> String {
    let last = receiver.addr().ip().to_string();
    let number = last.rsplit('.').next().expect("an address has parts");
    let number: usize = number.parse().expect("it is a number");
    (number - 1).to_string()
}

fn import(gateway: &Gateway, url: &str, body: &Body) {
    let path = format!("/api/v1/objects?url={}", encoded(url));
    let imported = gateway.operate("PUT", &path).body(body).send();
    assert!(imported.status < 300, "{imported:?}");
    await_pieces(gateway, body);
}

fn timed(gateway: &Gateway, url: &str, body: &[u8]) -> Duration {
    let began = Instant::now();
    gateway.assert_serves(url, body);
    began.elapsed()
}

#[test]
fn three_nodes_send_faster_than_one() {
    let nodes = Holders::with_rate("127.0.4", 3, &[], SLOW_RATE);
    let single = Holders::place(&nodes.origin, &nodes.receiver, 42);
    let url = nodes.origin.url(&single.0);
    let owner = owners(&nodes.receiver, &url).swap_remove(0);
    let owner: usize = owner["node-".len()..].parse().expect("it is a number");
    import(&nodes.all[owner], &url, &single.1);
    nodes.import();
    let from_one = timed(&nodes.receiver, &url, &single.1);
    let from_three = timed(&nodes.receiver, &nodes.url(), &nodes.body);
    let ratio = from_one.as_secs_f64() / from_three.as_secs_f64();
    println!("one: {from_one:?}, three: {from_three:?}, ratio: {ratio:.2}");
    assert!(ratio >= 1.6, "{from_one:?}, {from_three:?}");
    let asked = nodes.asked();
    let senders = asked.iter().filter(|count| **count > 0).count();
    assert!(senders >= 2, "{asked:?}");
    assert_eq!(nodes.origin.total(), 0);
    nodes.receiver.await_stored(&nodes.url());
    assert_traffic_is_shown(&nodes);
}

/// Asserts that all pages show the bytes of two objects, which three nodes have sent to one.
#[track_caller]
fn assert_traffic_is_shown(nodes: &Holders) {
    let traffic = |gateway: &Gateway, peer: &Gateway| {
        let list = cluster_nodes(gateway);
        let entries = list["peers"].as_array().expect("it is a list").clone();
        let url = url_of(peer.addr()) + "/";
        let mut found = entries.iter().filter(|entry| entry["url"] == url.as_str());
        let entry = found.next().expect("the peer is listed");
        let of = |field: &str| entry[field].as_u64().expect("it is a number");
        (of("received_bytes"), of("sent_bytes"))
    };
    let receiver = &nodes.receiver;
    let at_receiver = nodes.all.iter().map(|peer| traffic(receiver, peer).0);
    let at_receiver: Vec<_> = at_receiver.collect();
    let total: u64 = at_receiver.iter().sum();
    assert!(total >= 2 * SIZE as u64, "{at_receiver:?}");
    // A response that the receiver has ended early counts less at the receiver.
    for (peer, received) in nodes.all.iter().zip(&at_receiver) {
        assert!(*received > 0, "{at_receiver:?}");
        eventually("the peer counts what it has sent", || {
            (traffic(peer, receiver).1 >= *received).then_some(())
        });
    }
    let metrics = receiver.request("GET", "/metrics").send().text();
    for (peer, received) in nodes.all.iter().zip(&at_receiver) {
        let url = url_of(peer.addr());
        let line = format!("millpond_cluster_received_bytes_total{{peer=\"{url}/\"}} {received}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(
        metrics.contains("millpond_cluster_sent_bytes_total{peer="),
        "{metrics}"
    );
}

#[test]
fn lying_node_is_named_and_dropped() {
    let wrong = archive(43, SIZE);
    let liar = LyingNode::start("127.0.5.9", &wrong);
    let nodes = Holders::start("127.0.5", 2, &[liar.address]);
    assert_ne!(owners(&nodes.receiver, &nodes.url())[0], FAKE);
    nodes.import();
    nodes.receiver.assert_serves(&nodes.url(), &nodes.body);
    nodes.receiver.await_stored(&nodes.url());
    let at_liar = url_of(liar.address);
    let log = nodes.receiver.log();
    log.wait_for("the lying node", |event| {
        event["peer"] == at_liar.as_str()
            && event["message"] == "peer is asked for no pieces for ten minutes"
    });
    eventually("an incident names the node", || {
        let list = nodes
            .receiver
            .operate("GET", "/api/v1/incidents")
            .send()
            .text();
        list.contains(&at_liar).then_some(())
    });
    assert_eq!(nodes.origin.total(), 0);
    // The next object is taken from the others only.
    let asked = liar.asked().len();
    assert!((1..=2).contains(&asked), "{asked}");
    let (path, body) = Holders::place(&nodes.origin, &nodes.receiver, 44);
    for gateway in &nodes.all {
        import(gateway, &nodes.origin.url(&path), &body);
    }
    nodes
        .receiver
        .assert_serves(&nodes.origin.url(&path), &body);
    assert_eq!(liar.asked().len(), asked);
    assert_eq!(nodes.origin.total(), 0);
}

/// Ends or stops the owner within a body. The other node sends the rest.
fn lose_owner(prefix: &str, lose: impl FnOnce(&mut Gateway)) -> Holders {
    let mut nodes = Holders::with_rate(prefix, 2, &[], SLOW_RATE);
    nodes.import();
    let mut client = nodes.receiver.get(&nodes.url()).open();
    let mut received = client.read(2 * PIECE);
    let owner = nodes.owner();
    lose(&mut nodes.all[owner]);
    received.extend(client.finish().body);
    assert_eq!(received.len(), nodes.body.len());
    assert_eq!(sha256(&received), sha256(&nodes.body));
    assert_eq!(nodes.origin.total(), 0);
    nodes
}

#[test]
fn killed_owner_is_replaced_by_another_node() {
    lose_owner("127.0.6", Gateway::kill9);
}

#[test]
fn stopped_owner_is_replaced_by_another_node() {
    let nodes = lose_owner("127.0.7", |owner| owner.signal("STOP"));
    nodes.all.iter().for_each(|node| node.signal("CONT"));
}

#[test]
fn wrong_list_is_found_and_its_node_named() {
    let nodes = Holders::start("127.0.8", 3, &[]);
    nodes.import();
    let owner = &nodes.all[nodes.owner()];
    let digest = sha256(&nodes.body);
    let file = owner
        .cache()
        .join("pieces")
        .join(&digest[..2])
        .join(&digest);
    let mut content = fs::read(&file).expect("the list is stored");
    // Behind 8 bytes of name and 8 of size, each piece has 32. The last 32 are a digest over all.
    content[16 + 5 * 32] ^= 1;
    content.truncate(content.len() - 32);
    let mut check = Hasher::new(&ExpectedDigests::nothing());
    let name: millpond::model::Sha256 = digest.parse().expect("it is a digest");
    check.update(name.as_bytes());
    check.update(&content);
    content.extend(check.finish().sha256.as_bytes());
    fs::write(&file, content).expect("it can be written");
    nodes.receiver.assert_serves(&nodes.url(), &nodes.body);
    nodes.receiver.await_stored(&nodes.url());
    let named = nodes.receiver.log().wait_for("the wrong list", |event| {
        event["message"] == "peer is asked for no pieces for ten minutes"
    });
    assert_eq!(named["peer"], url_of(owner.addr()).as_str());
    assert_eq!(named["reason"], "states a wrong digest of piece 5");
}

#[test]
fn killed_receiver_starts_again() {
    let mut nodes = Holders::with_rate("127.0.9", 2, &[], SLOW_RATE);
    nodes.import();
    let mut client = nodes.receiver.get(&nodes.url()).open();
    client.read(2 * PIECE);
    nodes.receiver.kill9();
    nodes.receiver.restart();
    for gateway in &nodes.all {
        await_state(&nodes.receiver, gateway.addr(), "ready");
    }
    nodes.receiver.assert_serves(&nodes.url(), &nodes.body);
    nodes.receiver.await_stored(&nodes.url());
    assert_eq!(nodes.origin.total(), 0);
    eventually("nothing is staged", || {
        nodes.receiver.staged().is_empty().then_some(())
    });
}

#[test]
fn warm_takes_pieces_from_all_nodes() {
    let nodes = Holders::start("127.0.10", 2, &[]);
    nodes.import();
    let from = url_of(nodes.all[0].addr());
    let order = json!({"kind": "migrate", "to": "disk", "from": {"peer": from}});
    let job = start(&nodes.receiver, &order);
    await_end(&nodes.receiver, &job);
    let asked = nodes.asked();
    assert!(asked.iter().all(|count| *count > 0), "{asked:?}");
    nodes.receiver.assert_serves(&nodes.url(), &nodes.body);
    assert_eq!(nodes.origin.total(), 0);
}
