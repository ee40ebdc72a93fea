//! Marks of peers: a node states its facts only to a request that proves the secret, once, and in
//! time.

use std::time::{Duration, SystemTime};

use millpond::cluster::{
    MARK_FIELD, MarkedRequest, NODE_PATH, POLL_REQUEST, PROOF_FIELD, REFUSAL_FIELD,
};

use super::stage::{SECRET, free_address, key, node};
use crate::harness::{Answer, Gateway};

fn ask(gateway: &Gateway, mark: &str) -> Answer {
    let request = gateway.request("GET", NODE_PATH);
    request.header(MARK_FIELD, mark).send()
}

#[track_caller]
fn assert_refused(answer: &Answer, reason: &str) {
    answer.assert_problem(403);
    assert_eq!(answer.header(REFUSAL_FIELD), Some(reason));
    assert_eq!(answer.header(PROOF_FIELD), None);
}

#[test]
fn mark_proves_the_secret_once() {
    let gateway = node("own", free_address("127.0.0.36"), &[]).start();
    let key = key(SECRET);
    let mark = key.mark(POLL_REQUEST, SystemTime::now());
    let answer = ask(&gateway, &mark.value);
    answer.assert_status(200);
    assert_eq!(answer.json()["name"], "own");
    let proof = answer.wants(PROOF_FIELD);
    assert!(key.is_proven(&mark.nonce, &answer.body, proof), "{proof}");
    assert_refused(&ask(&gateway, &mark.value), "replay");
}

#[test]
fn mark_of_another_request_is_refused() {
    let gateway = node("own", free_address("127.0.0.37"), &[]).start();
    let (ours, foreign) = (key(SECRET), key("another secret, foreign"));
    let now = SystemTime::now();
    let of_nodes = MarkedRequest {
        target: "/api/v1/nodes",
        ..POLL_REQUEST
    };
    let post = MarkedRequest {
        method: "POST",
        ..POLL_REQUEST
    };
    for mark in [
        foreign.mark(POLL_REQUEST, now),
        ours.mark(post, now),
        ours.mark(of_nodes, now),
    ] {
        assert_refused(&ask(&gateway, &mark.value), "secret");
    }
    assert_refused(&ask(&gateway, "v1 nonsense"), "secret");
    let elsewhere = MarkedRequest {
        recipient: "another",
        ..POLL_REQUEST
    };
    let mark = ours.mark(elsewhere, now);
    assert_refused(&ask(&gateway, &mark.value), "recipient");
    let marks = ours.mark(POLL_REQUEST, now).value;
    let twice = gateway.request("GET", NODE_PATH).header(MARK_FIELD, &marks);
    let twice = twice.header(MARK_FIELD, &marks);
    assert_refused(&twice.send(), "secret");
    // A mark opens nothing but this resource.
    let mark = ours.mark(of_nodes, now).value;
    let list = gateway.request("GET", "/api/v1/nodes");
    list.header(MARK_FIELD, &mark).send().assert_problem(401);
}

#[test]
fn mark_with_a_wrong_clock_is_refused() {
    let gateway = node("own", free_address("127.0.0.38"), &[]).start();
    let (key, ten_minutes) = (key(SECRET), Duration::from_mins(10));
    for time in [
        SystemTime::now() - ten_minutes,
        SystemTime::now() + ten_minutes,
    ] {
        let mark = key.mark(POLL_REQUEST, time);
        assert_refused(&ask(&gateway, &mark.value), "clock");
    }
}
