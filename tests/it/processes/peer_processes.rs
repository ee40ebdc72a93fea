//! Several processes that request one cold target at the same time: one fetches,
//! the others follow it.

use std::fs;

use sha2::{Digest as _, Sha512};

use crate::harness::{Builder, Gate, Gateway, Origin, Reply, archive, assert_same, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";
const WRONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn with(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

#[test]
fn one_process_fetches_and_others_follow() {
    let body = archive(1, 400_000);
    for reply in [
        Reply::file(&body),
        Reply::ok(&body),
        Reply::file(&body).chunked(),
    ] {
        let origin = Origin::start();
        let (early, late) = (Gate::new(), Gate::new());
        origin.serve(PATH, reply.gate_at(100_000, &early).gate_at(300_000, &late));
        let first = with(&origin).start();
        let (second, third) = (first.sibling().start(), first.sibling().start());
        let gateways = [&first, &second, &third];
        let url = origin.url(PATH);
        let waiting = gateways.map(|gateway| gateway.get(&url).start());
        let mut answers = waiting.map(|waiting| waiting.head());
        for answer in &mut answers {
            assert_eq!(answer.head.status, 200);
            assert_same(&answer.read(100_000), &body[..100_000]);
        }
        early.open();
        for answer in &mut answers {
            assert_same(&answer.read(200_000), &body[100_000..300_000]);
        }
        late.open();
        for answer in answers {
            answer.finish().assert_body(200, &body[300_000..]);
        }
        Gateway::assert_one_fetched(&gateways, &url);
        assert_eq!(origin.count(PATH), 1);
        assert_eq!(first.objects(), [first.object_path(&body)]);
        assert_eq!(first.records_of(&url).len(), 1);
        assert!(
            !first.lease_of(&url).exists(),
            "the holder removes its lease"
        );
    }
}

#[test]
fn followers_need_no_space() {
    let origin = Origin::start();
    let (body, gate) = (archive(3, 700_000), Gate::new());
    origin.serve(PATH, Reply::file(&body).gate_at(600_000, &gate));
    // A copy would not fit beside the body.
    let first = with(&origin).text("cache.max_size", "1MiB").start();
    let (second, third) = (first.sibling().start(), first.sibling().start());
    let gateways = [&first, &second, &third];
    let url = origin.url(PATH);
    let waiting = gateways.map(|gateway| gateway.get(&url).start());
    let mut answers = waiting.map(|waiting| waiting.head());
    for answer in &mut answers {
        assert_same(&answer.read(600_000), &body[..600_000]);
    }
    assert_eq!(first.staged().len(), 1, "followers make no copy");
    gate.open();
    for answer in answers {
        answer.finish().assert_body(200, &body[600_000..]);
    }
    Gateway::assert_one_fetched(&gateways, &url);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn follower_gets_last_byte_after_verification() {
    let origin = Origin::start();
    let body = archive(2, 200_000);
    let gate = Gate::new();
    // The origin sends the whole body but promises one byte more, so the fetch fails at the end.
    origin.serve(
        PATH,
        Reply::file(&body)
            .claims_length(200_001)
            .gate_at(200_000, &gate),
    );
    let first = with(&origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let _early = first.get(&url).start();
    gate.await_reached(1);
    let mut follower = second.get(&url).open();
    assert_same(&follower.read(200_000), &body);
    gate.open();
    follower.finish().assert_broken();
    first.await_fetch(&url);
    second.await_fetch(&url);
    first.assert_nothing_stored();
}

#[test]
fn follower_serves_range_and_head_early() {
    let origin = Origin::start();
    let body = archive(3, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = with(&origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let early = first.get(&url).start();
    gate.await_reached(1);
    second
        .get(&url)
        .range("bytes=5000-59999")
        .send()
        .assert_body(206, &body[5000..60_000]);
    let head = second.request("HEAD", &format!("/{url}")).send();
    head.assert_status(200);
    assert_eq!(head.wants("content-length"), "200000");
    let mut last = second.get(&url).range("bytes=-10").open();
    assert_eq!(last.head.status, 206);
    gate.open();
    assert_same(&last.read(10), &body[199_990..]);
    early.head().finish().assert_body(200, &body);
    let gets = origin
        .requests(PATH)
        .into_iter()
        .filter(|request| request.method == "GET")
        .count();
    assert_eq!(gets, 1);
}

#[test]
fn origin_failure_reaches_all_processes() {
    for (reply, requests, status) in [
        (Reply::status(404), 1, 404),
        (Reply::status(503), 2, 502),
        (Reply::html(), 2, 502),
    ] {
        let origin = Origin::start();
        let gate = Gate::new();
        origin.serve(PATH, reply.gate_before_head(&gate));
        let first = with(&origin).set("fetch.attempts", "2").start();
        let (second, third) = (first.sibling().start(), first.sibling().start());
        let url = origin.url(PATH);
        let early = first.get(&url).start();
        gate.await_reached(1);
        let followers = [&second, &third].map(|gateway| gateway.get(&url).start());
        second.await_at_lease(&url);
        third.await_at_lease(&url);
        gate.open();
        early.head().finish().assert_problem(status);
        for follower in followers {
            follower.head().finish().assert_problem(status);
        }
        for gateway in [&first, &second, &third] {
            assert_eq!(gateway.await_fetch(&url)["outcome"], "failed");
        }
        assert_eq!(origin.count(PATH), requests);
        first.assert_nothing_stored();
    }
}

#[test]
fn follower_shutdown_keeps_other_fetch_running() {
    let origin = Origin::start();
    let body = archive(11, 300_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = with(&origin)
        .text("gateway.shutdown_grace", "100ms")
        .start();
    let mut second = first.sibling().start();
    let url = origin.url(PATH);
    let mut early = first.get(&url).open();
    assert_same(&early.read(100_000), &body[..100_000]);
    let mut follower = second.get(&url).open();
    assert_same(&follower.read(100_000), &body[..100_000]);
    second.signal("TERM");
    follower.finish().assert_broken();
    second.await_exit();
    gate.open();
    assert_same(&early.finish().body, &body[100_000..]);
    first.await_stored(&url);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn expected_digest_does_not_stop_other_process() {
    let origin = Origin::start();
    let body = archive(12, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = with(&origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let mut early = first.get(&url).open();
    assert_same(&early.read(100_000), &body[..100_000]);
    let wrong = second.get(&url).header("X-Expected-Sha256", WRONG).open();
    // A request with an expected SHA-256 joins the fetch; one with another
    // digest waits for its end.
    let mut right = second
        .get(&url)
        .header("X-Expected-Sha256", &sha256(&body))
        .open();
    assert_same(&right.read(100_000), &body[..100_000]);
    let sha512 = hex::encode(Sha512::digest(&body));
    let other = second
        .get(&url)
        .header("X-Expected-Sha512", &sha512)
        .start();
    let mut plain = second.get(&url).open();
    assert_same(&plain.read(100_000), &body[..100_000]);
    gate.open();
    wrong.finish().assert_broken();
    for answer in [early, right, plain] {
        answer.finish().assert_body(200, &body[100_000..]);
    }
    other.head().finish().assert_body(200, &body);
    assert_eq!(origin.count(PATH), 1);
}

/// Starts two processes that stored `body`, and removes the object.
#[track_caller]
fn two_without(origin: &Origin, body: &[u8]) -> [Gateway; 2] {
    let first = with(origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    for gateway in [&first, &second] {
        gateway.assert_serves(&url, body);
    }
    first.await_stored(&url);
    fs::remove_file(first.object_path(body)).expect("the object exists");
    [first, second]
}

#[test]
fn processes_refetch_evicted_object_once() {
    let origin = Origin::start();
    let body = archive(22, 200_000);
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&body),
            Reply::file(&body).gate_at(100_000, &gate),
        ],
    );
    let [first, second] = two_without(&origin, &body);
    let url = origin.url(PATH);
    let mut answers = [first.get(&url).open(), second.get(&url).open()];
    for answer in &mut answers {
        assert_same(&answer.read(100_000), &body[..100_000]);
    }
    gate.open();
    for answer in answers {
        answer.finish().assert_body(200, &body[100_000..]);
    }
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn changed_content_is_refused_by_all_processes() {
    let origin = Origin::start();
    let (body, other) = (archive(27, 200_000), archive(28, 200_000));
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&body),
            Reply::file(&other).gate_at(100_000, &gate),
        ],
    );
    let [first, second] = two_without(&origin, &body);
    let url = origin.url(PATH);
    let mut answers = [first.get(&url).open(), second.get(&url).open()];
    for answer in &mut answers {
        assert_same(&answer.read(100_000), &other[..100_000]);
    }
    gate.open();
    for answer in answers {
        answer.finish().assert_broken();
    }
    assert_eq!(origin.count(PATH), 2);
    first.get(&url).send().assert_problem(409);
    assert_eq!(
        first.objects(),
        [first.object_path(&other)],
        "the changed content is stored for the operator"
    );
}

#[test]
fn follower_does_not_redirect_during_other_fetch() {
    let origin = Origin::start();
    let body = archive(13, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = Gateway::builder().origin(&origin).one_attempt().start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    first.get(&url).wget_agent().send().assert_status(302);
    gate.await_reached(1);
    let mut answer = second.get(&url).wget_agent().open();
    assert_eq!(
        answer.head.status, 200,
        "another process fetches the target"
    );
    assert_same(&answer.read(100_000), &body[..100_000]);
    gate.open();
    assert_same(&answer.finish().body, &body[100_000..]);
    first.await_stored(&url);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn following_takes_no_fetch_permit() {
    let origin = Origin::start();
    let (body, other) = (archive(14, 200_000), archive(15, 50_000));
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    origin.serve("/other-1.0.tar.gz", Reply::file(&other));
    let first = with(&origin).set("fetch.concurrency", "1").start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let early = first.get(&url).open();
    let mut follower = second.get(&url).open();
    assert_same(&follower.read(100_000), &body[..100_000]);
    second.assert_serves(&origin.url("/other-1.0.tar.gz"), &other);
    gate.open();
    follower.finish();
    early.finish().assert_body(200, &body);
}
