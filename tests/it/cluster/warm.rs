//! A new node that copies the targets of another one, before it serves their clients.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::fake_peer::FakePeer;
use super::stage::{assert_hit, await_state, free_address, node, owners, url_of};
use crate::harness::{
    Answer, Body, Bucket, Builder, Gateway, Origin, Reply, archive, encoded, eventually,
    files_under, rot,
};
use crate::operate::jobs::{archives, await_end, order, show, start};

/// Returns the order for a job that copies from the node at an address.
fn copy_from(address: SocketAddr) -> Value {
    json!({"kind": "migrate", "to": "disk", "from": {"peer": url_of(address)}})
}

/// Returns the configurations of two nodes.
fn two(ips: [&str; 2], origin: &Origin) -> [Builder; 2] {
    let addresses = ips.map(free_address);
    let at = |number: usize| {
        let name = format!("node-{}", number + 1);
        node(&name, addresses[number], &addresses).origin(origin)
    };
    [at(0), at(1)]
}

/// Stores archives at a node, and returns their URLs and bodies.
pub fn stored(gateway: &Gateway, origin: &Origin, count: u64) -> Vec<(String, Body)> {
    let all = archives(origin, count);
    for (url, body) in &all {
        gateway.assert_serves(url, body);
    }
    for (url, _) in &all {
        gateway.await_stored(url);
    }
    all
}

/// Returns the files below a folder of a cache, with their contents.
pub fn contents(gateway: &Gateway, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = gateway.cache().join(folder);
    let read = |path: PathBuf| {
        let content = fs::read(&path).expect("the file is readable");
        let name = path.strip_prefix(&root).expect("it lies below the folder");
        (name.to_owned(), content)
    };
    files_under(&root).into_iter().map(read).collect()
}

/// Waits until a job has done this number of parts.
#[track_caller]
pub fn await_done(gateway: &Gateway, job: &str, count: u64) {
    eventually("the job goes on", || {
        (show(gateway, job)["done"].as_u64()? >= count).then_some(())
    });
}

#[track_caller]
fn assert_refused(answer: &Answer, text: &str) {
    answer.assert_status(400);
    assert!(answer.text().contains(text), "{}", answer.text());
}

#[test]
fn new_node_has_records_pins_and_objects() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.88", "127.0.0.89"], &origin);
    let mut giver = first.start();
    let all = stored(&giver, &origin, 4);
    let pin = format!("/api/v1/pins?url={}", encoded(&all[0].0));
    giver.operate("PUT", &pin).send().assert_status(200);
    // The record of an evicted object is copied too.
    fs::remove_file(giver.object_path(&all[3].1)).expect("the object is there");
    let gateway = second.start();
    await_state(&gateway, giver.addr(), "ready");
    let from = url_of(giver.addr());
    let run = gateway.run_command(Path::new("/"), &["warm", "--json", "--from", &from]);
    run.assert_success();
    let ended = run.documents().remove(0);
    assert_eq!(ended["from"]["peer"], from, "{ended}");
    assert_eq!(
        (&ended["state"], &ended["bytes"]),
        (&json!("succeeded"), &json!(60_000)),
        "{ended}"
    );
    for folder in ["records", "objects"] {
        assert_eq!(contents(&gateway, folder), contents(&giver, folder));
    }
    let pins = contents(&giver, "pins");
    assert!(!pins.is_empty());
    assert_eq!(contents(&gateway, "pins"), pins);
    let again = await_end(&gateway, &start(&gateway, &copy_from(giver.addr())));
    assert_eq!(
        (&again["unchanged"], &again["bytes"]),
        (&json!(256), &json!(0)),
        "{again}"
    );
    giver.kill9();
    let asked = origin.total();
    for (url, body) in &all[..3] {
        assert_hit(&gateway.assert_serves(url, body));
    }
    assert_eq!(origin.total(), asked, "no origin is asked");
}

#[test]
fn copy_goes_on_after_kills_and_stops() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.90", "127.0.0.91"], &origin);
    let mut giver = first.start();
    let all = stored(&giver, &origin, 30);
    let mut gateway = second.start();
    await_state(&gateway, giver.addr(), "ready");
    let mut body = copy_from(giver.addr());
    body["concurrency"] = json!(1);
    let job = start(&gateway, &body);
    await_done(&gateway, &job, 10);
    giver.signal("STOP");
    gateway.kill9();
    gateway.restart();
    assert_eq!(show(&gateway, &job)["ended"], Value::Null);
    giver.signal("CONT");
    let done = show(&gateway, &job)["done"].as_u64().unwrap_or_default();
    await_done(&gateway, &job, done + 10);
    giver.kill9();
    giver.restart();
    let ended = await_end(&gateway, &job);
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("succeeded"), &json!(256)),
        "{ended}"
    );
    for folder in ["records", "objects"] {
        assert_eq!(contents(&gateway, folder), contents(&giver, folder));
    }
    assert_eq!(gateway.objects().len(), all.len());
    assert!(gateway.staged().is_empty());
}

#[test]
fn only_selected_targets_are_copied() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.92", "127.0.0.93"], &origin);
    let giver = first.start();
    let all = stored(&giver, &origin, 12);
    let gateway = second.start();
    await_state(&gateway, giver.addr(), "ready");
    let copy = |change: Value| {
        let mut body = copy_from(giver.addr());
        for (name, value) in change.as_object().expect("it is an object") {
            body["from"][name] = value.clone();
        }
        let ended = await_end(&gateway, &start(&gateway, &body));
        assert_eq!(ended["state"], "succeeded", "{ended}");
    };
    copy(json!({"hosts": ["example.org"]}));
    gateway.assert_nothing_stored();
    copy(json!({"owned": true}));
    for (url, body) in &all {
        let is_own = owners(&gateway, url)[0] == "node-2";
        assert_eq!(gateway.object_path(body).exists(), is_own, "{url}");
    }
    assert!((1..12).contains(&gateway.objects().len()));
    // One URL, and one that the other node does not have.
    let missing = origin.url("/missing-1.0.tar.gz");
    let mut body = copy_from(giver.addr());
    let left = all
        .iter()
        .find(|(_, body)| !gateway.object_path(body).exists());
    let (url, left) = left.expect("the other node owns some");
    body["targets"] = json!([url, missing]);
    let ended = await_end(&gateway, &start(&gateway, &body));
    assert_eq!(
        (&ended["done"], &ended["failed"], &ended["bytes"]),
        (&json!(2), &json!(1), &json!(20_000)),
        "{ended}"
    );
    assert!(gateway.object_path(left).exists());
    copy(json!({"hosts": [origin.address().ip().to_string()]}));
    assert_eq!(gateway.objects().len(), 12);
}

#[test]
fn corrupt_object_of_peer_is_not_stored() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.94", "127.0.0.95"], &origin);
    let giver = first.start();
    let all = stored(&giver, &origin, 3);
    let (path, large) = ("/large-1.0.tar.gz", archive(9, 6 << 20));
    origin.serve(path, Reply::file(&large));
    giver.assert_serves(&origin.url(path), &large);
    giver.await_stored(&origin.url(path));
    rot(&giver, &all[1].1);
    rot(&giver, &large);
    let gateway = second.start();
    await_state(&gateway, giver.addr(), "ready");
    let ended = await_end(&gateway, &start(&gateway, &copy_from(giver.addr())));
    assert_eq!(ended["done"], 256, "{ended}");
    let stored = [&all[0].1, &all[2].1].map(|body| gateway.object_path(body).exists());
    assert_eq!(stored, [true, true]);
    assert_eq!(gateway.objects().len(), 2, "{ended}");
    assert!(gateway.staged().is_empty());
    // The targets are fetched afresh.
    gateway.assert_serves(&origin.url(path), &large);
}

#[test]
fn full_disk_keeps_what_it_has() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.96", "127.0.0.97"], &origin);
    let giver = first.start();
    stored(&giver, &origin, 12);
    let gateway = second.text("cache.max_size", "150KiB").start();
    await_state(&gateway, giver.addr(), "ready");
    let ended = await_end(&gateway, &start(&gateway, &copy_from(giver.addr())));
    assert_eq!(ended["state"], "failed", "{ended}");
    let error = ended["failures"][0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("the disk would evict others"), "{error}");
    let copied = ended["bytes"].as_u64().unwrap_or_default() / 20_000;
    assert!((1..8).contains(&copied), "{ended}");
    assert_eq!(gateway.objects().len() as u64, copied, "nothing is evicted");
}

#[test]
fn disk_takes_copies_until_eviction_begins() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.125", "127.0.0.126"], &origin);
    let giver = first.start();
    let all = stored(&giver, &origin, 4);
    let second = second.text("cache.max_size", "10MiB");
    let gateway = second.set("cache.low_watermark", "0.01").start();
    let (path, own) = ("/own-1.0.tar.gz", archive(9, 1 << 20));
    origin.serve(path, Reply::file(&own));
    gateway.assert_serves(&origin.url(path), &own);
    gateway.await_stored(&origin.url(path));
    await_state(&gateway, giver.addr(), "ready");
    let ended = await_end(&gateway, &start(&gateway, &copy_from(giver.addr())));
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(gateway.objects().len(), all.len() + 1, "nothing is evicted");
}

#[test]
fn nodes_on_one_bucket_copy_nothing() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let builders = two(["127.0.0.98", "127.0.0.101"], &origin);
    let [first, second] = builders.map(|builder| bucket.configure(builder, ""));
    let giver = first.start();
    let all = stored(&giver, &origin, 3);
    for (url, _) in &all {
        giver.await_uploaded(url);
    }
    let gateway = second.start();
    await_state(&gateway, giver.addr(), "ready");
    let ended = await_end(&gateway, &start(&gateway, &copy_from(giver.addr())));
    assert_eq!(
        (&ended["unchanged"], &ended["bytes"]),
        (&json!(256), &json!(0)),
        "{ended}"
    );
    gateway.assert_nothing_stored();
    let asked = origin.total();
    for (url, body) in &all {
        gateway.assert_serves(url, body);
    }
    assert_eq!(origin.total(), asked, "the bucket has them");
}

#[test]
fn unfit_nodes_are_refused_with_the_reason() {
    let origin = Origin::start();
    let other = FakePeer::start("127.0.0.102", |node| node.version = "0.0.1".to_owned());
    let foreign = node("foreign", free_address("127.0.0.103"), &[])
        .text("cluster.secret", "a secret of other nodes")
        .start();
    let peers = [other.address, foreign.addr()];
    let gateway = node("own", free_address("127.0.0.104"), &peers)
        .origin(&origin)
        .start();
    await_state(&gateway, other.address, "other_version");
    await_state(&gateway, foreign.addr(), "wrong_secret");
    let refuse = |address: SocketAddr, text: &str| {
        assert_refused(&order(&gateway, &copy_from(address)), text);
        let from = url_of(address);
        let run = gateway.run_command(Path::new("/"), &["warm", "--from", &from]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(text), "{}", run.stderr);
    };
    refuse(other.address, "has another version of Millpond");
    refuse(foreign.addr(), "has another cluster.secret");
    refuse(free_address("127.0.0.109"), "none of cluster.peers");
    for (name, value) in [("to", json!("bucket")), ("kind", json!("scrub"))] {
        let mut body = copy_from(other.address);
        body[name] = value;
        order(&gateway, &body).assert_status(400);
    }
}

#[test]
fn job_ends_if_node_becomes_unfit() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.105", "127.0.0.106"], &origin);
    let mut giver = first.start();
    giver.signal("STOP");
    let gateway = second.start();
    let job = start(&gateway, &copy_from(giver.addr()));
    giver.kill9();
    giver.restart_with(|builder| builder.text("cluster.secret", "a secret of other nodes"));
    let ended = await_end(&gateway, &job);
    assert_eq!(ended["state"], "failed", "{ended}");
    let failures = ended["failures"].as_array().expect("it is a list");
    assert_eq!(failures.len(), 1, "{ended}");
    let error = failures[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("has another cluster.secret"), "{error}");
}

#[test]
fn cancelled_copy_ends_at_once() {
    let origin = Origin::start();
    let [first, second] = two(["127.0.0.107", "127.0.0.108"], &origin);
    let giver = first.start();
    stored(&giver, &origin, 3);
    giver.signal("STOP");
    let gateway = second.start();
    let job = start(&gateway, &copy_from(giver.addr()));
    let cancelled = gateway.operate("DELETE", &job).send().json();
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    giver.signal("CONT");
    gateway.assert_nothing_stored();
}

#[test]
fn quota_of_client_stops_no_copy() {
    let origin = Origin::start();
    let addresses = ["127.0.0.130", "127.0.0.131"].map(free_address);
    // A peer that is not listed by its address has the limits of a client.
    let giver = node("node-1", addresses[0], &[]).origin(&origin);
    let giver = giver.set("limits.exempt_clients", "[\"127.0.0.1/32\"]");
    let giver = giver.text("limits.bytes_per_day", "30KB").start();
    let all = stored(&giver, &origin, 4);
    let gateway = node("node-2", addresses[1], &addresses).start();
    await_state(&gateway, giver.addr(), "ready");
    let ended = await_end(&gateway, &start(&gateway, &copy_from(giver.addr())));
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(gateway.objects().len(), all.len());
}
