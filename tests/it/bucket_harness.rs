//! Tests of the test bucket itself. It keeps the objects put into it, rejects what some S3 store
//! rejects, and fails only as a test configures.

mod stage;

use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use md5::{Digest as _, Md5};

use self::stage::{KEY, Stage, code, md5};
use crate::harness::{
    Answer, BUCKET, Bucket, Ended, Fault, Gate, Seen, Tool, archive, assert_same, eventually,
};

const DAY: Duration = Duration::from_hours(24);

/// Minimum size of a part of a multipart upload, except the last one.
const PART_BYTES: usize = 5 << 20;

fn told(answer: &Answer) -> (u16, String) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    (
        answer.status,
        code.map(|(code, _)| code.to_owned()).unwrap_or_default(),
    )
}

fn is_write(seen: &Seen) -> bool {
    seen.is("PUT", "p/") || seen.is("POST", "p/")
}

#[test]
fn put_object_keeps_bytes_and_metadata() {
    let stage = Stage::new();
    let etag = stage
        .put(KEY, &stage.body)
        .expect("the bucket accepts the write");
    assert_eq!(
        etag,
        format!("\"{}\"", hex::encode(Md5::digest(&stage.body)))
    );
    assert_same(&stage.get(KEY).expect("the object exists"), &stage.body);
    let head = stage.client.head_object().bucket(BUCKET).key(KEY).send();
    let head = stage.wait(head).expect("the object exists");
    assert_eq!(head.content_length(), Some(300_000));
    assert_eq!(head.content_disposition(), Some("attachment; filename=x"));
    assert_eq!(
        head.metadata()
            .and_then(|own| own.get("uri"))
            .map(String::as_str),
        Some("https://example.org/x")
    );
    assert_eq!(
        stage.bucket.objects().into_iter().collect::<Vec<_>>(),
        [(KEY.to_owned(), 300_000)]
    );
    let put = stage.bucket.requests("PUT", KEY).remove(0);
    assert_eq!(
        (put.status, put.header("content-md5")),
        (Some(200), Some(md5(&stage.body).as_str()))
    );
    stage.bucket.assert_nothing_refused();
}

#[test]
fn ranges_and_preconditions_are_answered() {
    let stage = Stage::new();
    let etag = stage
        .put(KEY, &stage.body)
        .expect("the bucket accepts the write");
    let get = || stage.client.get_object().bucket(BUCKET).key(KEY);
    let part = stage
        .wait(get().range("bytes=10-19").send())
        .expect("the object exists");
    assert_eq!(part.content_range(), Some("bytes 10-19/300000"));
    assert_same(
        &stage
            .wait(part.body.collect())
            .expect("the body can be read")
            .to_vec(),
        &stage.body[10..20],
    );
    let status = |error: SdkError<_, aws_sdk_s3::config::http::HttpResponse>| {
        error
            .raw_response()
            .map_or(0, |answer| answer.status().as_u16())
    };
    let same = stage
        .wait(get().if_none_match(&etag).send())
        .map(drop)
        .map_err(status);
    let other = stage
        .wait(get().if_match("\"0\"").send())
        .map(drop)
        .map_err(status);
    let new = DateTime::from(SystemTime::now() + DAY);
    let old = stage
        .wait(get().if_modified_since(new).send())
        .map(drop)
        .map_err(status);
    let beyond = stage
        .wait(get().range("bytes=300000-").send())
        .map(drop)
        .map_err(status);
    assert_eq!(
        [same, other, old, beyond],
        [Err(304), Err(412), Err(304), Err(416)]
    );
    let none = stage
        .client
        .put_object()
        .bucket(BUCKET)
        .key(KEY)
        .if_none_match("*");
    let none = none
        .content_md5(md5(b"x"))
        .body(ByteStream::from_static(b"x"))
        .send();
    assert_eq!(
        stage
            .wait(none)
            .map_err(|error| code(&error))
            .expect_err("the object exists"),
        "PreconditionFailed"
    );
    assert_same(&stage.get(KEY).expect("the object exists"), &stage.body);
}

#[test]
fn listing_is_ordered_paged_and_honours_start() {
    let stage = Stage::new();
    let keys: Vec<_> = (0..7)
        .map(|number| format!("p/records/{number}/k"))
        .collect();
    for key in &keys {
        stage.bucket.write(key, b"{}");
    }
    stage.bucket.write("q/other", b"{}");
    assert_eq!(stage.list("", 2), keys);
    assert_eq!(stage.list(&keys[3], 2), keys[4..]);
    assert_eq!(stage.bucket.wait_for_keys("p/records/5", 1), keys[5..6]);
}

#[test]
fn list_objects_v1_returns_no_next_marker() {
    let stage = Stage::new();
    for number in 0..3 {
        stage.bucket.write(&format!("p/{number}"), b"x");
    }
    let list = || {
        stage
            .client
            .list_objects()
            .bucket(BUCKET)
            .prefix("p/")
            .max_keys(2)
    };
    let first = stage
        .wait(list().send())
        .expect("the bucket lists its keys");
    assert_eq!(
        (
            first.contents().len(),
            first.is_truncated(),
            first.next_marker()
        ),
        (2, Some(true), None)
    );
    let second = stage
        .wait(list().marker("p/1").send())
        .expect("the bucket lists its keys");
    assert_eq!(
        second
            .contents()
            .iter()
            .filter_map(|object| object.key())
            .collect::<Vec<_>>(),
        ["p/2"]
    );
}

#[test]
fn incomplete_uploads_can_be_listed_and_aborted() {
    let stage = Stage::new();
    let id = stage.begin(KEY);
    stage.begin("q/other");
    stage.bucket.age_uploads(KEY, DAY);
    let list = stage
        .client
        .list_multipart_uploads()
        .bucket(BUCKET)
        .prefix("p/")
        .send();
    let list = stage.wait(list).expect("the bucket lists its keys");
    let [upload] = list.uploads() else {
        panic!("one upload is listed: {list:?}")
    };
    assert_eq!(
        (upload.key(), upload.upload_id()),
        (Some(KEY), Some(id.as_str()))
    );
    let began = SystemTime::try_from(*upload.initiated().expect("the response has a date"))
        .expect("the date is valid");
    assert!(began.elapsed().expect("the date is in the past") >= DAY);
    assert_eq!(stage.bucket.uploads(), [KEY, "q/other"]);
    let abort = stage
        .client
        .abort_multipart_upload()
        .bucket(BUCKET)
        .key(KEY)
        .upload_id(id)
        .send();
    stage.wait(abort).expect("the upload is aborted");
    assert_eq!(stage.bucket.uploads(), ["q/other"]);
    stage.bucket.assert_nothing_refused();
}

#[test]
fn multipart_upload_becomes_one_object() {
    let stage = Stage::new();
    let body = archive(2, 2 * PART_BYTES + 1000);
    let parts: Vec<_> = body.chunks(PART_BYTES).collect();
    let etag = stage
        .upload(KEY, &parts)
        .expect("the bucket accepts the write")
        .expect("the object has an ETag");
    assert!(etag.ends_with("-3\""), "{etag}");
    assert_same(&stage.bucket.wait_for(KEY), &body);
    stage.bucket.assert_nothing_refused();
    let small = stage
        .upload("p/small", &[b"abc", b"def"])
        .expect_err("every part but the last has a minimum size");
    assert_eq!(
        (small.as_str(), stage.bucket.read("p/small")),
        ("EntityTooSmall", None)
    );
    stage
        .bucket
        .fault_times(1, |seen| seen.is("PUT", "p/small"), Fault::WrongEtag);
    assert_eq!(
        stage.upload("p/small", &[b"abc"]),
        Err("InvalidPart".to_owned()),
        "the client names an ETag that the part does not have"
    );
}

#[test]
fn removed_object_leaves_no_metadata_to_its_successor() {
    let stage = Stage::new();
    stage
        .put(KEY, b"first")
        .expect("the bucket accepts the write");
    let removed = stage.client.delete_object().bucket(BUCKET).key(KEY).send();
    stage.wait(removed).expect("the object is removed");
    assert_eq!(
        (stage.bucket.read(KEY), stage.get(KEY)),
        (None, Err("NoSuchKey".to_owned()))
    );
    stage.bucket.write(KEY, b"second");
    let head = stage.client.head_object().bucket(BUCKET).key(KEY).send();
    let head = stage.wait(head).expect("the object exists");
    assert_eq!(
        head.e_tag(),
        Some(format!("\"{}\"", hex::encode(Md5::digest(b"second"))).as_str())
    );
    assert_eq!(head.content_disposition(), None);
    stage.bucket.remove(KEY);
    assert!(stage.bucket.objects().is_empty());
}

#[test]
fn requests_rejected_by_some_store_are_rejected() {
    let stage = Stage::new();
    let put = || stage.ask("PUT", "/mill/p/x").body(b"abc");
    let good = md5(b"abc");
    let long = "x".repeat(8192);
    let cases = [
        (
            stage.ask("GET", "/mill/p/x?x-id=GetObject"),
            404,
            "NoSuchKey",
        ),
        (put(), 400, "InvalidRequest"),
        (put().header("content-md5", &md5(b"abd")), 400, "BadDigest"),
        (put().header("content-md5", "YWJj"), 400, "InvalidDigest"),
        (
            put()
                .header("content-md5", &good)
                .header("x-amz-checksum-crc32", "NSRBwg=="),
            400,
            "InvalidArgument",
        ),
        (
            put()
                .header("content-md5", &good)
                .header("x-amz-sdk-checksum-algorithm", "CRC32"),
            400,
            "InvalidArgument",
        ),
        (
            put()
                .header("content-md5", &good)
                .header("content-encoding", "aws-chunked"),
            400,
            "XAmzContentSHA256Mismatch",
        ),
        (
            put().header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            400,
            "XAmzContentSHA256Mismatch",
        ),
        (
            put()
                .header("content-md5", &good)
                .header("x-amz-meta-uri", "größer"),
            400,
            "InvalidArgument",
        ),
        (
            put()
                .header("content-md5", &good)
                .header("x-amz-meta-uri", &long),
            400,
            "MetadataTooLarge",
        ),
        (
            stage
                .ask("PUT", "/mill/p/x")
                .header("content-length", "5368709121"),
            400,
            "EntityTooLarge",
        ),
        (
            stage.ask("POST", "/mill/?delete").body(b"<Delete/>"),
            400,
            "InvalidRequest",
        ),
        (stage.ask("PUT", "/mill").body(b""), 403, "AccessDenied"),
        (put().header("content-md5", &good), 403, "AccessDenied"),
        (stage.ask("GET", "/mill/p/x"), 403, "AccessDenied"),
    ];
    for (number, (request, status, code)) in cases.iter().enumerate() {
        assert_eq!(
            told(&request.send()),
            (*status, (*code).to_owned()),
            "case {number}"
        );
        assert_eq!(stage.bucket.refused().len(), number + 1, "case {number}");
    }
    assert!(stage.bucket.objects().is_empty());
    assert_eq!(stage.bucket.total(), cases.len());
}

#[test]
fn presigned_url_works_until_it_expires() {
    let stage = Stage::new();
    stage
        .put(KEY, &stage.body)
        .expect("the bucket accepts the write");
    let folder = tempfile::tempdir().expect("a folder can be created");
    let url = stage.presigned(Duration::ZERO);
    Tool::wget(folder.path())
        .args(&["-O", "w", &url])
        .run()
        .assert_success();
    Tool::curl(folder.path())
        .args(&["--fail", "-D", "head", "-o", "c", &url])
        .run()
        .assert_success();
    for file in ["w", "c"] {
        assert_same(
            &std::fs::read(folder.path().join(file)).expect("the file exists"),
            &stage.body,
        );
    }
    let head = std::fs::read_to_string(folder.path().join("head"))
        .expect("the file exists")
        .to_lowercase();
    assert!(
        head.contains("content-disposition: attachment; filename=\"y.tar.gz\"\r\n"),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/gzip\r\n"),
        "{head}"
    );
    stage.bucket.assert_nothing_refused();
    let part = stage
        .ask("GET", &stage.target(&url))
        .range("bytes=5-")
        .send();
    part.assert_status(206);
    assert_same(&part.body, &stage.body[5..]);
    let old = stage.target(&stage.presigned(DAY));
    stage.ask("GET", &old).send().assert_status(403);
    stage
        .ask("HEAD", &stage.target(&url))
        .send()
        .assert_status(403);
    stage
        .ask("GET", &stage.target(&url).replace("x-1.0", "x-1.1"))
        .send()
        .assert_status(403);
}

#[test]
fn virtual_host_bucket_rejects_path_style_requests() {
    let stage = Stage::on(Bucket::virtual_host());
    stage.bucket.write(KEY, &stage.body);
    let folder = tempfile::tempdir().expect("a folder can be created");
    let url = stage.presigned(Duration::ZERO);
    assert!(url.starts_with(&stage.bucket.base_url()), "{url}");
    let wget = stage
        .bucket
        .resolver()
        .iter()
        .fold(Tool::wget(folder.path()), |tool, (name, value)| {
            tool.env(name, value)
        });
    wget.args(&["-O", "w", &url]).run().assert_success();
    assert_same(
        &std::fs::read(folder.path().join("w")).expect("the file exists"),
        &stage.body,
    );
    stage.bucket.assert_nothing_refused();
    let in_path = stage.ask("GET", &format!("/mill/{KEY}")).send();
    assert_eq!(
        told(&in_path),
        (400, "VirtualHostDomainRequired".to_owned())
    );
    assert_eq!(stage.bucket.refused().len(), 1);
}

#[test]
fn public_bucket_is_readable_but_not_writable_unsigned() {
    let stage = Stage::new();
    stage.bucket.make_public();
    stage.put(KEY, &stage.body).expect("the owner can write");
    let target = stage.target(&format!("{}{KEY}", stage.bucket.base_url()));
    assert_same(&stage.ask("GET", &target).send().body, &stage.body);
    stage.bucket.assert_nothing_refused();
    let put = stage
        .ask("PUT", &target)
        .body(b"x")
        .header("content-md5", &md5(b"x"));
    put.send().assert_status(403);
    assert_same(&stage.bucket.wait_for(KEY), &stage.body);
}

#[test]
fn fault_returns_its_code_and_stores_nothing() {
    let stage = Stage::new();
    let faults = [
        (Fault::SLOW_DOWN, "SlowDown"),
        (Fault::UNKNOWN_KEY, "InvalidAccessKeyId"),
        (Fault::WRONG_SIGNATURE, "SignatureDoesNotMatch"),
        (Fault::WRONG_CLOCK, "RequestTimeTooSkewed"),
        (Fault::EXPIRED_TOKEN, "ExpiredToken"),
        (Fault::ACCESS_DENIED, "AccessDenied"),
        (Fault::NO_BUCKET, "NoSuchBucket"),
        (Fault::NO_SPACE, "InsufficientStorageSpace"),
        (Fault::QUOTA, "QuotaExceeded"),
        (Fault::Hangup, "no answer"),
    ];
    for (fault, code) in faults {
        stage.bucket.fault_times(1, is_write, fault);
        assert_eq!(stage.put(KEY, &stage.body), Err(code.to_owned()));
        assert!(stage.bucket.objects().is_empty(), "{code}");
    }
    stage
        .put(KEY, &stage.body)
        .expect("each fault was for one request");
    stage.bucket.assert_nothing_refused();
}

#[test]
fn stalled_request_waits_for_the_gate() {
    let stage = Stage::new();
    stage.bucket.write(KEY, &stage.body);
    stage.bucket.make_public();
    let gate = Gate::new();
    stage
        .bucket
        .fault(|seen| seen.is("GET", "p/"), Fault::Stall(gate.clone()));
    let waiting = stage.ask("GET", &format!("/mill/{KEY}")).start();
    gate.await_reached(1);
    assert_eq!(stage.bucket.requests("GET", KEY)[0].status, None);
    gate.open();
    assert_same(&waiting.head().finish().body, &stage.body);
}

#[test]
fn cut_body_ends_before_its_length() {
    let stage = Stage::new();
    stage.bucket.write(KEY, &stage.body);
    stage.bucket.make_public();
    stage
        .bucket
        .fault_times(1, |seen| seen.is("GET", "p/"), Fault::Cut(100_000));
    let cut = stage.ask("GET", &format!("/mill/{KEY}")).send();
    assert_eq!(cut.header("content-length"), Some("300000"));
    assert_eq!(cut.ended, Ended::Cut);
    assert_same(&cut.body, &stage.body[..100_000]);
    assert_same(
        &stage.get(KEY).expect("the next request is not cut"),
        &stage.body,
    );
}

#[test]
fn faulty_store_reports_success_but_keeps_less() {
    let stage = Stage::new();
    stage.bucket.fault_times(1, is_write, Fault::Lose);
    stage
        .put(KEY, &stage.body)
        .expect("the bucket reports success");
    assert!(stage.bucket.objects().is_empty());
    stage.bucket.fault_times(1, is_write, Fault::Keep(1000));
    stage
        .put(KEY, &stage.body)
        .expect("the bucket reports success");
    assert_eq!(stage.bucket.wait_for(KEY).len(), 1000);
    stage.bucket.fault(is_write, Fault::WrongEtag);
    assert_eq!(
        stage
            .put(KEY, &stage.body)
            .expect("the bucket reports success"),
        format!("\"{}\"", "0".repeat(32))
    );
    stage.bucket.heal();
    stage
        .bucket
        .fault(|seen| seen.is("POST", "p/"), Fault::EmptyEtag);
    let etag = stage
        .upload(KEY, &[b"abc"])
        .expect("the bucket reports success");
    assert_eq!(
        (etag.unwrap_or_default().as_str(), stage.bucket.read(KEY)),
        ("", Some(b"abc".to_vec()))
    );
}

#[test]
fn damage_keeps_metadata_and_age_changes_date() {
    let stage = Stage::new();
    let etag = stage
        .put(KEY, &stage.body)
        .expect("the bucket accepts the write");
    let date = || {
        let head = stage.client.head_object().bucket(BUCKET).key(KEY).send();
        let head = stage.wait(head).expect("the object exists");
        assert_eq!(head.e_tag(), Some(etag.as_str()));
        head.last_modified()
            .expect("the response has a date")
            .secs()
    };
    let before = date();
    stage.bucket.damage(KEY);
    assert_eq!(date(), before);
    let damaged = stage.get(KEY).expect("the object exists");
    assert_eq!(
        damaged
            .iter()
            .zip(stage.body.iter())
            .filter(|(found, put)| found != put)
            .count(),
        1
    );
    stage.bucket.age(KEY, DAY);
    assert_eq!(before - date(), 24 * 3600);
}

#[test]
fn restarted_bucket_keeps_its_objects() {
    let stage = Stage::new();
    stage
        .put(KEY, &stage.body)
        .expect("the bucket accepts the write");
    let held =
        TcpStream::connect(stage.bucket.address()).expect("the bucket accepts the connection");
    stage.bucket.go_down();
    let mut byte = [0];
    let ended = eventually("the connection is closed", || {
        Some(std::io::Read::read(&mut (&held), &mut byte))
    });
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(stage.get(KEY), Err("no answer".to_owned()));
    stage.bucket.come_up();
    assert_same(&stage.get(KEY).expect("the object exists"), &stage.body);
    assert_eq!(stage.bucket.count("GET", KEY), 1);
}
