//! Tests of garbage collection in the bucket while other processes upload to it.

use std::time::Duration;

use crate::harness::{
    Body, Bucket, Builder, Fault, Gate, Gateway, Origin, Reply, Run, archive, assert_same,
    eventually, millpond, object_key,
};

const DAY: Duration = Duration::from_hours(24);
const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(bucket: &Bucket, origin: &Origin) -> Builder {
    bucket.configure(Gateway::builder().origin(origin).relay(), "")
}

/// Runs `millpond gc` for the bucket of a gateway.
fn gc(gateway: &Gateway, args: &[&str]) -> Run {
    let file = gateway.file();
    let file = file.to_str().expect("the path is UTF-8");
    let run = millpond(gateway.cache(), &[&["gc", "--config", file], args].concat());
    run.assert_success();
    run
}

fn stored(gateway: &Gateway, origin: &Origin, seed: u64) -> (String, Body) {
    let body = archive(seed, 100_000);
    let path = format!("/pub/y-{seed}.tar.gz");
    origin.serve(&path, Reply::file(&body));
    gateway.assert_serves(&origin.url(&path), &body);
    gateway.await_uploaded(&origin.url(&path));
    (path, body)
}

#[test]
fn gc_removes_old_objects_without_a_record() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin).start();
    let (_, kept) = stored(&gateway, &origin, 1);
    let (young, old) = (archive(2, 1000), archive(3, 1000));
    for body in [&young, &old] {
        bucket.write(&object_key(body), body);
    }
    bucket.age(&object_key(&old), 8 * DAY);
    bucket.age(&object_key(&kept), 30 * DAY);
    let rehearsal = gc(&gateway, &["--dry-run"]);
    assert!(
        rehearsal
            .stdout
            .contains("would remove: 1 that no record names"),
        "{}",
        rehearsal.stdout
    );
    assert_eq!(bucket.keys("objects/").len(), 3);
    gc(&gateway, &[]);
    let mut left = vec![object_key(&kept), object_key(&young)];
    left.sort();
    assert_eq!(bucket.keys("objects/"), left);
    bucket.assert_nothing_refused();
}

#[test]
fn object_removed_during_publish_is_uploaded_again() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(4, 100_000);
    origin.serve(PATH, Reply::file(&body));
    // An orphan of the same bytes, which the collection is about to remove.
    bucket.write(&object_key(&body), &body);
    bucket.age(&object_key(&body), Duration::from_mins(1));
    let collector = with(&bucket, &origin).text("s3.gc_grace", "32s").start();
    let gate = Gate::new();
    bucket.fault(|seen| seen.method == "DELETE", Fault::Stall(gate.clone()));
    let collecting = std::thread::spawn({
        let (folder, file) = (collector.cache().to_owned(), collector.file());
        move || {
            millpond(
                &folder,
                &["gc", "--config", file.to_str().expect("the path is UTF-8")],
            )
        }
    });
    gate.await_reached(1);
    // Now another process fetches a target of these bytes, and puts the object and its record.
    let publisher = with(&bucket, &origin).text("s3.gc_grace", "32s").start();
    publisher.assert_serves(&origin.url(PATH), &body);
    bucket.wait_for_keys("records/", 1);
    // The collection's DELETE, sent before, takes effect only now.
    gate.open();
    collecting
        .join()
        .expect("the thread does not panic")
        .assert_success();
    publisher.await_uploaded(&origin.url(PATH));
    assert_same(
        &bucket
            .read(&object_key(&body))
            .expect("the object exists again"),
        &body,
    );
}

#[test]
fn gc_keeps_object_put_again_after_listing() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin).start();
    let body = archive(5, 100_000);
    bucket.write(&object_key(&body), &body);
    bucket.age(&object_key(&body), 8 * DAY);
    let gate = Gate::new();
    bucket.fault_times(1, |seen| seen.method == "HEAD", Fault::Stall(gate.clone()));
    let collecting = std::thread::spawn({
        let (folder, file) = (gateway.cache().to_owned(), gateway.file());
        move || {
            millpond(
                &folder,
                &["gc", "--config", file.to_str().expect("the path is UTF-8")],
            )
        }
    });
    gate.await_reached(1);
    origin.serve(PATH, Reply::file(&body));
    gateway.assert_serves(&origin.url(PATH), &body);
    bucket.wait_for_keys("records/", 1);
    gate.open();
    collecting
        .join()
        .expect("the thread does not panic")
        .assert_success();
    assert_same(
        &bucket.read(&object_key(&body)).expect("the object exists"),
        &body,
    );
    assert_eq!(bucket.count("DELETE", "objects/"), 0);
}

#[test]
fn record_put_after_listing_protects_young_object() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin).start();
    let gate = Gate::new();
    // The collection has listed the records, and not yet the objects.
    bucket.fault_times(
        1,
        |seen| seen.query.contains("prefix=objects"),
        Fault::Stall(gate.clone()),
    );
    let collecting = std::thread::spawn({
        let (folder, file) = (gateway.cache().to_owned(), gateway.file());
        move || {
            millpond(
                &folder,
                &["gc", "--config", file.to_str().expect("the path is UTF-8")],
            )
        }
    });
    gate.await_reached(1);
    bucket.heal();
    let (path, body) = stored(&gateway, &origin, 6);
    gate.open();
    collecting
        .join()
        .expect("the thread does not panic")
        .assert_success();
    assert_same(
        &bucket.read(&object_key(&body)).expect("the object exists"),
        &body,
    );
    std::fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    gateway
        .proxied("GET", &origin.url(&path))
        .send()
        .assert_body(200, &body);
    assert_eq!(origin.count(&path), 1);
}

#[test]
fn retention_removes_only_unused_objects() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let mut gateway = with(&bucket, &origin).start();
    let [unused, used, pinned, young] = [7, 8, 9, 10].map(|seed| stored(&gateway, &origin, seed).1);
    for body in [&unused, &used, &pinned] {
        bucket.age(&object_key(body), 100 * DAY);
    }
    let pin = object_key(&pinned).replacen("objects/", "pins/", 1);
    bucket.write(&pin, b"");
    // Retention is off by default.
    gc(&gateway, &[]);
    assert_eq!(bucket.keys("objects/").len(), 4);
    let marker = object_key(&used).replacen("objects/", "used/", 1);
    bucket.write(&marker, b"");
    // Before use markers have been written for long enough, any object may be in use.
    gc(&gateway, &["--set", "s3.max_unused=90days"]);
    assert_eq!(bucket.keys("objects/").len(), 4);
    bucket.age("used/began", 95 * DAY);
    gateway.restart_with(|builder| builder.text("s3.max_unused", "90days"));
    gc(&gateway, &[]);
    let gone = eventually("the unused object is removed", || {
        (bucket.keys("objects/").len() == 3).then(|| bucket.read(&object_key(&unused)))
    });
    assert_eq!(gone, None);
    for body in [&used, &pinned, &young] {
        assert!(bucket.read(&object_key(body)).is_some());
    }
    // The record of the removed object stays, so that other bytes would be detected as a change.
    assert_eq!(bucket.keys("records/").len(), 4);
    bucket.assert_nothing_refused();
}

#[test]
fn retention_writes_one_use_marker_a_day() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin)
        .text("s3.max_unused", "90days")
        .start();
    let (path, body) = stored(&gateway, &origin, 11);
    bucket.age(&object_key(&body), 100 * DAY);
    for _ in 0..3 {
        gateway
            .proxied("GET", &origin.url(&path))
            .send()
            .assert_body(200, &body);
    }
    let marker = object_key(&body).replacen("objects/", "used/", 1);
    bucket.wait_for(&marker);
    gc(&gateway, &[]);
    assert!(bucket.read(&object_key(&body)).is_some());
    let told = bucket
        .requests("PUT", "used/")
        .into_iter()
        .filter(|seen| seen.key == marker)
        .count();
    assert_eq!(told, 1, "one use marker is written a day");
}

#[test]
fn gc_above_max_size_removes_least_recently_used() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin).start();
    let bodies = [12, 13, 14].map(|seed| stored(&gateway, &origin, seed).1);
    for (days, body) in [30, 20, 10].into_iter().zip(&bodies) {
        bucket.age(&object_key(body), days * DAY);
    }
    gc(&gateway, &["--set", "s3.max_size=150KB"]);
    assert_eq!(
        bucket.keys("objects/").len(),
        3,
        "use markers are written only from now on"
    );
    bucket.age("used/began", 40 * DAY);
    gc(&gateway, &["--set", "s3.max_size=150KB"]);
    assert_eq!(bucket.keys("objects/"), [object_key(&bodies[2])]);
}

#[test]
fn concurrent_gc_runs_remove_no_more_than_one() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin).start();
    let bodies: Vec<_> = (20..26)
        .map(|seed| stored(&gateway, &origin, seed).1)
        .collect();
    for (days, body) in (10..).zip(&bodies) {
        bucket.age(&object_key(body), days * DAY);
    }
    bucket.write("used/began", b"");
    bucket.age("used/began", 40 * DAY);
    // The first collection has chosen the objects to remove, and waits.
    let gate = Gate::new();
    bucket.fault_times(
        1,
        |seen| seen.method == "HEAD" && seen.key.starts_with("objects/"),
        Fault::Stall(gate.clone()),
    );
    let args =
        |file: &str| ["gc", "--config", file, "--set", "s3.max_size=350KB"].map(str::to_owned);
    let collecting = std::thread::spawn({
        let (folder, file) = (gateway.cache().to_owned(), gateway.file());
        let args = args(file.to_str().expect("the path is UTF-8"));
        move || millpond(&folder, &args.each_ref().map(String::as_str))
    });
    gate.await_reached(1);
    gc(&gateway, &["--set", "s3.max_size=350KB"]);
    gate.open();
    collecting
        .join()
        .expect("the thread does not panic")
        .assert_success();
    assert_eq!(bucket.keys("objects/").len(), 3);
}
