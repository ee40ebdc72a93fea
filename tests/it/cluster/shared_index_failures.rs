//! Redis that hangs, ends, starts late, or refuses the login. The nodes serve as without it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::shared_index::{await_found, finder, metric, peers_in_document};
use super::stage::{free_address, node, url_of};
use crate::harness::{
    Gateway, Origin, REDIS_PASSWORD, RedisServer, Reply, archive, eventually, listen, millpond,
    sha256,
};

const AWAY: &str = "redis cannot be used, serving without the shared index";
const BACK: &str = "redis answers, using the shared index";

/// Returns how many lines of the log have a text.
fn lines(gateway: &Gateway, text: &str) -> usize {
    let events = gateway.log().events();
    events
        .iter()
        .filter(|event| event["message"] == text)
        .count()
}

#[track_caller]
fn await_up(gateway: &Gateway, number: u64) {
    eventually(&format!("redis is up: {number}"), || {
        (metric(gateway, "millpond_cluster_redis_up ") == number).then_some(())
    });
}

#[test]
fn absent_redis_costs_one_short_wait() {
    let (origin, mut redis) = (Origin::start(), RedisServer::at("127.0.0.147"));
    let addresses = ["127.0.0.147", "127.0.0.148"].map(free_address);
    let all = addresses.map(|address| {
        let builder = finder(&address.ip().to_string(), address, &redis);
        builder.origin(&origin).start()
    });
    let own = &all[0];
    let bodies: Vec<_> = (0..6).map(|seed| archive(50 + seed, 1 << 20)).collect();
    let mut number = 0;
    let mut serve = |gateway: &Gateway| {
        let (path, body) = (format!("/pub/a-{number}.0.tar.gz"), &bodies[number]);
        number += 1;
        origin.serve(&path, Reply::file(body));
        gateway.assert_serves(&origin.url(&path), body);
        gateway.await_stored(&origin.url(&path));
        (path, body)
    };
    // Not started yet.
    own.log()
        .wait_for("redis is away", |event| event["message"] == AWAY);
    serve(own);
    let ready = own.request("GET", "/readyz").send();
    ready.assert_status(200);
    let warning = "but the cluster has no shared index, because Redis cannot be reached";
    assert!(ready.text().contains(warning), "{}", ready.text());
    redis.run();
    for (gateway, peer) in [(own, addresses[1]), (&all[1], addresses[0])] {
        await_found(gateway, peer, "ready");
    }
    assert_eq!((lines(own, AWAY), lines(own, BACK)), (1, 1));
    // Stopped: the peers stay, and only the first request waits.
    redis.signal("STOP");
    let (path, body) = serve(own);
    all[1].assert_serves(&origin.url(&path), body);
    assert_eq!(origin.count(&path), 1);
    let began = Instant::now();
    peers_in_document(own, body);
    let first = began.elapsed();
    await_up(own, 0);
    let began = Instant::now();
    peers_in_document(own, &bodies[0]);
    let second = began.elapsed();
    // The bounds leave time for a busy machine. The wait itself is 200 ms.
    assert!(first < Duration::from_secs(2), "{first:?}");
    assert!(second < Duration::from_secs(1), "{second:?}");
    redis.signal("CONT");
    await_up(own, 1);
    // Killed and started again, without its content.
    redis.kill9();
    await_up(own, 0);
    let (path, body) = serve(&all[1]);
    own.assert_serves(&origin.url(&path), body);
    assert_eq!(origin.count(&path), 1);
    redis.run();
    await_up(own, 1);
    await_found(own, addresses[1], "ready");
    assert_eq!((lines(own, AWAY), lines(own, BACK)), (3, 3));
    // The next use of an object states it again.
    let key = format!("millpond:at:{}", sha256(body));
    assert_eq!(redis.run_command::<u8>(&format!("EXISTS {key}")), 0);
    own.assert_serves(&origin.url(&path), body);
    eventually("the object is stated again", || {
        let count: u8 = redis.run_command(&format!("SCARD {key}"));
        (count == 1).then_some(())
    });
    // The peer was never lost meanwhile.
    assert_eq!(lines(own, "peer is ready"), 1);
    assert_eq!(lines(own, "peer has left the shared index"), 0);
}

#[test]
fn endless_answer_is_refused() {
    let server = listen("127.0.0.153");
    let address = server.local_addr().expect("a listener has an address");
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    thread::spawn(move || {
        while let Ok((mut socket, _)) = server.accept() {
            let block = [0; 1 << 14];
            let mut written = socket.write_all(b"$500000000\r\n");
            while written.is_ok() {
                count.fetch_add(block.len(), Ordering::SeqCst);
                written = socket.write_all(&block);
            }
        }
    });
    let own = free_address("127.0.0.153");
    let gateway = node("own", own, &[])
        .text("cluster.advertise", &url_of(own))
        .text("cluster.redis_url", &format!("redis://{address}"))
        .start();
    let event = gateway
        .log()
        .wait_for("redis is away", |event| event["message"] == AWAY);
    let error = "the server of cluster.redis_url does not answer as Redis does";
    assert_eq!(event["error"], error);
    // Most of it is in the buffers of the system.
    let first = sent.load(Ordering::SeqCst);
    assert!(first < 50_000_000, "{first}");
}

#[test]
fn wrong_password_is_one_line() {
    let redis = RedisServer::start("127.0.0.149");
    let wrong = redis.url_with("another-hush");
    let builder = finder("own", free_address("127.0.0.149"), &redis);
    let gateway = builder.text("cluster.redis_url", &wrong).start();
    let event = gateway
        .log()
        .wait_for("redis refuses", |event| event["message"] == AWAY);
    let error = event["error"].as_str().unwrap_or_default();
    assert_eq!(error, "Redis refuses the login of cluster.redis_url");
    let attempts = || -> u64 {
        let info: String = redis.run_command("INFO commandstats");
        let logins = info.lines().find(|line| line.starts_with("cmdstat_auth:"));
        let failed = logins.and_then(|line| line.split_once("failed_calls="));
        failed.map_or(0, |(_, count)| count.trim().parse().unwrap_or(0))
    };
    eventually("the login was tried again", || {
        (attempts() >= 3).then_some(())
    });
    assert_eq!(lines(&gateway, AWAY), 1);
    let ready = gateway.request("GET", "/readyz").send().text();
    assert!(ready.contains("because Redis refuses the login"), "{ready}");
    let (folder, file) = (tempfile::tempdir(), gateway.file());
    let folder = folder.expect("a folder can be made");
    let file = file.to_str().expect("the path is text");
    let doctor = millpond(folder.path(), &["doctor", "--config", file]);
    let found = format!(
        "cluster.redis_url {}: Redis refuses the login",
        redis.address()
    );
    assert!(doctor.stdout.contains(&found), "{}", doctor.stdout);
    for text in [doctor.stdout, gateway.log().text()] {
        assert!(
            !text.contains("another-hush") && !text.contains(REDIS_PASSWORD),
            "{text}"
        );
    }
}
