//! The order of the records of a target, which decides the answer. No clock decides it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{
    Body, Bucket, Builder, Gate, Gateway, Origin, Reply, archive, encoded, eventually, sha256,
};

pub const PATH: &str = "/pub/x-1.0.tar.gz";

/// A time that no clock shows yet, and one that none shows any more.
const FUTURE: &str = "2099-01-02T03:04:05.000Z";
const PAST: &str = "2001-02-03T04:05:06.000Z";

pub fn builder(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.negative_ttl", "1ms")
}

pub fn path(number: usize) -> String {
    format!("/pub/x-{number}.0.tar.gz")
}

pub fn read(record: &Path) -> Value {
    serde_json::from_slice(&fs::read(record).expect("the record exists")).expect("it is JSON")
}

pub fn change(record: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = read(record);
    change(&mut value);
    fs::remove_file(record).expect("the record exists");
    fs::write(record, value.to_string()).expect("the record can be written");
}

/// Returns the path of the record of a target that has these bytes.
pub fn record(gateway: &Gateway, url: &str, body: &[u8]) -> PathBuf {
    let key = sha256(url.as_bytes());
    let folder = gateway.cache().join("records").join(&key[..2]).join(&key);
    folder.join(format!("{}.json", sha256(body)))
}

pub fn refresh(gateway: &Gateway, url: &str) -> Value {
    let path = format!("/api/v1/refresh?url={}", encoded(url));
    gateway.operate("POST", &path).send().json()
}

/// Removes an object, as an eviction does.
fn evict(gateway: &Gateway, body: &[u8]) {
    let path = format!("/api/v1/objects/sha256/{}", sha256(body));
    gateway.operate("DELETE", &path).send().json();
}

#[track_caller]
pub fn assert_refused(gateway: &Gateway, url: &str) {
    gateway
        .get(url)
        .range("bytes=0-9")
        .send()
        .assert_problem(409);
}

#[test]
fn clock_that_goes_back_changes_no_answer() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let (olds, news): (Vec<_>, Vec<_>) = (0..4)
        .map(|number| (archive(number, 20_000), archive(100 + number, 20_000)))
        .unzip();
    for (number, old) in olds.iter().enumerate() {
        origin.serve(&path(number), Reply::file(old));
        gateway.assert_serves(&origin.url(&path(number)), old);
        gateway.await_stored(&origin.url(&path(number)));
    }
    gateway.stop();
    for (number, new) in news.iter().enumerate() {
        // The first record was written while the clock was ahead of its time now.
        let first = gateway.records_of(&origin.url(&path(number))).remove(0);
        change(&first, |record| record["first_seen"] = FUTURE.into());
        origin.serve(&path(number), Reply::file(new));
    }
    gateway.restart();
    let url = |number: usize| origin.url(&path(number));
    // Three ways in which a target gets other bytes: a refresh, an eviction, and both.
    refresh(&gateway, &url(0));
    evict(&gateway, &olds[1]);
    assert_refused(&gateway, &url(1));
    refresh(&gateway, &url(2));
    evict(&gateway, &olds[2]);
    for _ in 0..2 {
        gateway.assert_serves(&url(0), &olds[0]);
        assert_refused(&gateway, &url(1));
        assert_refused(&gateway, &url(2));
        gateway.assert_serves(&url(3), &olds[3]);
        gateway.restart();
    }
    for number in 0..3 {
        let first = read(&record(&gateway, &url(number), &olds[number]));
        let second = read(&record(&gateway, &url(number), &news[number]));
        assert_eq!(
            (&first["generation"], &second["generation"]),
            (&1.into(), &2.into())
        );
        assert_eq!(second["standing"], "witnessed");
    }
}

#[test]
fn records_without_generation_keep_their_order() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let (url, [first, second, third]) = (origin.url(PATH), [1, 2, 3].map(|n| archive(n, 9_000)));
    for body in [&first, &second, &third] {
        origin.serve(PATH, Reply::file(body));
        refresh(&gateway, &url);
    }
    gateway.stop();
    // Version 0.1.0 wrote two of them. Its times decide between these, and both precede the third.
    for (body, seen) in [(&second, PAST), (&first, FUTURE)] {
        change(&record(&gateway, &url, body), |record| {
            let fields = record.as_object_mut().expect("a record is an object");
            fields.remove("generation");
            fields.remove("standing");
            fields["first_seen"] = seen.into();
        });
    }
    change(&record(&gateway, &url, &third), |record| {
        record
            .as_object_mut()
            .expect("a record is an object")
            .remove("standing");
    });
    gateway.restart();
    gateway.assert_serves(&url, &second).assert_cache(&["hit"]);
    let shown = gateway
        .request("GET", &format!("/api/v1/targets?url={}", encoded(&url)))
        .send()
        .json();
    let digests: Vec<_> = shown["records"]
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|record| record["sha256"].clone())
        .collect();
    assert_eq!(digests, [&second, &first, &third].map(|body| sha256(body)));
}

#[test]
fn witnessed_bytes_alone_are_no_answer() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let (url, [old, new]) = (origin.url(PATH), [1, 2].map(|seed| archive(seed, 20_000)));
    for body in [&old, &new] {
        origin.serve(PATH, Reply::file(body));
        refresh(&gateway, &url);
    }
    gateway.stop();
    fs::remove_file(record(&gateway, &url, &old)).expect("the record exists");
    gateway.restart();
    let before = origin.count(PATH);
    gateway.assert_serves(&url, &new);
    gateway.await_fetch(&url);
    assert_eq!(origin.count(PATH), before + 1, "the origin is asked");
    let established = read(&record(&gateway, &url, &new));
    assert!(established.get("standing").is_none(), "{established}");
    gateway.assert_serves(&url, &new).assert_cache(&["hit"]);
}

pub fn in_bucket(bucket: &Bucket, origin: &Origin) -> Builder {
    with_bucket(builder(origin), bucket)
}

fn with_bucket(builder: Builder, bucket: &Bucket) -> Builder {
    let builder = bucket.configure(builder, "shared/");
    builder.text("cache.maintenance_interval", "1s")
}

/// Waits until all gateways answer with these bytes.
#[track_caller]
fn await_answer(gateways: &[&Gateway], url: &str, body: &Body) {
    for gateway in gateways {
        eventually("the nodes agree", || {
            let answer = gateway.proxied("GET", url).send();
            (answer.status == 200 && answer.body == body[..]).then_some(())
        });
    }
}

#[test]
fn order_of_uploads_changes_no_answer() {
    let bodies = [archive(4, 20_000), archive(5, 20_000)];
    let answer = bodies
        .iter()
        .min_by_key(|body| sha256(body))
        .expect("there are two");
    for first_to_upload in 0..2 {
        let (bucket, origin) = (Bucket::start(), Origin::start());
        let url = origin.url(PATH);
        origin.script(PATH, bodies.iter().map(Reply::file).collect());
        // Both fetched the target while they had no bucket, and one clock is far ahead.
        let mut nodes = [PAST, FUTURE].map(|seen| {
            let mut node = builder(&origin).start();
            node.get(&url).send().assert_status(200);
            node.await_stored(&url);
            node.stop();
            let record = node.records_of(&url).remove(0);
            change(&record, |record| record["first_seen"] = seen.into());
            node
        });
        for count in 1..=2 {
            let node = &mut nodes[(first_to_upload + count - 1) % 2];
            node.restart_with(|builder| with_bucket(builder, &bucket));
            bucket.wait_for_keys("shared/records/", count);
        }
        await_answer(&nodes.each_ref(), &url, answer);
        let third = in_bucket(&bucket, &origin).start();
        await_answer(&[&third], &url, answer);
        assert_eq!(origin.count(PATH), 2);
    }
}

#[test]
fn bytes_witnessed_here_are_first_elsewhere() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let url = origin.url(PATH);
    let mut bodies = [archive(6, 20_000), archive(7, 20_000)];
    // The bytes with the smaller digest are witnessed here, and come first elsewhere.
    bodies.sort_by_key(|body| std::cmp::Reverse(sha256(body)));
    let [old, new] = bodies;
    origin.serve(PATH, Reply::file(&old));
    let one = in_bucket(&bucket, &origin).start();
    one.assert_serves(&url, &old);
    origin.serve(PATH, Reply::file(&new));
    refresh(&one, &url);
    bucket.wait_for_keys("shared/records/", 2);
    one.assert_serves(&url, &old);
    let mut two = builder(&origin).start();
    two.assert_serves(&url, &new);
    two.await_stored(&url);
    two.restart_with(|builder| with_bucket(builder, &bucket));
    await_answer(&[&one, &two], &url, &new);
}

#[test]
fn upload_during_first_fetch_becomes_the_answer() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let url = origin.url(PATH);
    let [slow, fast] = [8, 9].map(|seed| archive(seed, 200_000));
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&slow).gate_at(100_000, &gate),
            Reply::file(&fast),
        ],
    );
    let [one, two] = [(); 2].map(|()| in_bucket(&bucket, &origin).start());
    let mut waiting = one.get(&url).open();
    waiting.read(1000);
    gate.await_reached(1);
    two.assert_serves(&url, &fast);
    two.await_uploaded(&url);
    gate.open();
    waiting.finish();
    one.await_fetch(&url);
    await_answer(&[&one, &two], &url, &fast);
    let later = read(&record(&one, &url, &slow));
    assert_eq!(
        (&later["generation"], &later["standing"]),
        (&2.into(), &"witnessed".into())
    );
}
