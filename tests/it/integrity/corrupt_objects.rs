//! Objects that the disk has changed. A client that states a digest never gets them, and they are
//! fetched again.

use std::fs;

use md5::Md5;
use sha2::Digest as _;

use crate::harness::{
    Answer, Body, Ended, Gateway, Origin, Reply, Request, Scene, archive, assert_same, files_under,
    rot, sha256, verify,
};

/// Makes Millpond find a corrupt object.
type Finder<'a> = &'a dyn Fn(&Gateway, &[u8]);

/// Asserts that a response has only right bytes, or that its end is missing.
#[track_caller]
fn assert_not_corrupt(answer: &Answer, body: &[u8]) {
    match answer.status {
        200 if answer.ended == Ended::Whole => assert_same(&answer.body, body),
        200 => assert!(answer.body.len() < body.len()),
        206 => assert_same(&answer.body, &body[body.len() / 2 - 10..]),
        status => answer.assert_problem(status),
    }
}

fn requests(gateway: &Gateway, url: &str, body: &Body) -> Vec<Request> {
    let (digest, md5) = (sha256(body), hex::encode(Md5::digest(body)));
    let from_middle = format!("bytes={}-", body.len() / 2 - 10);
    let by_path = gateway.request("GET", &format!("/sha256:{digest}/{url}"));
    vec![
        by_path.clone(),
        by_path.range(&from_middle),
        gateway.get(url).header("X-Expected-Sha256", &digest),
        gateway.request("GET", &format!("/md5:{md5}/{url}")),
        gateway.proxied("GET", url).header("X-Expected-Md5", &md5),
        gateway.request("GET", &format!("/api/v1/objects/sha256/{digest}")),
        gateway
            .request("GET", &format!("/api/v1/objects/sha256/{digest}"))
            .range(&from_middle),
    ]
}

#[test]
fn stated_digest_never_gets_corrupt_bytes() {
    let origin = Origin::start();
    // Small objects are hashed before they are sent, large ones while they are sent.
    for (number, size) in [300_000, 5 << 20].into_iter().enumerate() {
        let body = archive(number as u64, size);
        let path = format!("/x-{number}.0.tar.gz");
        let url = origin.url(&path);
        origin.serve(&path, Reply::file(&body));
        let gateway = Gateway::relaying(&origin);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        for (index, request) in requests(&gateway, &url, &body).into_iter().enumerate() {
            request
                .send()
                .assert_status(if index == 1 || index == 6 { 206 } else { 200 });
            rot(&gateway, &body);
            assert_not_corrupt(&request.send(), &body);
            let set_aside = fs::read_dir(gateway.cache().join("quarantine"));
            assert_eq!(
                set_aside.map_or(0, Iterator::count),
                index + 1,
                "{path} {index}"
            );
            gateway.assert_serves(&url, &body);
            assert_same(
                &fs::read(gateway.object_path(&body)).expect("the object is stored again"),
                &body,
            );
        }
    }
}

#[test]
fn quarantine_takes_digests_along() {
    let origin = Origin::start();
    let by_digest = |gateway: &Gateway, body: &[u8]| {
        let path = format!("/api/v1/objects/sha256/{}", sha256(body));
        gateway.request("GET", &path).send().assert_problem(404);
    };
    let by_client = |gateway: &Gateway, body: &[u8]| {
        let request = gateway.get(&origin.url("/x-1.0.tar.gz"));
        let request = request.header("X-Expected-Sha256", &sha256(body));
        request.send().assert_body(200, body);
    };
    let by_scrub = |gateway: &Gateway, _: &[u8]| {
        verify(gateway, &[]).assert(0, &[("corrupt", "refetched")]);
    };
    let as_orphan = |gateway: &Gateway, body: &[u8]| {
        rot(gateway, body);
        for record in gateway.records() {
            fs::remove_file(record).expect("the record can be removed");
        }
        verify(gateway, &[]).assert(0, &[("orphan", "quarantined")]);
    };
    let finders: [Finder<'_>; 4] = [&by_digest, &by_client, &by_scrub, &as_orphan];
    for (number, find) in finders.into_iter().enumerate() {
        let (path, body) = ("/x-1.0.tar.gz", archive(number as u64, 50_000));
        let url = origin.url(path);
        origin.serve(path, Reply::file(&body));
        let gateway = Gateway::relaying(&origin);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        let md5 = hex::encode(Md5::digest(&body));
        let stated = gateway.request("GET", &format!("/md5:{md5}/{url}"));
        stated.send().assert_body(200, &body);
        assert_eq!(files_under(&gateway.cache().join("digests")).len(), 1);
        rot(&gateway, &body);
        find(&gateway, &body);
        let set_aside = files_under(&gateway.cache().join("quarantine"));
        assert_eq!(set_aside.len(), 1, "{number}");
        let digests = files_under(&gateway.cache().join("digests"));
        assert!(digests.is_empty(), "{number}: {digests:?}");
    }
}

#[test]
fn intact_object_is_hashed_after_restart() {
    let path = "/x-1.0.tar.gz";
    let (origin, mut gateway, body, url) = Scene::relaying(path, archive(1, 5 << 20));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.restart();
    for request in requests(&gateway, &url, &body) {
        let answer = request.send();
        assert_not_corrupt(&answer, &body);
        assert_eq!(answer.ended, Ended::Whole);
    }
    assert_eq!(origin.count(path), 1);
}

#[test]
fn zero_verified_for_hashes_each_answer() {
    let origin = Origin::start();
    let path = "/x-1.0.tar.gz";
    let body = archive(1, 300_000);
    origin.serve(path, Reply::file(&body));
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.text("cache.verified_for", "0s").start();
    let url = origin.url(path);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for request in requests(&gateway, &url, &body) {
        assert_not_corrupt(&request.send(), &body);
    }
}
