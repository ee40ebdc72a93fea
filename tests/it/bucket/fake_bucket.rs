//! Tests of the test bucket itself. It keeps the objects put into it, rejects what some S3 store
//! rejects, and fails only as a test configures.

mod access;
mod faults;
mod stage;

use std::time::{Duration, SystemTime};

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use md5::{Digest as _, Md5};

use self::stage::{KEY, Stage, code, md5};
use crate::harness::{Answer, BUCKET, Fault, archive, assert_same};

const DAY: Duration = Duration::from_hours(24);

/// Minimum size of a part of a multipart upload, except the last one.
const PART_BYTES: usize = 5 << 20;

fn status_and_code(answer: &Answer) -> (u16, String) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    (
        answer.status,
        code.map(|(code, _)| code.to_owned()).unwrap_or_default(),
    )
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
            status_and_code(&request.send()),
            (*status, (*code).to_owned()),
            "case {number}"
        );
        assert_eq!(stage.bucket.refused().len(), number + 1, "case {number}");
    }
    assert!(stage.bucket.objects().is_empty());
    assert_eq!(stage.bucket.total(), cases.len());
}
