//! Tests that stored objects are uploaded to the bucket, and served from it when the disk has no
//! copy.

use crate::harness::{
    Body, Bucket, Builder, DATE, DAY_AFTER, Fault, Gateway, Origin, Reply, Tool, archive,
    assert_same, eventually, object_key, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(bucket: &Bucket, origin: &Origin) -> Builder {
    bucket.configure(Gateway::builder().origin(origin).relay(), "")
}

/// Returns a gateway that has uploaded `body`, and whose disk no longer has the object.
fn with_uploaded(bucket: &Bucket, origin: &Origin, body: &Body) -> Gateway {
    origin.serve(PATH, Reply::file(body).header("Last-Modified", DATE));
    let gateway = with(bucket, origin).start();
    gateway.assert_serves(&origin.url(PATH), body);
    gateway.await_uploaded(&origin.url(PATH));
    // A request before the end of the fetch would collapse into it.
    gateway.await_stored(&origin.url(PATH));
    std::fs::remove_file(gateway.object_path(body)).expect("the object exists");
    gateway
}

#[test]
fn object_and_record_are_uploaded() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(1, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    assert_eq!(bucket.read(&object_key(&body)).as_deref(), Some(&body[..]));
    let records = bucket.keys("records/");
    assert_eq!(records.len(), 1);
    let local = std::fs::read(&gateway.records_of(&origin.url(PATH))[0]).unwrap();
    assert_eq!(bucket.read(&records[0]), Some(local));
    bucket.assert_nothing_refused();
}

#[test]
fn bucket_redirect_keeps_bytes_and_file_name() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(2, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    let answer = gateway.get(&origin.url(PATH)).wget_agent().send();
    answer.assert_status(302);
    answer.assert_cache(&["hit", "detail=bucket"]);
    assert_eq!(answer.wants("cache-control"), "no-store");
    assert!(
        answer.wants("location").starts_with(&bucket.base_url()),
        "{}",
        answer.wants("location")
    );
    let folder = tempfile::tempdir().expect("a folder can be created");
    let wget = Tool::wget(folder.path())
        .arg("--content-disposition")
        .arg(&gateway.rewritten(&origin.url(PATH)));
    wget.run().assert_success();
    assert_same(
        &std::fs::read(folder.path().join("x-1.0.tar.gz")).expect("the file has that name"),
        &body,
    );
    assert_eq!(origin.count(PATH), 1);
    bucket.assert_nothing_refused();
}

#[test]
fn bucket_hit_is_relayed_without_redirect_support() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(3, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    let url = origin.url(PATH);
    let relayed = [
        gateway.get(&url).header("User-Agent", "curl/8.0"),
        gateway.proxied("GET", &url).wget_agent(),
        gateway
            .get(&url)
            .wget_agent()
            .header("If-Modified-Since", "Sun, 31 Dec 2000 00:00:00 GMT"),
    ];
    for request in relayed {
        let answer = request.send();
        answer.assert_body(200, &body);
        answer.assert_cache(&["hit", "detail=bucket"]);
        assert_eq!(answer.wants("etag"), format!("\"{}\"", sha256(&body)));
        assert_eq!(answer.wants("last-modified"), DATE);
    }
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn head_and_preconditions_read_no_bucket_object() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(4, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    let url = origin.url(PATH);
    for request in [
        gateway.request("HEAD", &format!("/{url}")),
        gateway.proxied("HEAD", &url),
    ] {
        let answer = request.send();
        answer.assert_status(200);
        assert_eq!(answer.wants("content-length"), "300000");
    }
    let etag = format!("\"{}\"", sha256(&body));
    gateway
        .get(&url)
        .header("If-None-Match", &etag)
        .send()
        .assert_status(304);
    gateway
        .get(&url)
        .header("If-Modified-Since", DAY_AFTER)
        .send()
        .assert_status(304);
    gateway
        .get(&url)
        .header("If-Match", "\"other\"")
        .send()
        .assert_status(412);
    gateway
        .proxied("GET", &url)
        .range("bytes=300000-")
        .send()
        .assert_status(416);
    assert_eq!(bucket.count("GET", "objects/"), 0);
}

#[test]
fn range_request_is_sent_to_bucket() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(5, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    let url = origin.url(PATH);
    let answer = gateway.proxied("GET", &url).range("bytes=1000-1999").send();
    answer.assert_body(206, &body[1000..2000]);
    assert_eq!(answer.wants("content-range"), "bytes 1000-1999/300000");
    assert_eq!(
        bucket.requests("GET", "objects/")[0].header("range"),
        Some("bytes=1000-1999")
    );
    // A client that follows redirects sends its range to the bucket itself.
    let folder = tempfile::tempdir().expect("a folder can be created");
    let file = folder.path().join("x-1.0.tar.gz");
    std::fs::write(&file, &body[..100_000]).expect("the first part can be written");
    Tool::wget(folder.path())
        .arg("-c")
        .arg(&gateway.rewritten(&url))
        .run()
        .assert_success();
    assert_same(&std::fs::read(&file).expect("the object exists"), &body);
}

#[test]
fn delivery_relay_never_redirects_to_bucket() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(6, 300_000);
    let mut gateway = with_uploaded(&bucket, &origin, &body);
    gateway.restart_with(|builder| builder.text("s3.delivery", "relay"));
    gateway
        .get(&origin.url(PATH))
        .wget_agent()
        .send()
        .assert_body(200, &body);
}

#[test]
fn public_bucket_redirect_has_unsigned_url() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    bucket.make_public();
    let body = archive(7, 300_000);
    let mut gateway = with_uploaded(&bucket, &origin, &body);
    gateway.restart_with(|builder| builder.text("s3.public_base_url", &bucket.base_url()));
    let answer = gateway.get(&origin.url(PATH)).wget_agent().send();
    answer.assert_status(302);
    assert_eq!(
        answer.wants("location"),
        format!("{}{}", bucket.base_url(), object_key(&body))
    );
    let folder = tempfile::tempdir().expect("a folder can be created");
    let wget = Tool::wget(folder.path())
        .arg("--content-disposition")
        .arg(&gateway.rewritten(&origin.url(PATH)));
    wget.run().assert_success();
    assert_same(
        &std::fs::read(folder.path().join("x-1.0.tar.gz")).expect("the file has that name"),
        &body,
    );
}

#[test]
fn virtual_host_bucket_is_addressed_by_host_name() {
    let (bucket, origin) = (Bucket::virtual_host(), Origin::start());
    let body = archive(8, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    bucket.assert_nothing_refused();
}

#[test]
fn large_object_uses_multipart_upload() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(9, 13 << 20);
    origin.serve(PATH, Reply::file(&body));
    let gateway = with(&bucket, &origin)
        .text("s3.multipart_threshold", "6MiB")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_uploaded(&origin.url(PATH));
    assert_same(
        &bucket.read(&object_key(&body)).expect("the object exists"),
        &body,
    );
    let parts = bucket.requests("PUT", "objects/");
    assert_eq!(
        parts
            .iter()
            .filter(|seen| seen.query.contains("partNumber="))
            .count(),
        3
    );
    bucket.assert_nothing_refused();
}

#[test]
fn other_expected_digest_is_checked_against_the_bytes() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(10, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    let url = origin.url(PATH);
    gateway
        .get(&url)
        .header("X-Expected-Sha256", &"0".repeat(64))
        .send()
        .assert_problem(409);
    gateway
        .get(&url)
        .header("X-Expected-Md5", &"0".repeat(32))
        .send()
        .assert_problem(409);
    assert!(
        gateway.object_path(&body).exists(),
        "the object was promoted to compute the digest"
    );
}

#[test]
fn often_requested_object_is_promoted_to_disk() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(11, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    for _ in 0..3 {
        gateway
            .proxied("GET", &origin.url(PATH))
            .send()
            .assert_body(200, &body);
    }
    eventually("the object is on the disk", || {
        gateway.object_path(&body).exists().then_some(())
    });
    let answer = eventually("the object is served from the disk", || {
        let answer = gateway.get(&origin.url(PATH)).wget_agent().send();
        (answer.status == 200).then_some(answer)
    });
    answer.assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn cut_bucket_body_is_resumed() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(12, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    bucket.fault_times(
        2,
        |seen| seen.method == "GET" && seen.key.starts_with("objects/"),
        Fault::Cut(70_000),
    );
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(bucket.count("GET", "objects/"), 3);
}

#[test]
fn corrupt_bucket_object_is_cut_and_refetched() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(13, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    bucket.damage(&object_key(&body));
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_broken();
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
    eventually("the bucket has the intact object again", || {
        (bucket.read(&object_key(&body))? == body[..]).then_some(())
    });
}

#[test]
fn object_missing_from_bucket_is_refetched() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(14, 300_000);
    let gateway = with_uploaded(&bucket, &origin, &body);
    bucket.remove(&object_key(&body));
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
    bucket.wait_for(&object_key(&body));
}

#[test]
fn bucket_object_of_wrong_length_is_replaced() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(15, 300_000);
    let mut gateway = with_uploaded(&bucket, &origin, &body);
    bucket.write(&object_key(&body), &body[..1000]);
    // The short TTL makes Millpond forget that the bucket had the object.
    gateway.restart_with(|builder| builder.text("cache.positive_ttl", "1ms"));
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
    let whole = eventually("the complete object is uploaded again", || {
        bucket
            .read(&object_key(&body))
            .filter(|bytes| bytes.len() == body.len())
    });
    assert_same(&whole, &body);
    assert!(
        !gateway
            .request("GET", "/readyz")
            .send()
            .text()
            .contains("refuses")
    );
}

#[test]
fn corrupt_disk_object_is_not_uploaded() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(16, 300_000);
    origin.serve(PATH, Reply::file(&body));
    bucket.go_down();
    let gateway = with(&bucket, &origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    let path = gateway.object_path(&body);
    let mut bytes = body.to_vec();
    bytes[150_000] ^= 1;
    std::fs::remove_file(&path).expect("the object exists");
    std::fs::write(&path, bytes).expect("the file can be written");
    bucket.come_up();
    gateway
        .log()
        .wait_for("the warning about the corrupt object", |event| {
            event["error"]
                .as_str()
                .is_some_and(|text| text.contains("other bytes than its name says"))
        });
    assert_eq!(bucket.read(&object_key(&body)), None);
}
