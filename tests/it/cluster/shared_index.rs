//! Nodes with an index in Redis: how they find each other, and which objects they have.

use std::net::SocketAddr;

use serde_json::Value;

use super::fake_peer::{FAKE, FakePeer};
use super::stage::{free_address, node, nodes, owners, url_of};
use crate::harness::{
    Builder, Gateway, NameServer, Origin, REDIS_PASSWORD, RedisServer, Reply, all_at_once, archive,
    eventually, is_request_of, listen, millpond, sha256,
};

const LARGE: usize = 2 << 20;

/// Returns the configuration of a node that knows its peers from Redis only.
pub fn finder(name: &str, address: SocketAddr, redis: &RedisServer) -> Builder {
    node(name, address, &[])
        .text("cluster.advertise", &url_of(address))
        .text("cluster.redis_url", &redis.url())
}

/// Returns the state of a peer that was found at an address.
pub fn state_at(gateway: &Gateway, address: SocketAddr) -> Option<String> {
    let list = nodes(gateway);
    let peers = list["peers"].as_array().expect("it is a list").clone();
    let found = peers.into_iter().find(|peer| {
        let url = peer["url"].as_str().unwrap_or_default();
        url.trim_end_matches('/') == url_of(address)
    })?;
    assert_eq!(found["is_found"], true);
    found["state"].as_str().map(str::to_owned)
}

#[track_caller]
pub fn await_found(gateway: &Gateway, address: SocketAddr, state: &str) {
    eventually(&format!("{address} is found as {state}"), || {
        (state_at(gateway, address)? == state).then_some(())
    });
}

/// Returns the identity of a node.
fn id_of(gateway: &Gateway) -> String {
    let id = nodes(gateway)["own"]["id"].clone();
    serde_json::from_value(id).expect("it is a text")
}

/// Returns the peers in the Metalink document of a stored object.
pub fn peers_in_document(gateway: &Gateway, body: &[u8]) -> Vec<String> {
    let path = format!("/api/v1/objects/sha256/{}/metalink", sha256(body));
    let document = gateway.request("GET", &path).send().text();
    let peers = document.split("<url priority=\"1\">").skip(1);
    let urls = peers.filter_map(|rest| rest.split_once('<'));
    urls.map(|(url, _)| url.to_owned()).collect()
}

/// Returns a number of the page of metrics.
pub fn metric(gateway: &Gateway, series: &str) -> u64 {
    let page = gateway.request("GET", "/metrics").send().text();
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    let number = line.unwrap_or_else(|| panic!("{series} in {page}"));
    number.trim().parse().expect("it is a number")
}

#[test]
fn nodes_find_each_other_and_share_fetches() {
    let (origin, redis) = (Origin::start(), RedisServer::start("127.0.0.132"));
    let addresses = ["127.0.0.132", "127.0.0.133", "127.0.0.134"].map(free_address);
    let mut all: Vec<_> = addresses
        .iter()
        .zip(["first", "second", "third"])
        .map(|(address, name)| finder(name, *address, &redis).origin(&origin).start())
        .collect();
    for (at, gateway) in all.iter().enumerate() {
        for (peer, address) in addresses.iter().enumerate() {
            if peer != at {
                await_found(gateway, *address, "ready");
            }
        }
        assert_eq!(state_at(gateway, addresses[at]), None);
        assert_eq!(metric(gateway, "millpond_cluster_redis_up "), 1);
    }
    let (path, body) = ("/pub/found-1.0.tar.gz", archive(1, 100_000));
    origin.serve(path, Reply::file(&body));
    let url = origin.url(path);
    assert_eq!(owners(&all[0], &url), owners(&all[1], &url));
    assert_eq!(owners(&all[0], &url).len(), 3);
    all_at_once(3, |at| all[at].assert_serves(&url, &body));
    assert_eq!(origin.count(path), 1);
    let id = id_of(&all[2]);
    let left: i64 = redis.run_command(&format!("PTTL millpond:node:{id}"));
    assert!((1..=15_000).contains(&left), "{left}");
    all[2].kill9();
    // Its entry ends by itself after 15 seconds.
    redis.run_command::<()>(&format!("DEL millpond:node:{id}"));
    for gateway in &all[..2] {
        eventually("the node is no peer any more", || {
            state_at(gateway, addresses[2]).is_none().then_some(())
        });
        assert_eq!(owners(gateway, &url).len(), 2);
    }
}

#[test]
fn node_with_two_urls_counts_once() {
    let redis = RedisServer::start("127.0.0.151");
    let addresses = ["127.0.0.151", "127.0.0.152"].map(free_address);
    let other = finder("other", addresses[1], &redis).start();
    // The same node by another URL.
    let names = NameServer::start();
    names.serve("other.example.org", &["127.0.0.152"]);
    let listed = format!("http://other.example.org:{}", addresses[1].port());
    let own = finder("own", addresses[0], &redis)
        .set("cluster.peers", &format!("[{listed:?}]"))
        .set("dial.nameservers", &format!("[\"{}\"]", names.address()))
        .start();
    await_found(&own, addresses[1], "ready");
    eventually("both entries are ready", || {
        let list = nodes(&own)["peers"].clone();
        let peers = list.as_array().expect("it is a list");
        let is_ready = peers.iter().all(|peer| peer["state"] == "ready");
        (peers.len() == 2 && is_ready).then_some(())
    });
    let mut names = owners(&own, "https://example.org/x-1.0.tar.gz");
    names.sort();
    assert_eq!(names, ["other", "own"]);
    await_found(&other, addresses[0], "ready");
}

#[test]
fn large_objects_are_found_by_the_index() {
    let (origin, redis) = (Origin::start(), RedisServer::start("127.0.0.135"));
    let addresses = ["127.0.0.135", "127.0.0.136", "127.0.0.137"].map(free_address);
    let start = |at: usize| {
        let builder = finder(&format!("node-{at}"), addresses[at], &redis);
        builder.origin(&origin).start()
    };
    let (own, holder) = (start(0), start(1));
    await_found(&own, addresses[1], "ready");
    await_found(&holder, addresses[0], "ready");
    let (large, small) = (archive(2, LARGE), archive(3, 300_000));
    for (path, body) in [("/pub/l-1.0.tar.gz", &large), ("/pub/s-1.0.tar.gz", &small)] {
        origin.serve(path, Reply::file(body));
        for gateway in [&own, &holder] {
            gateway.assert_serves(&origin.url(path), body);
            gateway.await_stored(&origin.url(path));
        }
    }
    let key = format!("millpond:at:{}", sha256(&large));
    let members = || -> Vec<String> { redis.run_command(&format!("SMEMBERS {key}")) };
    eventually("both nodes are stated", || {
        (members().len() == 2).then_some(())
    });
    let small_key = format!("millpond:at:{}", sha256(&small));
    assert_eq!(redis.run_command::<u8>(&format!("EXISTS {small_key}")), 0);
    let left: i64 = redis.run_command(&format!("PTTL {key}"));
    assert!((1..=3_600_000).contains(&left), "{left}");
    let other = start(2);
    await_found(&own, addresses[2], "ready");
    let object = format!("/api/v1/objects/sha256/{}", sha256(&large));
    let holder_url = format!("{}{object}", url_of(addresses[1]));
    assert_eq!(peers_in_document(&own, &large), [holder_url]);
    assert_eq!(
        metric(
            &own,
            "millpond_cluster_redis_lookups_total{result=\"named\"} "
        ),
        1
    );
    // The node that is not named was not asked.
    assert_eq!(peers_in_document(&own, &small).len(), 1);
    let small_object = format!("/api/v1/objects/sha256/{}", sha256(&small));
    other
        .log()
        .wait_for("all are asked for the small object", |event| {
            is_request_of(event, &small_object)
        });
    let events = other.log().events();
    assert!(
        !events.iter().any(|event| is_request_of(event, &object)),
        "{events:?}"
    );
    // An object that is evicted leaves the index.
    let holder_id = id_of(&holder);
    assert!(members().contains(&holder_id));
    holder.operate("DELETE", &object).send().assert_status(200);
    eventually("the entry is removed", || {
        (!members().contains(&holder_id)).then_some(())
    });
}

#[test]
fn wrong_entry_is_removed() {
    let (origin, redis) = (Origin::start(), RedisServer::start("127.0.0.138"));
    let addresses = ["127.0.0.138", "127.0.0.139"].map(free_address);
    let own = finder("own", addresses[0], &redis).origin(&origin).start();
    let (path, body) = ("/pub/wrong-1.0.tar.gz", archive(4, LARGE));
    origin.serve(path, Reply::file(&body));
    own.assert_serves(&origin.url(path), &body);
    own.await_stored(&origin.url(path));
    let other = finder("other", addresses[1], &redis)
        .origin(&origin)
        .start();
    await_found(&own, addresses[1], "ready");
    let (key, id) = (format!("millpond:at:{}", sha256(&body)), id_of(&other));
    redis.run_command::<()>(&format!("SADD {key} {id}"));
    assert!(peers_in_document(&own, &body).is_empty());
    eventually("the entry is removed", || {
        let is_member: bool = redis.run_command(&format!("SISMEMBER {key} {id}"));
        (!is_member).then_some(())
    });
    assert_eq!(
        metric(&own, "millpond_cluster_redis_wrong_entries_total "),
        1
    );
    own.assert_serves(&origin.url(path), &body);
}

#[test]
fn hostile_entries_are_bounded_and_refused() {
    let redis = RedisServer::start("127.0.0.140");
    let add = |id: &str, value: &str| {
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .expect("it is later");
        let score = now.as_millis() + 50_000;
        redis.run_command::<()>(&format!("ZADD millpond:nodes {score} {id}"));
        let mut set = redis::cmd("SET");
        set.arg(format!("millpond:node:{id}")).arg(value);
        redis.send::<()>(&set);
    };
    let entry = |url: &str| format!("{{\"address\":{url:?},\"version\":\"0\",\"layout\":2}}");
    // A service of this machine, which must not be asked.
    let service = listen("127.0.0.140");
    let service_url = url_of(service.local_addr().expect("a listener has an address"));
    service.set_nonblocking(true).expect("it is a listener");
    let local = finder("local", free_address("127.0.0.141"), &redis);
    let local = local
        .text("cluster.advertise", "http://192.0.2.1:8080")
        .text("log.level", "debug");
    // A server that passes requests on would state the URL of the real node.
    let relay = FakePeer::start("127.0.0.142", |node| {
        node.advertise = Some("http://127.0.0.143:8080/".to_owned());
    });
    for (id, value) in [
        ("aa01", "garbage"),
        ("aa02", "{\"address\":7}"),
        ("aa03", &"x".repeat(2 << 20)),
        ("aa04", &entry(&service_url)),
        ("aa05", &entry("http://169.254.169.254/")),
        ("aa06", &entry("ftp://10.0.0.1/")),
        ("aa07", &entry("http://user:pw@10.0.0.1/")),
        ("aa08", &entry("http://192.0.2.1:8080")),
        ("aa09", &entry("http://localhost:1")),
    ] {
        add(id, value);
    }
    let mut many = redis::cmd("ZADD");
    many.arg("millpond:nodes");
    for number in 0..10_000 {
        many.arg(4_000_000_000_000_u64).arg(format!("node{number}"));
    }
    redis.send::<()>(&many);
    let gateway = local.start();
    for url in [&service_url, "http://169.254.169.254", "http://localhost:1"] {
        gateway.log().wait_for("the address is refused", |event| {
            let shown = event["url"].as_str().unwrap_or_default();
            event["message"] == "address in the shared index is not allowed"
                && shown.trim_end_matches('/') == url
        });
    }
    assert_eq!(nodes(&gateway)["peers"], serde_json::json!([]));
    assert!(service.accept().is_err());
    let polled = FakePeer::start("127.0.0.144", |_| {});
    let own = finder("own", free_address("127.0.0.145"), &redis).start();
    add(FAKE, &entry(&url_of(relay.address)));
    add("aa10", &entry(&url_of(polled.address)));
    await_found(&own, relay.address, "other_address");
    // The peer states no URL at all.
    await_found(&own, polled.address, "other_address");
    assert_eq!(owners(&own, "https://example.org/x-1.0.tar.gz"), ["own"]);
    // Nodes at addresses where nothing answers are bounded.
    for number in 0..100 {
        add(
            &format!("bb{number}"),
            &entry(&format!("http://127.0.1.{number}:1")),
        );
    }
    let count = || nodes(&own)["peers"].as_array().map_or(0, Vec::len);
    eventually("addresses are asked", || (count() > 30).then_some(()));
    assert!(count() <= 64, "{}", count());
}

#[test]
fn password_is_shown_nowhere() {
    let redis = RedisServer::start("127.0.0.146");
    let gateway = finder("own", free_address("127.0.0.146"), &redis).start();
    eventually("redis is used", || {
        (metric(&gateway, "millpond_cluster_redis_up ") == 1).then_some(())
    });
    let file = gateway.file();
    let file = file.to_str().expect("the path is text");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let shown = millpond(folder.path(), &["check-config", "--show", "--config", file]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let list: Value = nodes(&gateway);
    for text in [shown.stdout, gateway.log().text(), list.to_string()] {
        assert!(!text.contains(REDIS_PASSWORD), "{text}");
    }
}
