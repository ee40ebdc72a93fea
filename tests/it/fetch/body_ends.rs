//! Tests of the end of a body: when a client gets it, and which ends are accepted from an origin.

use std::fmt::Write as _;
use std::fs::File;
use std::time::{Duration, Instant};

use crate::harness::{
    Body, Gateway, Origin, Reply, archive, assert_same, eventually, gzip, sha256,
};

/// Longest time for which Millpond withholds the end of a body from its readers.
const MAX_DELAY: Duration = Duration::from_millis(1_500);

/// Holds the lock that Millpond needs for publishing `body`.
fn hold_publishing(gateway: &Gateway, body: &[u8]) -> File {
    let path = gateway.cache().join("locks").join(&sha256(body)[..2]);
    let lock = File::create(path).expect("the lock file can be opened");
    lock.lock().expect("the file can be locked");
    lock
}

/// Returns a gateway that stores all text files.
fn storing_texts(origin: &Origin) -> Gateway {
    let rule = "path_suffix = \".txt\"\nclass = \"immutable\"";
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .rule(rule)
        .start()
}

/// Returns replies of each kind of end, with the name of their target.
fn replies() -> Vec<(&'static str, Body, Reply)> {
    let large = archive(1, 300_000);
    let small = archive(2, 40);
    let empty: Body = Vec::new().into();
    vec![
        ("/length-1.0.tar.gz", large.clone(), Reply::file(&large)),
        (
            "/chunks-1.0.tar.gz",
            large.clone(),
            Reply::file(&large).chunked(),
        ),
        ("/small-1.0.tar.gz", small.clone(), Reply::file(&small)),
        ("/empty-1.0.txt", empty.clone(), Reply::file(&empty)),
        (
            "/no-chunks-1.0.txt",
            empty.clone(),
            Reply::file(&empty).chunked(),
        ),
    ]
}

#[test]
fn record_exists_before_client_gets_the_end() {
    let origin = Origin::start();
    let gateway = storing_texts(&origin);
    for (path, body, reply) in replies() {
        origin.serve(path, reply);
        let url = origin.url(path);
        let lock = hold_publishing(&gateway, &body);
        let waiting = gateway.get(&url).start();
        eventually("the body is staged", || gateway.staged().first().map(drop));
        assert!(gateway.records_of(&url).is_empty(), "{path}");
        drop(lock);
        waiting.head().finish().assert_body(200, &body);
        assert_eq!(gateway.records_of(&url).len(), 1, "{path}");
        gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    }
}

#[test]
fn slow_disk_withholds_end_for_a_bounded_time() {
    let origin = Origin::start();
    let gateway = storing_texts(&origin);
    for (path, body, reply) in replies() {
        origin.serve(path, reply);
        let url = origin.url(path);
        let lock = hold_publishing(&gateway, &body);
        let start = Instant::now();
        let answer = gateway.get(&url).send();
        assert!(start.elapsed() >= MAX_DELAY, "{path}");
        answer.assert_body(200, &body);
        assert!(gateway.records_of(&url).is_empty(), "{path}");
        drop(lock);
        gateway.await_stored(&url);
    }
}

#[test]
fn all_but_the_end_arrives_without_delay() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = archive(3, 300_000);
    for (path, reply, early_bytes) in [
        ("/length-1.0.tar.gz", Reply::file(&body), 299_999),
        ("/chunks-1.0.tar.gz", Reply::file(&body).chunked(), 300_000),
    ] {
        origin.serve(path, reply);
        let _lock = hold_publishing(&gateway, &body);
        let start = Instant::now();
        let mut answer = gateway.get(&origin.url(path)).open();
        assert_same(&answer.read(early_bytes), &body[..early_bytes]);
        assert!(start.elapsed() < MAX_DELAY, "{path}");
    }
}

/// Returns a gzip file of `size` bytes that do not compress.
fn packed(seed: u64, size: usize) -> Body {
    gzip(&archive(seed, size))
}

/// Returns a patch of more than `size` bytes.
fn patch(size: usize) -> Body {
    let mut text = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n".to_owned();
    for number in 0.. {
        if text.len() > size {
            break;
        }
        writeln!(text, "+line {number}").expect("a string can be written");
    }
    text.into_bytes().into()
}

fn two_attempts(origin: &Origin) -> Gateway {
    Gateway::builder()
        .origin(origin)
        .relay()
        .set("fetch.attempts", "2")
        .start()
}

#[test]
fn format_confirms_end_without_length() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let one = packed(4, 200_000);
    let members = [&one[..], &packed(5, 300), &packed(6, 0)].concat().into();
    let padded = [&one[..], &[0; 10_240]].concat().into();
    for (path, body) in [
        ("/one-1.0.tar.gz", one),
        ("/members-1.0.tar.gz", members),
        ("/padded-1.0.tar.gz", padded),
        ("/small-1.0.tar.gz", packed(7, 30)),
    ] {
        origin.serve(path, Reply::ok(&body).until_close());
        let url = origin.url(path);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        assert_eq!(origin.count(path), 1, "{path}");
    }
}

#[test]
fn second_response_confirms_end_without_length() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (path, body) in [
        ("/x-1.patch", patch(100_000)),
        ("/y-1.patch", patch(40)),
        // The name is that of an archive, and the bytes have no end that can be found.
        ("/odd-1.0.tar.gz", archive(8, 90_000)),
        // Bytes follow the end.
        (
            "/signed-1.0.tar.gz",
            [&packed(9, 9000)[..], b"signature"].concat().into(),
        ),
    ] {
        origin.serve(path, Reply::ok(&body).until_close());
        let url = origin.url(path);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        assert_eq!(origin.count(path), 2, "{path}");
        gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    }
}

#[test]
fn longer_second_response_completes_the_body() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let archive = packed(10, 200_000);
    let text = patch(100_000);
    for (path, body, complete, requests) in [
        (
            "/gz-close-1.0.tar.gz",
            &archive,
            Reply::ok(&archive).until_close(),
            2,
        ),
        ("/gz-length-1.0.tar.gz", &archive, Reply::ok(&archive), 2),
        ("/close-1.0.patch", &text, Reply::ok(&text).until_close(), 3),
        ("/length-1.0.patch", &text, Reply::ok(&text), 2),
    ] {
        let truncated = Reply::ok(body).until_close().cut_at(60_000);
        origin.script(path, vec![truncated, complete]);
        let url = origin.url(path);
        gateway.assert_serves(&url, body);
        gateway.await_stored(&url);
        assert_eq!(origin.count(path), requests, "{path}");
    }
}

#[test]
fn truncated_archive_without_length_is_not_stored() {
    let origin = Origin::start();
    let gateway = two_attempts(&origin);
    let body = packed(11, 200_000);
    let cut = Reply::ok(&body).until_close().cut_at(60_000);
    let longer = Reply::ok(&body).until_close().cut_at(70_000);
    let shorter = Reply::ok(&body).until_close().cut_at(50_000);
    for (path, replies) in [
        ("/refused-1.0.tar.gz", vec![cut.clone(), Reply::status(503)]),
        ("/shorter-1.0.tar.gz", vec![cut.clone(), shorter]),
        ("/longer-1.0.tar.gz", vec![cut, longer, Reply::status(503)]),
    ] {
        origin.script(path, replies);
        let url = origin.url(path);
        gateway.get(&url).send().assert_broken();
        assert_eq!(gateway.await_fetch(&url)["outcome"], "failed", "{path}");
    }
    gateway.assert_nothing_stored();
}

#[test]
fn other_second_response_breaks_the_transfer() {
    let origin = Origin::start();
    let gateway = two_attempts(&origin);
    let body = patch(100_000);
    let other = [&body[..60_000], b"other"].concat().into();
    origin.script(
        "/x-1.patch",
        vec![Reply::ok(&body).until_close(), Reply::ok(&other)],
    );
    let url = origin.url("/x-1.patch");
    gateway.get(&url).send().assert_broken();
    assert_eq!(gateway.await_fetch(&url)["outcome"], "failed");
    gateway.assert_nothing_stored();
}

#[test]
fn unconfirmed_body_is_served_and_not_stored() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = patch(100_000);
    for (path, refusal) in [
        ("/busy-1.0.patch", Reply::status(503)),
        ("/once-1.0.patch", Reply::status(403)),
        ("/cut-1.0.patch", Reply::ok(&body).cut_at(50_000)),
    ] {
        origin.script(path, vec![Reply::ok(&body).until_close(), refusal]);
        let url = origin.url(path);
        gateway.assert_serves(&url, &body);
        let fetch = gateway.await_fetch(&url);
        assert_eq!(fetch["outcome"], "failed", "{path}");
        assert_eq!(
            fetch["cause"], "the body ended with the connection, and its end was not confirmed",
            "{path}"
        );
    }
    gateway.assert_nothing_stored();
}

#[test]
fn digest_confirms_end_without_length() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = patch(100_000);
    origin.serve("/x-1.patch", Reply::ok(&body).until_close());
    let url = origin.url("/x-1.patch");
    gateway
        .get(&url)
        .header("X-Expected-Sha256", &sha256(&body))
        .send()
        .assert_body(200, &body);
    gateway.await_stored(&url);
    assert_eq!(origin.count("/x-1.patch"), 1);
}
