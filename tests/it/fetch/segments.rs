//! Bodies that come in ranges over several connections, and origins that do not take it well.

use std::time::Duration;

use crate::harness::{Body, Builder, Gate, Gateway, Origin, Reply, archive, eventually, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";
const MIB: usize = 1 << 20;
const SIZE: usize = 8 * MIB;

/// A body is split into pieces of this size, because it is small.
const PIECE: usize = MIB;

/// How many bytes before a piece are requested with it.
const SEAM: usize = 4 << 10;

/// Returns a gateway that requests bodies over at most four connections.
fn splitting(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .set("fetch.segment_min_size", "\"4MiB\"")
        .rule("host = \"127.0.0.1\"\nsegments = 4")
}

/// Returns a file of an origin that sends 2 MiB a second over each connection.
fn limited(body: &Body) -> Reply {
    Reply::file(body).drip(64 << 10, Duration::from_millis(31))
}

/// Returns a file of an origin that sends 8 MiB a second over each connection.
fn fast(body: &Body) -> Reply {
    Reply::file(body).drip(64 << 10, Duration::from_millis(7))
}

/// Returns the ranges that the origin was asked for, as offsets of the first and the last byte.
fn ranges(origin: &Origin, path: &str) -> Vec<(usize, usize)> {
    let requests = origin.requests(path);
    let ranges = requests.iter().filter_map(|asked| asked.header("range"));
    ranges
        .map(|range| {
            let (first, last) = range
                .strip_prefix("bytes=")
                .and_then(|range| range.split_once('-'))
                .expect("a range of bytes");
            let last = last.parse().unwrap_or(usize::MAX);
            (first.parse().expect("an offset"), last)
        })
        .collect()
}

#[test]
fn body_comes_over_several_connections() {
    let origin = Origin::start();
    let body = archive(1, SIZE);
    origin.serve(PATH, limited(&body));
    let gateway = splitting(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    let fetch = gateway.await_stored(&origin.url(PATH));
    assert_eq!(fetch["attempts"], 1);
    let requests = origin.requests(PATH);
    assert_eq!(requests[0].header("range"), None);
    for asked in &requests[1..] {
        let condition = asked.header("if-range").expect("a condition");
        assert!(condition.starts_with('"'), "{condition}");
    }
    let mut ranges = ranges(&origin, PATH);
    ranges.sort_unstable();
    for (first, last) in &ranges {
        assert_eq!((first + SEAM) % PIECE, 0, "{ranges:?}");
        assert_eq!((last + 1) % PIECE, 0, "{ranges:?}");
    }
    assert!(ranges.len() > 3, "{ranges:?}");
    ranges.dedup();
    assert_eq!(ranges.len(), requests.len() - 1, "no range is asked twice");
    assert!((3..=5).contains(&origin.most_at_once()));
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
}

#[test]
fn herd_reads_split_body_in_order() {
    let origin = Origin::start();
    let body = archive(2, SIZE);
    origin.serve(PATH, limited(&body));
    let gateway = splitting(&origin).start();
    let url = origin.url(PATH);
    let readers: Vec<_> = (0..20).map(|_| gateway.get(&url).start()).collect();
    for reader in readers {
        reader.head().finish().assert_body(200, &body);
    }
    let whole = origin.requests(PATH);
    let whole = whole.iter().filter(|asked| asked.header("range").is_none());
    assert_eq!(whole.count(), 1);
}

#[test]
fn only_large_bodies_of_listed_hosts_are_split() {
    let origin = Origin::start();
    let small = archive(3, 3 * MIB);
    origin.serve("/small-1.0.tar.gz", Reply::file(&small));
    let large = archive(4, SIZE);
    origin.serve(PATH, limited(&large));
    let gateway = splitting(&origin).start();
    gateway.assert_serves(&origin.url("/small-1.0.tar.gz"), &small);
    assert_eq!(origin.count("/small-1.0.tar.gz"), 1);
    gateway.assert_serves(&origin.named_url(PATH), &large);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn connections_stay_within_limit_of_host() {
    let origin = Origin::start();
    let body = archive(5, SIZE);
    origin.serve(PATH, limited(&body));
    // One client alone gets three quarters of the permits.
    let gateway = splitting(&origin).set("fetch.per_host", "3").start();
    gateway.assert_serves(&origin.url(PATH), &body);
    // The origin may still send the response that was given up.
    assert!((2..=3).contains(&origin.most_at_once()));
    let gateway = splitting(&origin).set("fetch.per_host", "1").start();
    let before = origin.count(PATH);
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.count(PATH), before + 1);
}

#[test]
fn slow_connection_is_split_after_five_seconds() {
    let origin = Origin::start();
    let body = archive(11, SIZE);
    let slow = Reply::file(&body).drip(64 << 10, Duration::from_millis(62));
    origin.serve(PATH, slow);
    origin.serve("/fast-1.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("fetch.segment_min_size", "\"4MiB\"")
        .set("fetch.segments", "4")
        .start();
    gateway.assert_serves(&origin.url("/fast-1.0.tar.gz"), &body);
    assert_eq!(origin.count("/fast-1.0.tar.gz"), 1);
    gateway.assert_serves(&origin.url(PATH), &body);
    let ranges = ranges(&origin, PATH);
    let first = ranges.iter().map(|(first, _)| *first).min();
    assert!(first.is_some_and(|first| first > 3 * MIB), "{ranges:?}");
}

#[test]
fn refused_range_costs_one_request() {
    let body = archive(6, SIZE);
    let other = archive(60, SIZE);
    for (name, refusal) in [
        ("ignored", Reply::file(&body).ranges_ignored()),
        ("forbidden", Reply::status(403)),
        ("silent", Reply::file(&body).gate_before_head(&Gate::new())),
        ("busy", Reply::status(429).header("Retry-After", "60")),
        ("away", Reply::status(503)),
        ("changed", Reply::file(&other)),
        (
            "another length",
            Reply::file(&body).wrong_content_range("bytes 1044480-2097151/9999999"),
        ),
        (
            "another range",
            Reply::file(&body).wrong_content_range("bytes 0-1048575/8388608"),
        ),
        (
            "compressed",
            Reply::file(&body).header("Content-Encoding", "gzip"),
        ),
    ] {
        let origin = Origin::start();
        origin.script(PATH, vec![fast(&body), refusal]);
        let gateway = splitting(&origin).start();
        gateway.assert_serves(&origin.url(PATH), &body);
        let fetch = gateway.await_stored(&origin.url(PATH));
        assert_eq!(fetch["attempts"], 1, "{name}");
        assert_eq!(origin.count(PATH), 2, "{name}");
        // The host is not asked again for ranges.
        let next = "/pub/y-1.0.tar.gz";
        origin.serve(next, Reply::file(&body));
        gateway.assert_serves(&origin.url(next), &body);
        assert_eq!(origin.count(next), 1, "{name}");
    }
}

#[test]
fn later_refusal_is_followed_by_the_rest() {
    let body = archive(7, SIZE);
    let origin = Origin::start();
    let file = limited(&body);
    let refused = Reply::status(503);
    origin.script(
        PATH,
        vec![file.clone(), file.clone(), file.clone(), refused, file],
    );
    let gateway = splitting(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
}

#[test]
fn cut_range_is_resumed() {
    let body = archive(8, SIZE);
    let origin = Origin::start();
    let file = limited(&body);
    let cut = file.clone().cut_at(PIECE / 2);
    origin.script(PATH, vec![file.clone(), file.clone(), cut, file]);
    let gateway = splitting(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
}

#[test]
fn shifted_ranges_are_found_without_digest() {
    let body = archive(9, SIZE);
    let mut shifted = body.to_vec();
    shifted.remove(100);
    shifted.push(0);
    let origin = Origin::start();
    origin.serve(PATH, limited(&body).ranges_of(&shifted.into()));
    let gateway = splitting(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    let fetch = gateway.await_stored(&origin.url(PATH));
    assert_eq!(fetch["attempts"], 2);
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
}

#[test]
fn wrong_range_fails_stated_digest() {
    let body = archive(10, SIZE);
    let mut wrong = body.to_vec();
    wrong[SIZE / 2 + PIECE / 2] ^= 1;
    let origin = Origin::start();
    origin.serve(PATH, limited(&body).ranges_of(&wrong.into()));
    let gateway = splitting(&origin).start();
    let url = origin.url(PATH);
    let stated = format!("/sha256:{}/{url}", sha256(&body));
    let answer = gateway.request("GET", &stated).send();
    assert!(answer.body.len() < SIZE, "the end is withheld");
    eventually("the fetch has ended", || {
        gateway.staged().is_empty().then_some(())
    });
    assert!(gateway.records_of(&url).is_empty());
    // The next fetch brings the whole body over one connection.
    let before = origin.count(PATH);
    let answer = gateway.request("GET", &stated).send();
    answer.assert_body(200, &body);
    assert_eq!(origin.count(PATH), before + 1);
}
