//! The bucket that the others are tested with tells the truth: it keeps what it is given, refuses what some store refuses, and
//! fails only as it is told.

mod stage;

use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use md5::{Digest as _, Md5};

use self::stage::{KEY, Stage, code, md5};
use crate::harness::{Answer, BUCKET, Bucket, Ended, Fault, Gate, Seen, Tool, archive, assert_same, eventually};

const DAY: Duration = Duration::from_hours(24);

/// The least that a part has to have, but for the last one.
const PART_BYTES: usize = 5 << 20;

fn told(answer: &Answer) -> (u16, String) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    (answer.status, code.map(|(code, _)| code.to_owned()).unwrap_or_default())
}

fn is_write(seen: &Seen) -> bool {
    seen.is("PUT", "p/") || seen.is("POST", "p/")
}

#[test]
fn what_is_put_is_kept_with_what_is_said_of_it() {
    let stage = Stage::new();
    let etag = stage.put(KEY, &stage.body).expect("it is taken");
    assert_eq!(etag, format!("\"{}\"", hex::encode(Md5::digest(&stage.body))));
    assert_same(&stage.get(KEY).expect("it is there"), &stage.body);
    let head = stage.client.head_object().bucket(BUCKET).key(KEY).send();
    let head = stage.wait(head).expect("it is there");
    assert_eq!(head.content_length(), Some(300_000));
    assert_eq!(head.content_disposition(), Some("attachment; filename=x"));
    assert_eq!(head.metadata().and_then(|own| own.get("uri")).map(String::as_str), Some("https://example.org/x"));
    assert_eq!(stage.bucket.objects().into_iter().collect::<Vec<_>>(), [(KEY.to_owned(), 300_000)]);
    let put = stage.bucket.requests("PUT", KEY).remove(0);
    assert_eq!((put.status, put.header("content-md5")), (Some(200), Some(md5(&stage.body).as_str())));
    stage.bucket.assert_nothing_refused();
}

#[test]
fn ranges_and_conditions_are_answered() {
    let stage = Stage::new();
    let etag = stage.put(KEY, &stage.body).expect("it is taken");
    let get = || stage.client.get_object().bucket(BUCKET).key(KEY);
    let part = stage.wait(get().range("bytes=10-19").send()).expect("it is there");
    assert_eq!(part.content_range(), Some("bytes 10-19/300000"));
    assert_same(&stage.wait(part.body.collect()).expect("it comes").to_vec(), &stage.body[10..20]);
    let status = |error: SdkError<_, aws_sdk_s3::config::http::HttpResponse>| {
        error.raw_response().map_or(0, |answer| answer.status().as_u16())
    };
    let same = stage.wait(get().if_none_match(&etag).send()).map(drop).map_err(status);
    let other = stage.wait(get().if_match("\"0\"").send()).map(drop).map_err(status);
    let new = DateTime::from(SystemTime::now() + DAY);
    let old = stage.wait(get().if_modified_since(new).send()).map(drop).map_err(status);
    let beyond = stage.wait(get().range("bytes=300000-").send()).map(drop).map_err(status);
    assert_eq!([same, other, old, beyond], [Err(304), Err(412), Err(304), Err(416)]);
    let none = stage.client.put_object().bucket(BUCKET).key(KEY).if_none_match("*");
    let none = none.content_md5(md5(b"x")).body(ByteStream::from_static(b"x")).send();
    assert_eq!(stage.wait(none).map_err(|error| code(&error)).expect_err("it is there"), "PreconditionFailed");
    assert_same(&stage.get(KEY).expect("it is there"), &stage.body);
}

#[test]
fn a_list_is_in_order_in_pages_and_begins_where_it_should() {
    let stage = Stage::new();
    let keys: Vec<_> = (0..7).map(|number| format!("p/records/{number}/k")).collect();
    for key in &keys {
        stage.bucket.write(key, b"{}");
    }
    stage.bucket.write("q/other", b"{}");
    assert_eq!(stage.list("", 2), keys);
    assert_eq!(stage.list(&keys[3], 2), keys[4..]);
    assert_eq!(stage.bucket.wait_for_keys("p/records/5", 1), keys[5..6]);
}

#[test]
fn a_list_in_the_older_form_does_not_say_where_the_next_begins() {
    let stage = Stage::new();
    for number in 0..3 {
        stage.bucket.write(&format!("p/{number}"), b"x");
    }
    let list = || stage.client.list_objects().bucket(BUCKET).prefix("p/").max_keys(2);
    let first = stage.wait(list().send()).expect("a list can be had");
    assert_eq!((first.contents().len(), first.is_truncated(), first.next_marker()), (2, Some(true), None));
    let second = stage.wait(list().marker("p/1").send()).expect("a list can be had");
    assert_eq!(second.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), ["p/2"]);
}

#[test]
fn uploads_that_are_not_complete_are_listed_and_can_be_aborted() {
    let stage = Stage::new();
    let id = stage.begin(KEY);
    stage.begin("q/other");
    stage.bucket.age_uploads(KEY, DAY);
    let list = stage.client.list_multipart_uploads().bucket(BUCKET).prefix("p/").send();
    let list = stage.wait(list).expect("a list can be had");
    let [upload] = list.uploads() else { panic!("there is one: {list:?}") };
    assert_eq!((upload.key(), upload.upload_id()), (Some(KEY), Some(id.as_str())));
    let began = SystemTime::try_from(*upload.initiated().expect("it has a date")).expect("it is a date");
    assert!(began.elapsed().expect("it is past") >= DAY);
    assert_eq!(stage.bucket.uploads(), [KEY, "q/other"]);
    let abort = stage.client.abort_multipart_upload().bucket(BUCKET).key(KEY).upload_id(id).send();
    stage.wait(abort).expect("it is aborted");
    assert_eq!(stage.bucket.uploads(), ["q/other"]);
    stage.bucket.assert_nothing_refused();
}

#[test]
fn an_upload_in_parts_is_one_object_at_its_end() {
    let stage = Stage::new();
    let body = archive(2, 2 * PART_BYTES + 1000);
    let parts: Vec<_> = body.chunks(PART_BYTES).collect();
    let etag = stage.upload(KEY, &parts).expect("it is taken").expect("it has an ETag");
    assert!(etag.ends_with("-3\""), "{etag}");
    assert_same(&stage.bucket.wait_for(KEY), &body);
    stage.bucket.assert_nothing_refused();
    let small = stage.upload("p/small", &[b"abc", b"def"]).expect_err("all parts but the last are large");
    assert_eq!((small.as_str(), stage.bucket.read("p/small")), ("EntityTooSmall", None));
    stage.bucket.fault_times(1, |seen| seen.is("PUT", "p/small"), Fault::WrongEtag);
    assert_eq!(stage.upload("p/small", &[b"abc"]), Err("InvalidPart".to_owned()), "the client names another part");
}

#[test]
fn what_was_removed_leaves_nothing_to_its_successor() {
    let stage = Stage::new();
    stage.put(KEY, b"first").expect("it is taken");
    let removed = stage.client.delete_object().bucket(BUCKET).key(KEY).send();
    stage.wait(removed).expect("it is removed");
    assert_eq!((stage.bucket.read(KEY), stage.get(KEY)), (None, Err("NoSuchKey".to_owned())));
    stage.bucket.write(KEY, b"second");
    let head = stage.client.head_object().bucket(BUCKET).key(KEY).send();
    let head = stage.wait(head).expect("it is there");
    assert_eq!(head.e_tag(), Some(format!("\"{}\"", hex::encode(Md5::digest(b"second"))).as_str()));
    assert_eq!(head.content_disposition(), None);
    stage.bucket.remove(KEY);
    assert!(stage.bucket.objects().is_empty());
}

#[test]
fn what_some_store_refuses_is_refused_and_noted() {
    let stage = Stage::new();
    let put = || stage.ask("PUT", "/mill/p/x").body(b"abc");
    let good = md5(b"abc");
    let long = "x".repeat(8192);
    let cases = [
        (stage.ask("GET", "/mill/p/x?x-id=GetObject"), 404, "NoSuchKey"),
        (put(), 400, "InvalidRequest"),
        (put().header("content-md5", &md5(b"abd")), 400, "BadDigest"),
        (put().header("content-md5", "YWJj"), 400, "InvalidDigest"),
        (put().header("content-md5", &good).header("x-amz-checksum-crc32", "NSRBwg=="), 400, "InvalidArgument"),
        (put().header("content-md5", &good).header("x-amz-sdk-checksum-algorithm", "CRC32"), 400, "InvalidArgument"),
        (
            put().header("content-md5", &good).header("content-encoding", "aws-chunked"),
            400,
            "XAmzContentSHA256Mismatch",
        ),
        (put().header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), 400, "XAmzContentSHA256Mismatch"),
        (put().header("content-md5", &good).header("x-amz-meta-uri", "größer"), 400, "InvalidArgument"),
        (put().header("content-md5", &good).header("x-amz-meta-uri", &long), 400, "MetadataTooLarge"),
        (stage.ask("PUT", "/mill/p/x").header("content-length", "5368709121"), 400, "EntityTooLarge"),
        (stage.ask("POST", "/mill/?delete").body(b"<Delete/>"), 400, "InvalidRequest"),
        (stage.ask("PUT", "/mill").body(b""), 403, "AccessDenied"),
        (put().header("content-md5", &good), 403, "AccessDenied"),
        (stage.ask("GET", "/mill/p/x"), 403, "AccessDenied"),
    ];
    for (number, (request, status, code)) in cases.iter().enumerate() {
        assert_eq!(told(&request.send()), (*status, (*code).to_owned()), "case {number}");
        assert_eq!(stage.bucket.refused().len(), number + 1, "case {number}");
    }
    assert!(stage.bucket.objects().is_empty());
    assert_eq!(stage.bucket.total(), cases.len());
}

#[test]
fn a_presigned_address_works_for_plain_clients_while_it_is_good() {
    let stage = Stage::new();
    stage.put(KEY, &stage.body).expect("it is taken");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = stage.presigned(Duration::ZERO);
    Tool::wget(folder.path()).args(&["-O", "w", &url]).run().assert_success();
    Tool::curl(folder.path()).args(&["--fail", "-D", "head", "-o", "c", &url]).run().assert_success();
    for file in ["w", "c"] {
        assert_same(&std::fs::read(folder.path().join(file)).expect("there is a file"), &stage.body);
    }
    let head = std::fs::read_to_string(folder.path().join("head")).expect("there is a file").to_lowercase();
    assert!(head.contains("content-disposition: attachment; filename=\"y.tar.gz\"\r\n"), "{head}");
    assert!(head.contains("content-type: application/gzip\r\n"), "{head}");
    stage.bucket.assert_nothing_refused();
    let part = stage.ask("GET", &stage.target(&url)).range("bytes=5-").send();
    part.assert_status(206);
    assert_same(&part.body, &stage.body[5..]);
    let old = stage.target(&stage.presigned(DAY));
    stage.ask("GET", &old).send().assert_status(403);
    stage.ask("HEAD", &stage.target(&url)).send().assert_status(403);
    stage.ask("GET", &stage.target(&url).replace("x-1.0", "x-1.1")).send().assert_status(403);
}

#[test]
fn a_bucket_with_a_host_name_takes_no_other_form() {
    let stage = Stage::on(Bucket::virtual_host());
    stage.bucket.write(KEY, &stage.body);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = stage.presigned(Duration::ZERO);
    assert!(url.starts_with(&stage.bucket.base_url()), "{url}");
    let wget =
        stage.bucket.resolver().iter().fold(Tool::wget(folder.path()), |tool, (name, value)| tool.env(name, value));
    wget.args(&["-O", "w", &url]).run().assert_success();
    assert_same(&std::fs::read(folder.path().join("w")).expect("there is a file"), &stage.body);
    stage.bucket.assert_nothing_refused();
    let in_path = stage.ask("GET", &format!("/mill/{KEY}")).send();
    assert_eq!(told(&in_path), (400, "VirtualHostDomainRequired".to_owned()));
    assert_eq!(stage.bucket.refused().len(), 1);
}

#[test]
fn a_public_bucket_is_read_by_everybody_and_written_by_its_owner() {
    let stage = Stage::new();
    stage.bucket.make_public();
    stage.put(KEY, &stage.body).expect("its owner writes");
    let target = stage.target(&format!("{}{KEY}", stage.bucket.base_url()));
    assert_same(&stage.ask("GET", &target).send().body, &stage.body);
    stage.bucket.assert_nothing_refused();
    let put = stage.ask("PUT", &target).body(b"x").header("content-md5", &md5(b"x"));
    put.send().assert_status(403);
    assert_same(&stage.bucket.wait_for(KEY), &stage.body);
}

#[test]
fn a_fault_is_told_by_its_code_and_changes_nothing() {
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
    stage.put(KEY, &stage.body).expect("each fault was for one request");
    stage.bucket.assert_nothing_refused();
}

#[test]
fn a_stalled_request_waits_for_the_test() {
    let stage = Stage::new();
    stage.bucket.write(KEY, &stage.body);
    stage.bucket.make_public();
    let gate = Gate::new();
    stage.bucket.fault(|seen| seen.is("GET", "p/"), Fault::Stall(gate.clone()));
    let waiting = stage.ask("GET", &format!("/mill/{KEY}")).start();
    gate.await_reached(1);
    assert_eq!(stage.bucket.requests("GET", KEY)[0].status, None);
    gate.open();
    assert_same(&waiting.head().finish().body, &stage.body);
}

#[test]
fn a_cut_body_ends_early_and_says_so() {
    let stage = Stage::new();
    stage.bucket.write(KEY, &stage.body);
    stage.bucket.make_public();
    stage.bucket.fault_times(1, |seen| seen.is("GET", "p/"), Fault::Cut(100_000));
    let cut = stage.ask("GET", &format!("/mill/{KEY}")).send();
    assert_eq!(cut.header("content-length"), Some("300000"));
    assert_eq!(cut.ended, Ended::Cut);
    assert_same(&cut.body, &stage.body[..100_000]);
    assert_same(&stage.get(KEY).expect("the next one is whole"), &stage.body);
}

#[test]
fn a_lying_store_says_yes_and_keeps_less() {
    let stage = Stage::new();
    stage.bucket.fault_times(1, is_write, Fault::Lose);
    stage.put(KEY, &stage.body).expect("it says yes");
    assert!(stage.bucket.objects().is_empty());
    stage.bucket.fault_times(1, is_write, Fault::Keep(1000));
    stage.put(KEY, &stage.body).expect("it says yes");
    assert_eq!(stage.bucket.wait_for(KEY).len(), 1000);
    stage.bucket.fault(is_write, Fault::WrongEtag);
    assert_eq!(stage.put(KEY, &stage.body).expect("it says yes"), format!("\"{}\"", "0".repeat(32)));
    stage.bucket.heal();
    stage.bucket.fault(|seen| seen.is("POST", "p/"), Fault::EmptyEtag);
    let etag = stage.upload(KEY, &[b"abc"]).expect("it says yes");
    assert_eq!((etag.unwrap_or_default().as_str(), stage.bucket.read(KEY)), ("", Some(b"abc".to_vec())));
}

#[test]
fn damage_is_silent_and_age_is_seen() {
    let stage = Stage::new();
    let etag = stage.put(KEY, &stage.body).expect("it is taken");
    let date = || {
        let head = stage.client.head_object().bucket(BUCKET).key(KEY).send();
        let head = stage.wait(head).expect("it is there");
        assert_eq!(head.e_tag(), Some(etag.as_str()));
        head.last_modified().expect("it has a date").secs()
    };
    let before = date();
    stage.bucket.damage(KEY);
    assert_eq!(date(), before);
    let damaged = stage.get(KEY).expect("it is there");
    assert_eq!(damaged.iter().zip(stage.body.iter()).filter(|(found, put)| found != put).count(), 1);
    stage.bucket.age(KEY, DAY);
    assert_eq!(before - date(), 24 * 3600);
}

#[test]
fn a_bucket_that_was_down_comes_back_with_what_it_had() {
    let stage = Stage::new();
    stage.put(KEY, &stage.body).expect("it is taken");
    let held = TcpStream::connect(stage.bucket.address()).expect("it is up");
    stage.bucket.go_down();
    let mut byte = [0];
    let ended = eventually("the connection is broken off", || Some(std::io::Read::read(&mut (&held), &mut byte)));
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert_eq!(stage.get(KEY), Err("no answer".to_owned()));
    stage.bucket.come_up();
    assert_same(&stage.get(KEY).expect("it is there"), &stage.body);
    assert_eq!(stage.bucket.count("GET", KEY), 1);
}
