//! Tests of the end of a body: when a client gets it, and which ends are accepted from an origin.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::harness::{Body, Gateway, Origin, Reply, archive, assert_same, eventually, sha256};

/// Longest time for which Millpond withholds the end of a body from its readers.
const MAX_DELAY: Duration = Duration::from_secs(2);

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
        ("/length.tar.gz", large.clone(), Reply::file(&large)),
        (
            "/chunks.tar.gz",
            large.clone(),
            Reply::file(&large).chunked(),
        ),
        ("/small.tar.gz", small.clone(), Reply::file(&small)),
        ("/empty.txt", empty.clone(), Reply::file(&empty)),
        (
            "/no-chunks.txt",
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
fn slow_disk_withholds_end_for_two_seconds() {
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
        ("/length.tar.gz", Reply::file(&body), 299_999),
        ("/chunks.tar.gz", Reply::file(&body).chunked(), 300_000),
    ] {
        origin.serve(path, reply);
        let _lock = hold_publishing(&gateway, &body);
        let start = Instant::now();
        let mut answer = gateway.get(&origin.url(path)).open();
        assert_same(&answer.read(early_bytes), &body[..early_bytes]);
        assert!(start.elapsed() < MAX_DELAY, "{path}");
    }
}
