//! Faults that a test configures, and damage to stored objects.

use std::net::TcpStream;

use super::DAY;
use super::stage::{KEY, Stage};
use crate::harness::{BUCKET, Ended, Fault, Gate, Seen, assert_same, eventually};

fn is_write(seen: &Seen) -> bool {
    seen.is("PUT", "p/") || seen.is("POST", "p/")
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
