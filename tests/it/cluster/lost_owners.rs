//! Owners that die, stop or lie within a body: each client gets the right bytes, or no end.

use std::time::Duration;

use super::fake_peer::{Conduct, FAKE, FakeBody, FakePeer};
use super::stage::{Nodes, await_state, free_address, node, owners};
use crate::harness::{Body, Gate, Gateway, Origin, Reply, archive, assert_same, sha256};

const LENGTH: usize = 900_000;
const HALF: usize = 400_000;

/// Returns an origin with a file whose first response stops at [`HALF`] before the gate opens.
fn gated(path: &str, body: &Body, gate: &Gate) -> Origin {
    let origin = Origin::start();
    origin.script(
        path,
        vec![Reply::file(body).gate_at(HALF, gate), Reply::file(body)],
    );
    origin
}

/// Reads the rest of a body at a follower while the owner is lost.
fn lose_owner(path: &str, ips: [&str; 3], lose: fn(&mut Gateway)) -> Origin {
    let gate = Gate::new();
    let body = archive(7, LENGTH);
    let origin = gated(path, &body, &gate);
    let mut nodes = Nodes::start(ips, &origin);
    let url = origin.url(path);
    let (owner, follower) = nodes.owner_and_follower(&url);
    let mut client = nodes.all[follower].get(&url).open();
    let first = client.read(300_000);
    gate.await_reached(1);
    lose(&mut nodes.all[owner]);
    let answer = client.finish();
    nodes.all[owner].kill9();
    gate.open();
    assert_same(&[first, answer.body].concat(), &body);
    nodes.all[follower].await_stored(&url);
    origin
}

/// Asserts that the origin has sent the rest, and then the beginning for comparison.
#[track_caller]
fn assert_resumed(origin: &Origin, path: &str) {
    let requests = origin.requests(path);
    let ranges: Vec<_> = requests.iter().map(|asked| asked.header("range")).collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    let first = ranges[1].and_then(|range| range.strip_prefix("bytes="));
    let first = first.and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
    assert!((300_000..=HALF).contains(&first.unwrap_or(0)), "{ranges:?}");
    assert_eq!((ranges[0], ranges[2]), (None, None));
}

#[test]
fn killed_owner_costs_no_byte() {
    let path = "/pub/killed-1.0.tar.gz";
    let ips = ["127.0.0.47", "127.0.0.48", "127.0.0.49"];
    let origin = lose_owner(path, ips, Gateway::kill9);
    assert_resumed(&origin, path);
}

#[test]
fn stopped_owner_costs_no_byte() {
    let path = "/pub/stopped-1.0.tar.gz";
    let ips = ["127.0.0.50", "127.0.0.51", "127.0.0.52"];
    let origin = lose_owner(path, ips, |owner| owner.signal("STOP"));
    assert_resumed(&origin, path);
}

/// A node whose only peer is a fake that owns a target.
struct Faked {
    origin: Origin,
    gateway: Gateway,
    path: String,
    body: Body,
}

/// Starts a node with a peer that sends the beginning of a body.
fn faked(ips: [&str; 2], change: fn(&mut FakeBody)) -> Faked {
    faked_busy(ips, None, change)
}

/// Starts a node with a peer that is busy for a time before it acknowledges a request.
fn faked_busy(ips: [&str; 2], busy_for: Option<Duration>, change: fn(&mut FakeBody)) -> Faked {
    let body = archive(5, LENGTH);
    let mut sent = FakeBody {
        length: LENGTH,
        bytes: body[..HALF].to_vec(),
        tag: format!("\"{}\"", &sha256(&body)[..16]),
        is_proven: true,
    };
    change(&mut sent);
    let conduct = Conduct {
        document: |_| {},
        body: Some(sent),
        busy_for,
    };
    let fake = FakePeer::with(ips[1], conduct);
    let origin = Origin::start();
    let gateway = node("own", free_address(ips[0]), &[fake.address]);
    let gateway = gateway.one_attempt().origin(&origin).start();
    await_state(&gateway, fake.address, "ready");
    let path = (0..100)
        .map(|number| format!("/pub/fake-{number}.0.tar.gz"))
        .find(|path| owners(&gateway, &origin.url(path))[0] == FAKE)
        .expect("the fake owns half of all targets");
    origin.serve(&path, Reply::file(&body));
    Faked {
        origin,
        gateway,
        path,
        body,
    }
}

#[test]
fn bytes_without_a_digest_are_compared() {
    assert_compared(&faked(["127.0.0.65", "127.0.0.66"], |_| {}));
}

#[test]
fn busy_owner_is_waited_for() {
    let busy_for = Some(Duration::from_secs(1));
    assert_compared(&faked_busy(["127.0.0.76", "127.0.0.77"], busy_for, |_| {}));
}

/// Asserts that the peer has sent the beginning, and the origin the rest.
#[track_caller]
fn assert_compared(faked: &Faked) {
    let url = faked.origin.url(&faked.path);
    faked.gateway.assert_serves(&url, &faked.body);
    faked.gateway.await_stored(&url);
    let requests = faked.origin.requests(&faked.path);
    let ranges = requests.iter().map(|asked| asked.header("range"));
    let rest = format!("bytes={HALF}-");
    assert_eq!(ranges.collect::<Vec<_>>(), [Some(rest.as_str()), None]);
}

#[test]
fn wrong_bytes_of_a_peer_get_no_end() {
    let faked = faked(["127.0.0.67", "127.0.0.68"], |sent| {
        sent.bytes[HALF - 1] ^= 1;
    });
    let url = faked.origin.url(&faked.path);
    let answer = faked.gateway.get(&url).send();
    answer.assert_broken();
    assert!(answer.body.len() < LENGTH, "{}", answer.body.len());
    faked.gateway.assert_nothing_stored();
}

#[test]
fn peer_without_a_proof_sends_no_byte() {
    let faked = faked(["127.0.0.69", "127.0.0.70"], |sent| {
        sent.is_proven = false;
    });
    let url = faked.origin.url(&faked.path);
    faked.gateway.assert_serves(&url, &faked.body);
    assert_eq!(faked.origin.count(&faked.path), 1);
}
