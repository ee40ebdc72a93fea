//! Tests that operator actions take effect in the bucket too.

use crate::harness::{
    Bucket, Builder, Gateway, Origin, Reply, archive, encoded, eventually, object_key, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(bucket: &Bucket, origin: &Origin) -> Builder {
    bucket
        .configure(Gateway::builder().origin(origin).relay().one_attempt(), "")
        .text("cache.negative_ttl", "1ms")
}

fn of_target(resource: &str, url: &str) -> String {
    format!("/api/v1/{resource}?url={}", encoded(url))
}

#[test]
fn pin_is_shared_through_the_bucket() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let (fetched, own) = (archive(1, 20_000), archive(2, 20_000));
    origin.serve(PATH, Reply::file(&fetched));
    let url = origin.url(PATH);
    let one = with(&bucket, &origin).start();
    one.assert_serves(&url, &fetched);
    one.await_stored(&url);
    one.operate("PUT", &of_target("objects", &url))
        .body(&own)
        .send()
        .assert_status(201);
    bucket.wait_for(&object_key(&fetched));
    bucket.wait_for(&object_key(&own));
    bucket.wait_for_keys("records/", 2);
    let pins = bucket.wait_for_keys("pins/", 1);
    assert!(pins[0].ends_with(&format!("/{}", sha256(&own))), "{pins:?}");
    let other = with(&bucket, &origin).start();
    other.proxied("GET", &url).send().assert_body(200, &own);
    one.operate("DELETE", &of_target("pins", &url))
        .send()
        .json();
    assert!(bucket.keys("pins/").is_empty());
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn removed_target_is_removed_from_the_bucket() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let (first, second) = (archive(3, 20_000), archive(4, 20_000));
    origin.serve(PATH, Reply::file(&first));
    let url = origin.url(PATH);
    let gateway = with(&bucket, &origin).start();
    gateway.assert_serves(&url, &first);
    gateway
        .log()
        .wait_for("the upload", |event| event["message"] == "uploaded");
    gateway
        .operate("DELETE", &of_target("objects", &url))
        .send()
        .json();
    assert!(bucket.keys("records/").is_empty() && bucket.keys("objects/").is_empty());
    origin.serve(PATH, Reply::file(&second));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, &second);
    eventually("the new bytes are uploaded", || {
        (bucket.keys("objects/") == [object_key(&second)]).then_some(())
    });
}

#[test]
fn import_works_while_bucket_is_down() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let own = archive(5, 20_000);
    let url = origin.url(PATH);
    let gateway = with(&bucket, &origin).start();
    bucket.go_down();
    gateway
        .operate("PUT", &of_target("objects", &url))
        .body(&own)
        .send()
        .assert_status(201);
    gateway.assert_serves(&url, &own);
}
