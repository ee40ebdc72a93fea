//! A node that is taken away: it owns nothing any more, serves what it has, and moves what only it
//! has.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::stage::{await_state, free_address, node, nodes, owners};
use super::warm::{await_done, contents, stored};
use crate::harness::{Body, Gateway, Origin, Reply, archive, eventually, sha256};
use crate::operate::jobs::{await_end, order, show, start};

/// Order for a job that moves what only this node has.
fn to_owners() -> Value {
    json!({"kind": "migrate", "to": "owners"})
}

/// Starts nodes at these addresses. The first one alone stores archives, before the others start.
fn start_nodes<const N: usize>(
    ips: [&str; N],
    origin: &Origin,
    count: u64,
) -> ([Gateway; N], Vec<(String, Body)>) {
    let addresses = ips.map(free_address);
    let mut all = Vec::new();
    let mut number = 0;
    let started = addresses.map(|address| {
        number += 1;
        let name = format!("node-{number}");
        let gateway = node(&name, address, &addresses).origin(origin).start();
        if number == 1 {
            all = stored(&gateway, origin, count);
        }
        gateway
    });
    for (at, gateway) in started.iter().enumerate() {
        for (peer, address) in addresses.iter().enumerate() {
            let state = if peer == at { "itself" } else { "ready" };
            await_state(gateway, *address, state);
        }
    }
    (started, all)
}

/// Serves an archive of which `owner` is the owner, as `gateway` sees it. Returns its URL.
fn of_owner(gateway: &Gateway, origin: &Origin, owner: &str, seed: u64) -> (String, Body) {
    let mut paths = (0..100).map(|number| format!("/pub/d-{seed}-{number}.0.tar.gz"));
    let path = paths.find(|path| owners(gateway, &origin.url(path))[0] == owner);
    let path = path.expect("each node owns a part of all targets");
    let body = archive(seed, 30_000);
    origin.serve(&path, Reply::file(&body));
    (origin.url(&path), body)
}

fn drain(gateway: &Gateway) {
    let answer = gateway.operate("PUT", "/api/v1/node/draining").send();
    answer.assert_status(200);
    assert_eq!(answer.json()["draining"], true);
}

#[test]
fn drained_node_leaves_nothing_behind() {
    let origin = Origin::start();
    let ips = ["127.0.0.111", "127.0.0.112", "127.0.0.113"];
    let ([mut first, second, third], all) = start_nodes(ips, &origin, 20);
    let asked = origin.total();
    let run = first.run_command(Path::new("/"), &["drain"]);
    run.assert_success();
    let last = run.stdout.lines().last();
    assert_eq!(last, Some("0 objects remain on this node only"));
    assert!(run.stdout.contains("not looked at: "), "{}", run.stdout);
    for (url, body) in &all {
        first.assert_serves(url, body);
        let names = owners(&second, url);
        assert!(!names.contains(&"node-1".to_owned()), "{names:?}");
        let owner = if names[0] == "node-2" {
            &second
        } else {
            &third
        };
        assert!(owner.object_path(body).exists(), "{url} at {names:?}");
        assert_eq!(owner.records_of(url).len(), 1);
    }
    let taken = second.objects().len() + third.objects().len();
    assert_eq!(taken, all.len(), "each object is copied once");
    first.kill9();
    for (url, body) in &all {
        second.assert_serves(url, body);
        third.assert_serves(url, body);
    }
    assert_eq!(origin.total(), asked, "no origin is asked");
}

#[test]
fn draining_node_serves_and_owns_nothing() {
    let origin = Origin::start();
    let ([mut first, second], _) = start_nodes(["127.0.0.114", "127.0.0.115"], &origin, 0);
    let (old, old_body) = of_owner(&second, &origin, "node-1", 1);
    first.assert_serves(&old, &old_body);
    first.await_stored(&old);
    let (new, new_body) = of_owner(&second, &origin, "node-1", 2);
    let (own, own_body) = of_owner(&second, &origin, "node-1", 3);
    drain(&first);
    await_state(&second, first.addr(), "draining");
    assert_eq!(owners(&first, &new), ["node-2", "node-1"]);
    // Both nodes serve what only one of them has.
    second.assert_serves(&old, &old_body);
    second.await_stored(&old);
    assert_eq!(origin.total(), 1);
    // A new target is fetched by its next owner, whichever node is asked.
    second.assert_serves(&new, &new_body);
    first.assert_serves(&own, &own_body);
    for (url, body) in [(&new, &new_body), (&own, &own_body)] {
        second.await_stored(url);
        assert!(second.object_path(body).exists());
    }
    assert_eq!(origin.total(), 3);
    let fetched_new = |event: &Value| event["message"] == "fetch" && event["uri"] == new.as_str();
    assert!(!first.log().events().iter().any(fetched_new));
    assert!(second.log().events().iter().any(fetched_new));
    // The state survives a kill, until it is ended.
    first.kill9();
    first.restart();
    await_state(&second, first.addr(), "draining");
    let run = first.run_command(Path::new("/"), &["drain", "--cancel"]);
    run.assert_success();
    await_state(&second, first.addr(), "ready");
    assert_eq!(owners(&second, &new)[0], "node-1");
    assert_eq!(nodes(&first)["own"]["draining"], false);
}

#[test]
fn drain_goes_on_after_kills_and_stops() {
    let origin = Origin::start();
    let ips = ["127.0.0.116", "127.0.0.117"];
    let ([mut first, mut second], all) = start_nodes(ips, &origin, 30);
    drain(&first);
    let mut body = to_owners();
    body["concurrency"] = json!(1);
    let job = start(&first, &body);
    await_done(&first, &job, 10);
    second.signal("STOP");
    first.kill9();
    first.restart();
    assert_eq!(show(&first, &job)["ended"], Value::Null);
    first.assert_serves(&all[0].0, &all[0].1);
    second.signal("CONT");
    let done = show(&first, &job)["done"].as_u64().unwrap_or_default();
    await_done(&first, &job, done + 10);
    second.kill9();
    second.restart();
    let done = show(&first, &job)["done"].as_u64().unwrap_or_default();
    await_done(&first, &job, done + 10);
    // The other node stops in order this time, and ends its pulls.
    second.restart();
    let ended = await_end(&first, &job);
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("succeeded"), &json!(256)),
        "{ended}"
    );
    for folder in ["records", "objects"] {
        assert_eq!(contents(&second, folder), contents(&first, folder));
    }
    assert_eq!(origin.total(), all.len(), "no origin is asked again");
}

#[test]
fn objects_without_space_elsewhere_remain() {
    let origin = Origin::start();
    let addresses = ["127.0.0.118", "127.0.0.119"].map(free_address);
    let first = node("node-1", addresses[0], &addresses)
        .origin(&origin)
        .start();
    let all = stored(&first, &origin, 12);
    let second = node("node-2", addresses[1], &addresses).origin(&origin);
    let second = second.text("cache.max_size", "150KiB").start();
    await_state(&first, second.addr(), "ready");
    let run = first.run_command(Path::new("/"), &["drain"]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(
        run.stdout.contains("1 objects remain on this node only"),
        "{}",
        run.stdout
    );
    assert!((1..8).contains(&second.objects().len()));
    for (url, body) in &all {
        assert!(first.object_path(body).exists());
        first.assert_serves(url, body);
    }
    first
        .run_command(Path::new("/"), &["drain", "--cancel"])
        .assert_success();
    eventually("the node is ready again", || {
        (nodes(&first)["own"]["draining"] == false).then_some(())
    });
}

#[test]
fn ended_pull_keeps_its_state() {
    let origin = Origin::start();
    let ips = ["127.0.0.123", "127.0.0.124"];
    let ([first, second], all) = start_nodes(ips, &origin, 1);
    let (url, body) = &all[0];
    let facts = nodes(&first);
    let id = facts["own"]["id"].as_str().expect("a node has an identity");
    let key = sha256(url.as_bytes());
    let path = format!("/api/v1/node/records?keys={key}&from={id}");
    let pull = || second.operate("POST", &path).send().json();
    first.signal("STOP");
    assert_eq!(pull()["is_pending"], true);
    first.signal("CONT");
    eventually("the pull ends", || {
        second.object_path(body).exists().then_some(())
    });
    await_state(&second, first.addr(), "ready");
    let state = pull();
    assert_eq!(state["copied_bytes"], body.len(), "{state}");
    assert_eq!(state["stored"].as_array().map(Vec::len), Some(1), "{state}");
    // The next request copies what is missing then.
    let state = pull();
    assert_eq!(state["copied_bytes"], 0, "{state}");
    assert_eq!(state["stored"].as_array().map(Vec::len), Some(1), "{state}");
}

#[test]
fn node_without_peers_is_not_drained() {
    let gateway = node("alone", free_address("127.0.0.120"), &[]).start();
    let run = gateway.run_command(Path::new("/"), &["drain"]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(
        run.stderr.contains("no peer of this node"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert_eq!(nodes(&gateway)["own"]["draining"], false);
    order(&gateway, &to_owners()).assert_status(400);
}

#[test]
fn failed_repeat_leaves_node_draining() {
    let gateway = node("alone", free_address("127.0.0.129"), &[]).start();
    drain(&gateway);
    let run = gateway.run_command(Path::new("/"), &["drain"]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert_eq!(nodes(&gateway)["own"]["draining"], true);
}

#[test]
fn peer_without_this_node_takes_nothing() {
    let origin = Origin::start();
    let second = node("node-2", free_address("127.0.0.121"), &[]).start();
    let first = node("node-1", free_address("127.0.0.122"), &[second.addr()]);
    let first = first.origin(&origin).start();
    let all = stored(&first, &origin, 2);
    await_state(&first, second.addr(), "ready");
    let ended = await_end(&first, &start(&first, &to_owners()));
    assert_eq!(ended["state"], "failed", "{ended}");
    let failures = ended["failures"].as_array().expect("it is a list");
    assert_eq!(failures.len(), 1, "{ended}");
    let error = failures[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("has answered 400: "), "{error}");
    assert!(error.contains("is none of cluster.peers"), "{error}");
    second.assert_nothing_stored();
    for (url, body) in &all {
        first.assert_serves(url, body);
    }
}

#[test]
fn objects_with_unreadable_records_remain() {
    let origin = Origin::start();
    let ([first, second], all) = start_nodes(["127.0.0.127", "127.0.0.128"], &origin, 2);
    let (url, body) = &all[0];
    let record = first.records_of(url).remove(0);
    fs::set_permissions(&record, Permissions::from_mode(0o644)).expect("the mode can be changed");
    fs::write(&record, "no record").expect("the file can be written");
    let run = first.run_command(Path::new("/"), &["drain"]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    let remaining = "1 objects remain on this node only";
    assert!(run.stdout.contains(remaining), "{}", run.stdout);
    assert!(!second.object_path(body).exists());
    assert!(second.object_path(&all[1].1).exists());
}
