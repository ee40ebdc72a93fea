//! Tests of the API that shows and removes stored objects and targets.

mod hostile;

use std::collections::BTreeSet;

use crate::harness::{Gateway, Origin, Reply, Scene, archive, encoded, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn by_digest(sha256: &str) -> String {
    format!("/api/v1/objects/sha256/{sha256}")
}

#[test]
fn object_is_served_by_its_digest() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(1, 300_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let path = by_digest(&sha256(&body));
    let answer = gateway.request("GET", &path).send();
    answer.assert_body(200, &body);
    let etag = format!("\"{}\"", sha256(&body));
    assert_eq!(answer.wants("etag"), etag);
    assert_eq!(answer.wants("content-disposition"), "attachment");
    assert!(answer.wants("repr-digest").starts_with("sha-256=:"));
    let head = gateway.request("HEAD", &path).send();
    head.assert_status(200);
    assert_eq!(head.wants("content-length"), body.len().to_string());
    gateway
        .request("GET", &path)
        .range("bytes=1000-1999")
        .send()
        .assert_body(206, &body[1000..2000]);
    gateway
        .request("GET", &path)
        .range("bytes=300000-")
        .send()
        .assert_status(416);
    gateway
        .request("GET", &path)
        .header("If-None-Match", &etag)
        .send()
        .assert_status(304);
    gateway
        .request("GET", &by_digest(&"0".repeat(64)))
        .send()
        .assert_problem(404);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn api_rejects_clients_outside_allow_clients() {
    let gateway = Gateway::builder()
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    let of_target = format!(
        "/api/v1/targets?url={}",
        encoded("https://example.org/x-7.0.tar.gz")
    );
    for path in [
        by_digest(&"0".repeat(64)),
        of_target,
        "/api/v1/objects".to_owned(),
    ] {
        gateway.operate("GET", &path).send().assert_problem(403);
    }
}

#[test]
fn target_lookup_shows_its_records() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(2, 20_000));
    let path = format!("/api/v1/targets?url={}", encoded(&url));
    gateway.request("GET", &path).send().assert_problem(404);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let shown = gateway.request("GET", &path).send().json();
    assert_eq!(shown["url"], url);
    let records = shown["records"]
        .as_array()
        .expect("the response has a list of records");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["sha256"], sha256(&body));
    assert_eq!(records[0]["size_bytes"], body.len());
    assert_eq!(
        (&records[0]["cached"], &records[0]["active"]),
        (&true.into(), &true.into())
    );
    assert!(records[0]["pinned"].is_null());
    assert_eq!(
        records[0]["first_seen"].as_str().map(str::len),
        Some("2026-01-31T10:00:00.000Z".len())
    );
    std::fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    let shown = gateway.request("GET", &path).send().json();
    assert_eq!(shown["records"][0]["cached"], false);
}

#[test]
fn object_listing_is_paged_without_gaps() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let mut urls = BTreeSet::new();
    for number in 0..7 {
        let path = format!("/x-{number}.tar.gz");
        let body = archive(10 + number, 2000);
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
        urls.insert(origin.url(&path));
    }
    let mut listed = Vec::new();
    let mut path = "/api/v1/objects?limit=3".to_owned();
    for wanted in [3, 3, 1] {
        let page = gateway.operate("GET", &path).send().json();
        let objects = page["objects"]
            .as_array()
            .expect("the response has a list of objects");
        assert_eq!(objects.len(), wanted);
        listed.extend(objects.iter().map(|object| {
            object["url"]
                .as_str()
                .expect("an object has a URL")
                .to_owned()
        }));
        let next = page["next"].as_str().unwrap_or_default();
        path = format!("/api/v1/objects?limit=3&after={next}");
    }
    assert_eq!(listed.len(), urls.len(), "no object is listed twice");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), urls);
}

#[test]
fn removing_object_keeps_record_removing_target_deletes_it() {
    let (first, second) = (archive(3, 20_000), archive(4, 20_000));
    let (origin, gateway, url) = Scene::replying(PATH, Reply::file(&first));
    gateway.assert_serves(&url, &first);
    gateway.await_stored(&url);
    let removed = gateway
        .operate("DELETE", &by_digest(&sha256(&first)))
        .send()
        .json();
    assert_eq!(removed["freed_bytes"], first.len());
    assert!(gateway.objects().is_empty());
    gateway
        .operate("DELETE", &by_digest(&sha256(&first)))
        .send()
        .assert_problem(404);
    gateway.assert_serves(&url, &first);
    assert_eq!(origin.count(PATH), 2);
    gateway
        .log()
        .wait_for_many("the second fetch", 2, |event| event["message"] == "fetch");
    // The target is removed with its record, so that other bytes are accepted from here on.
    let of_target = format!("/api/v1/objects?url={}", encoded(&url));
    let removed = gateway.operate("DELETE", &of_target).send().json();
    assert_eq!(
        (&removed["records"], &removed["freed_bytes"]),
        (&1.into(), &first.len().into())
    );
    gateway.assert_nothing_stored();
    gateway
        .operate("DELETE", &of_target)
        .send()
        .assert_problem(404);
    origin.serve(PATH, Reply::file(&second));
    gateway.assert_serves(&url, &second);
}
