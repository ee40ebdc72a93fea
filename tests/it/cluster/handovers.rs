//! A node that has one named node copy what it has: all, a host, or a share.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::fake_peer::FakePeer;
use super::stage::{Nodes, assert_hit, await_state, free_address, node, url_of};
use super::warm::{await_done, contents, stored};
use crate::harness::{Bucket, Gateway, Origin, Reply, archive, eventually, sha256};
use crate::operate::jobs::{await_end, order, show, start};

/// Returns the order for a job that has the node at an address copy.
fn copy_to(address: SocketAddr) -> Value {
    json!({"kind": "migrate", "to": "node", "node": {"peer": url_of(address)}})
}

/// Starts two nodes, of which the first has archives.
fn two(ips: [&str; 2], origin: &Origin, count: u64) -> [Gateway; 2] {
    let addresses = ips.map(free_address);
    let start_node = |at: usize| {
        let name = format!("node-{}", at + 1);
        node(&name, addresses[at], &addresses)
            .origin(origin)
            .start()
    };
    let first = start_node(0);
    stored(&first, origin, count);
    let second = start_node(1);
    await_state(&first, second.addr(), "ready");
    await_state(&second, first.addr(), "ready");
    [first, second]
}

#[test]
fn named_node_gets_all_and_others_nothing() {
    let origin = Origin::start();
    let Nodes {
        all: [mut first, second, third],
    } = Nodes::start(["127.0.0.181", "127.0.0.182", "127.0.0.183"], &origin);
    let all = stored(&first, &origin, 10);
    let before = [second.objects().len(), third.objects().len()];
    let peer = url_of(third.addr());
    let arguments = [
        "jobs", "migrate", "node", "--peer", &peer, "--wait", "--json",
    ];
    let run = first.run_command(Path::new("/"), &arguments);
    run.assert_success();
    let ended = run.documents().remove(0);
    assert_eq!(ended["node"]["peer"], peer, "{ended}");
    let lacked = all.len() - before[1];
    assert_eq!(
        (&ended["state"], &ended["bytes"]),
        (&json!("succeeded"), &json!(lacked * 20_000)),
        "{ended}"
    );
    assert_eq!(second.objects().len(), before[0]);
    assert_eq!(contents(&third, "objects"), contents(&first, "objects"));
    // A repeat copies nothing.
    let again = await_end(&first, &start(&first, &copy_to(third.addr())));
    assert_eq!(
        (&again["unchanged"], &again["bytes"]),
        (&json!(256), &json!(0)),
        "{again}"
    );
    let asked = origin.total();
    for (url, body) in &all {
        assert_hit(&first.assert_serves(url, body));
        assert_hit(&third.assert_serves(url, body));
    }
    first.kill9();
    for (url, body) in &all {
        assert_hit(&third.assert_serves(url, body));
    }
    assert_eq!(origin.total(), asked, "no origin is asked");
}

#[test]
fn only_hosts_and_shares_are_given() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.184", "127.0.0.185"], &origin, 24);
    let copy = |change: Value| {
        let mut body = copy_to(second.addr());
        for (name, value) in change.as_object().expect("it is an object") {
            body["node"][name] = value.clone();
        }
        let ended = await_end(&first, &start(&first, &body));
        assert_eq!(ended["state"], "succeeded", "{ended}");
        assert_eq!(ended["done"], 256, "{ended}");
    };
    copy(json!({"hosts": ["example.org"]}));
    second.assert_nothing_stored();
    copy(json!({"share": "2/3"}));
    let all = contents(&first, "records");
    let is_second_third = |url: &str| (86..171).contains(&first_byte(url));
    let urls = (0..24).map(|number| origin.url(&format!("/x-{number}.0.tar.gz")));
    let mut count = 0;
    for (number, url) in urls.enumerate() {
        let body = archive(number as u64, 20_000);
        let is_expected = is_second_third(&url);
        count += usize::from(is_expected);
        assert_eq!(second.object_path(&body).exists(), is_expected, "{url}");
    }
    assert_eq!(second.objects().len(), count);
    copy(json!({"share": "1/3"}));
    copy(json!({"share": "3/3", "hosts": [origin.address().ip().to_string()]}));
    assert_eq!(contents(&second, "records"), all);
    // One target by its URL, which the node does not have.
    let mut body = copy_to(second.addr());
    body["targets"] = json!([origin.url("/missing-1.0.tar.gz")]);
    let ended = await_end(&first, &start(&first, &body));
    assert_eq!(ended["failed"], 1, "{ended}");
}

/// Returns the first byte of the key of a target.
fn first_byte(url: &str) -> u8 {
    let key = sha256(url.as_bytes());
    u8::from_str_radix(&key[..2], 16).expect("it is hexadecimal")
}

#[test]
fn killed_receiver_gets_the_rest_after_restart() {
    let origin = Origin::start();
    let [mut first, mut second] = two(["127.0.0.186", "127.0.0.187"], &origin, 30);
    let mut body = copy_to(second.addr());
    body["concurrency"] = json!(1);
    let job = start(&first, &body);
    await_done(&first, &job, 10);
    second.kill9();
    second.restart();
    let done = show(&first, &job)["done"].as_u64().unwrap_or_default();
    await_done(&first, &job, done + 10);
    first.signal("STOP");
    second.kill9();
    second.restart();
    first.signal("CONT");
    let done = show(&first, &job)["done"].as_u64().unwrap_or_default();
    await_done(&first, &job, (done + 10).min(256));
    first.kill9();
    first.restart();
    let ended = await_end(&first, &job);
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("succeeded"), &json!(256)),
        "{ended}"
    );
    for folder in ["records", "objects"] {
        assert_eq!(contents(&second, folder), contents(&first, folder));
    }
    assert_eq!(origin.total(), 30, "no origin is asked again");
    assert!(second.staged().is_empty());
}

#[test]
fn cancelled_handover_loses_nothing() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.188", "127.0.0.189"], &origin, 20);
    let mut body = copy_to(second.addr());
    body["concurrency"] = json!(1);
    let job = start(&first, &body);
    await_done(&first, &job, 20);
    second.signal("STOP");
    let cancelled = first.operate("DELETE", &job).send().json();
    second.signal("CONT");
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    assert_eq!(first.objects().len(), 20);
    let ended = await_end(&first, &start(&first, &copy_to(second.addr())));
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(contents(&second, "records"), contents(&first, "records"));
    assert_eq!(second.objects().len(), 20);
}

#[test]
fn full_receiver_is_named_and_evicts_nothing() {
    let origin = Origin::start();
    let addresses = ["127.0.0.190", "127.0.0.191"].map(free_address);
    let first = node("node-1", addresses[0], &addresses);
    let first = first.origin(&origin).start();
    stored(&first, &origin, 12);
    let second = node("node-2", addresses[1], &addresses);
    let second = second.text("cache.max_size", "150KiB").start();
    await_state(&first, second.addr(), "ready");
    await_state(&second, first.addr(), "ready");
    let ended = await_end(&first, &start(&first, &copy_to(second.addr())));
    assert_eq!(ended["state"], "failed", "{ended}");
    let failures = ended["failures"].as_array().expect("it is a list");
    for failure in failures {
        let error = failure["error"].as_str().unwrap_or_default();
        assert!(error.contains("the disk would evict others"), "{error}");
    }
    let copied = ended["bytes"].as_u64().unwrap_or_default() / 20_000;
    assert!((1..8).contains(&copied), "{ended}");
    assert_eq!(second.objects().len() as u64, copied, "nothing is evicted");
    assert_eq!(first.objects().len(), 12);
}

#[test]
fn node_on_the_same_bucket_gets_nothing() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let addresses = ["127.0.0.192", "127.0.0.193"].map(free_address);
    let start_node = |at: usize| {
        let builder = node(&format!("node-{}", at + 1), addresses[at], &addresses);
        bucket.configure(builder.origin(&origin), "").start()
    };
    let (first, second) = (start_node(0), start_node(1));
    await_state(&second, first.addr(), "ready");
    await_state(&first, second.addr(), "ready");
    let path = "/own-1.0.tar.gz";
    let (url, body) = (origin.url(path), archive(7, 20_000));
    origin.serve(path, Reply::file(&body));
    first.assert_serves(&url, &body);
    first.await_uploaded(&url);
    let before = second.objects();
    let ended = await_end(&first, &start(&first, &copy_to(second.addr())));
    assert_eq!(
        (&ended["state"], &ended["bytes"]),
        (&json!("succeeded"), &json!(0)),
        "{ended}"
    );
    assert_eq!(second.objects(), before);
    second.assert_serves(&url, &body);
    assert_eq!(origin.total(), 1, "the bucket has it");
}

#[test]
fn unfit_receivers_are_refused_with_the_reason() {
    let other = FakePeer::start("127.0.0.194", |node| node.version = "0.0.1".to_owned());
    let own = free_address("127.0.0.195");
    let foreign = node("foreign", free_address("127.0.0.196"), &[])
        .text("cluster.secret", "a secret of other nodes")
        .start();
    let leaving = node("leaving", free_address("127.0.0.197"), &[own]).start();
    let peers = [other.address, foreign.addr(), leaving.addr(), own];
    let gateway = node("own", own, &peers).start();
    let draining = leaving.operate("PUT", "/api/v1/node/draining").send();
    draining.assert_status(200);
    await_state(&gateway, other.address, "other_version");
    await_state(&gateway, foreign.addr(), "wrong_secret");
    await_state(&gateway, leaving.addr(), "draining");
    await_state(&gateway, own, "itself");
    let refuse = |address: SocketAddr, text: &str| {
        let answer = order(&gateway, &copy_to(address));
        answer.assert_status(400);
        assert!(answer.text().contains(text), "{}", answer.text());
        let peer = url_of(address);
        let arguments = ["jobs", "migrate", "node", "--peer", &peer];
        let run = gateway.run_command(Path::new("/"), &arguments);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(text), "{}", run.stderr);
    };
    refuse(other.address, "has another version of Millpond");
    refuse(foreign.addr(), "has another cluster.secret");
    refuse(leaving.addr(), "is draining, and takes no targets");
    refuse(own, "is this node itself");
    refuse(free_address("127.0.0.198"), "none of cluster.peers");
    let mut body = copy_to(leaving.addr());
    body["to"] = json!("disk");
    order(&gateway, &body).assert_status(400);
    let body = json!({"kind": "migrate", "to": "node"});
    order(&gateway, &body).assert_status(400);
    let mut body = copy_to(leaving.addr());
    body["node"]["share"] = json!("5/4");
    let answer = order(&gateway, &body);
    answer.assert_status(400);
    assert!(answer.text().contains("a share is PART/PARTS"));
    let run = gateway.run_command(Path::new("/"), &["jobs", "migrate", "node"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    eventually("no job was created", || {
        let list = gateway.operate("GET", "/api/v1/jobs").send().json();
        (list["total"] == 0).then_some(())
    });
}
