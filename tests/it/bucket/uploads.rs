//! Tests of the upload queue. No upload is lost, and no object is evicted before its upload.

use std::time::Duration;

use crate::harness::{
    Body, Bucket, Builder, Fault, Gate, Gateway, Origin, Reply, archive, assert_same, eventually,
    object_key,
};

fn path(number: u64) -> String {
    format!("/pub/x-{number}.tar.gz")
}

fn with(bucket: &Bucket, origin: &Origin) -> Builder {
    bucket.configure(Gateway::builder().origin(origin).relay(), "")
}

fn store(gateway: &Gateway, origin: &Origin, number: u64, size: usize) -> Body {
    let body = archive(number, size);
    origin.serve(&path(number), Reply::file(&body));
    gateway.assert_serves(&origin.url(&path(number)), &body);
    gateway.await_stored(&origin.url(&path(number)));
    body
}

#[test]
fn pending_uploads_survive_sigkill() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    bucket.go_down();
    let mut gateway = with(&bucket, &origin).start();
    let bodies: Vec<_> = (1..=3)
        .map(|number| store(&gateway, &origin, number, 200_000))
        .collect();
    gateway.kill9();
    bucket.come_up();
    gateway.restart();
    for body in &bodies {
        assert_same(&bucket.wait_for(&object_key(body)), body);
    }
    bucket.wait_for_keys("records/", 3);
}

#[test]
fn upload_interrupted_by_sigkill_is_repeated() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gate = Gate::new();
    bucket.fault(
        |seen| seen.query.contains("partNumber=2"),
        Fault::Stall(gate.clone()),
    );
    let mut gateway = with(&bucket, &origin)
        .text("s3.multipart_threshold", "5MiB")
        .start();
    let body = store(&gateway, &origin, 1, 12 << 20);
    gate.await_reached(1);
    assert_eq!(
        bucket.read(&object_key(&body)),
        None,
        "an unfinished upload creates no object"
    );
    gateway.kill9();
    bucket.heal();
    gateway.restart();
    assert_same(&bucket.wait_for(&object_key(&body)), &body);
    gateway.await_uploaded(&origin.url(&path(1)));
}

#[test]
fn objects_pending_upload_are_not_evicted() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    bucket.fault(|seen| seen.method == "PUT", Fault::ACCESS_DENIED);
    let builder = with(&bucket, &origin)
        .text("cache.max_size", "1MiB")
        .text("cache.min_free", "0B");
    let gateway = builder.start();
    let first = store(&gateway, &origin, 1, 400_000);
    let second = store(&gateway, &origin, 2, 400_000);
    // No space is left for a third object, so its body is passed through.
    let third = archive(3, 400_000);
    origin.serve(&path(3), Reply::file(&third));
    gateway.assert_serves(&origin.url(&path(3)), &third);
    assert!(gateway.object_path(&first).exists() && gateway.object_path(&second).exists());
    bucket.heal();
    for body in [&first, &second] {
        bucket.wait_for(&object_key(body));
    }
    for number in [1, 2] {
        gateway.await_uploaded(&origin.url(&path(number)));
    }
    // An uploaded object may be evicted, and is then served from the bucket.
    gateway.assert_serves(&origin.url(&path(3)), &third);
    eventually("the third object is stored", || {
        gateway.object_path(&third).exists().then_some(())
    });
    for (number, body) in [(1, &first), (2, &second), (3, &third)] {
        gateway
            .proxied("GET", &origin.url(&path(number)))
            .send()
            .assert_body(200, body);
    }
    assert_eq!((origin.count(&path(1)), origin.count(&path(2))), (1, 1));
}

#[test]
fn objects_stored_before_the_bucket_are_uploaded() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let mut gateway = Gateway::relaying(&origin);
    let body = store(&gateway, &origin, 1, 200_000);
    gateway.restart_with(|builder| bucket.configure(builder, "sources"));
    assert_same(
        &bucket.wait_for(&format!("sources/{}", object_key(&body))),
        &body,
    );
}

#[test]
fn another_bucket_gets_all_objects_again() {
    let (first, second, origin) = (Bucket::start(), Bucket::start(), Origin::start());
    let mut gateway = with(&first, &origin).start();
    let body = store(&gateway, &origin, 1, 200_000);
    first.wait_for(&object_key(&body));
    gateway.restart_with(|builder| second.configure(builder, ""));
    assert_same(&second.wait_for(&object_key(&body)), &body);
    second.wait_for_keys("records/", 1);
}

#[test]
fn upload_is_verified_after_success_response() {
    for fault in [Fault::Lose, Fault::Keep(1000)] {
        let (bucket, origin) = (Bucket::start(), Origin::start());
        bucket.fault(
            |seen| seen.method == "PUT" && seen.key.starts_with("objects/"),
            fault,
        );
        let builder = with(&bucket, &origin);
        let gateway = builder.start();
        let body = store(&gateway, &origin, 1, 200_000);
        eventually("the upload was checked", || {
            (bucket.count("HEAD", "objects/") >= 2).then_some(())
        });
        assert!(
            bucket.keys("records/").is_empty(),
            "no record names a missing object"
        );
        assert!(gateway.object_path(&body).exists());
    }
}

#[test]
fn unrelated_etags_cause_one_verifying_read() {
    for fault in [Fault::EmptyEtag, Fault::WrongEtag] {
        let (bucket, origin) = (Bucket::start(), Origin::start());
        bucket.fault(
            |seen| seen.key.starts_with("objects/") && seen.method != "GET",
            fault,
        );
        let gateway = with(&bucket, &origin).start();
        let body = store(&gateway, &origin, 1, 200_000);
        gateway.await_uploaded(&origin.url(&path(1)));
        assert_eq!(bucket.count("PUT", "objects/"), 1);
        assert_eq!(
            bucket.count("GET", "objects/"),
            1,
            "the object was read once to verify it"
        );
        assert_same(
            &bucket.read(&object_key(&body)).expect("the object exists"),
            &body,
        );
    }
}

#[test]
fn old_object_near_gc_is_put_and_rechecked() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(1, 200_000);
    bucket.write(&object_key(&body), &body);
    bucket.age(&object_key(&body), Duration::from_secs(9));
    let gateway = with(&bucket, &origin).text("s3.gc_grace", "16s").start();
    store(&gateway, &origin, 1, 200_000);
    // The record is uploaded first. Then another process removes the object.
    bucket.wait_for_keys("records/", 1);
    bucket.remove(&object_key(&body));
    gateway.await_uploaded(&origin.url(&path(1)));
    assert_same(
        &bucket.read(&object_key(&body)).expect("the object exists"),
        &body,
    );
    assert!(bucket.count("PUT", "objects/") >= 2);
}

#[test]
fn object_without_record_is_evicted_after_crash() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    bucket.fault(|seen| seen.method == "PUT", Fault::ACCESS_DENIED);
    let builder = with(&bucket, &origin)
        .text("cache.max_size", "1MiB")
        .text("cache.min_free", "0B");
    let builder = builder
        .set("cache.high_watermark", "0.5")
        .set("cache.low_watermark", "0.3");
    let mut gateway = builder.text("cache.maintenance_interval", "1s").start();
    let stray = store(&gateway, &origin, 1, 400_000);
    gateway.kill9();
    // This is a crash between the two steps of a publish. The object exists, and no record names
    // it.
    std::fs::remove_file(gateway.records_of(&origin.url(&path(1))).remove(0))
        .expect("the record exists");
    bucket.heal();
    gateway.restart();
    let next = store(&gateway, &origin, 2, 300_000);
    eventually("the object without a record is evicted", || {
        (!gateway.object_path(&stray).exists()).then_some(())
    });
    assert_same(&bucket.wait_for(&object_key(&next)), &next);
    gateway.assert_serves(&origin.url(&path(1)), &stray);
    assert_eq!(origin.count(&path(1)), 2);
}
