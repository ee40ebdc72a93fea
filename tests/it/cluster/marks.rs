//! Marks of peers: a node states its facts only to a request that proves the secret, once, and in
//! time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use millpond::cluster::{
    LINK_CONTENT, LINK_REQUEST, MARK_FIELD, Mark, MarkedRequest, NODE_PATH, ORIGIN_TAG_FIELD,
    POLL_REQUEST, PROOF_FIELD, REFUSAL_FIELD,
};

use super::stage::{SECRET, free_address, key, node, run_of};
use crate::harness::{Answer, Gateway, Origin, Reply, archive, sha256};

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
fn records_are_open_to_marks_of_the_request() {
    let gateway = node("own", free_address("127.0.0.110"), &[]).start();
    let path = "/api/v1/node/records?keys=ab";
    gateway.request("GET", path).send().assert_problem(401);
    let (key, run) = (key(SECRET), run_of(&gateway));
    let mark = |target| {
        let request = MarkedRequest {
            recipient: &run,
            method: "GET",
            target,
        };
        key.mark(request, SystemTime::now())
    };
    let ask = |mark: &Mark| {
        let request = gateway.request("GET", path);
        request.header(MARK_FIELD, &mark.value).send()
    };
    let right = mark(path);
    let answer = ask(&right);
    answer.assert_status(200);
    let proof = answer.wants(PROOF_FIELD);
    assert!(key.is_proven(&right.nonce, &answer.body, proof), "{proof}");
    assert_refused(&ask(&right), "replay");
    assert_refused(&ask(&mark("/api/v1/node/records?keys=ac")), "secret");
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

/// Asks for a link, and returns the head of the answer with its connection.
fn ask_for_link(gateway: &Gateway, fields: &str) -> (String, TcpStream) {
    let mut socket = TcpStream::connect(gateway.addr()).expect("the node listens");
    let head = format!("CONNECT node:80 HTTP/1.1\r\nHost: node:80\r\n{fields}\r\n");
    socket.write_all(head.as_bytes()).expect("the node reads");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).expect("the node answers");
        head.extend(byte);
    }
    (String::from_utf8(head).expect("a head is text"), socket)
}

#[test]
fn link_needs_a_mark() {
    let gateway = node("own", free_address("127.0.0.81"), &[]).start();
    let (key, run) = (key(SECRET), run_of(&gateway));
    let (head, _) = ask_for_link(&gateway, "");
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
    let request = MarkedRequest {
        recipient: &run,
        ..LINK_REQUEST
    };
    let mark = key.mark(request, SystemTime::now());
    let field = format!("{MARK_FIELD}: {}\r\n", mark.value);
    let (head, mut socket) = ask_for_link(&gateway, &field);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let proof = head.lines().find_map(|line| line.strip_prefix(PROOF_FIELD));
    let proof = proof.and_then(|rest| rest.strip_prefix(": "));
    assert!(key.is_proven(&mark.nonce, LINK_CONTENT, proof.unwrap_or_default()));
    socket.write_all(b".").expect("the link is open");
    let mut pong = [0];
    socket.read_exact(&mut pong).expect("the ping is answered");
    assert_eq!(&pong, b".");
    let any = key.mark(LINK_REQUEST, SystemTime::now()).value;
    for value in [mark.value, any, "nonsense".to_owned()] {
        let (head, _) = ask_for_link(&gateway, &format!("{MARK_FIELD}: {value}\r\n"));
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    }
}

/// Returns the mark of a request for a target, for a process.
fn mark_of(method: &str, url: &str, recipient: &str) -> Mark {
    let request = MarkedRequest {
        recipient,
        method,
        target: url,
    };
    key(SECRET).mark(request, SystemTime::now())
}

#[test]
fn mark_for_a_target_is_accepted_once() {
    let (origin, path) = (Origin::start(), "/pub/marked-1.0.tar.gz");
    let body = archive(10, 100_000);
    origin.serve(path, Reply::file(&body));
    let gateway = node("own", free_address("127.0.0.57"), &[]);
    let gateway = gateway.origin(&origin).start();
    let (url, run) = (origin.url(path), run_of(&gateway));
    let ask = |method: &str, mark: &Mark| {
        let request = gateway.request(method, &format!("/{url}"));
        request.header(MARK_FIELD, &mark.value).send()
    };
    // An acknowledgement begins nothing.
    let mark = mark_of("POST", &url, &run);
    let answer = ask("POST", &mark);
    answer.assert_status(202);
    answer.wants(PROOF_FIELD);
    assert_refused(&ask("POST", &mark), "replay");
    assert_eq!(origin.count(path), 0);
    let mark = mark_of("GET", &url, &run);
    assert_refused(&ask("POST", &mark), "secret");
    let answer = ask("GET", &mark);
    answer.assert_body(200, &body);
    answer.wants(PROOF_FIELD);
    let tag = format!("\"{}\"", &sha256(&body)[..16]);
    assert_eq!(answer.header(ORIGIN_TAG_FIELD), Some(tag.as_str()));
    assert_refused(&ask("GET", &mark), "replay");
    assert_eq!(origin.count(path), 1);
}

#[test]
fn mark_for_another_process_is_refused() {
    let (origin, path) = (Origin::start(), "/pub/marked-1.0.tar.gz");
    origin.serve(path, Reply::file(&archive(11, 10_000)));
    let gateway = node("own", free_address("127.0.0.58"), &[]);
    let mut gateway = gateway.origin(&origin).start();
    let (url, run) = (origin.url(path), run_of(&gateway));
    let ask = |gateway: &Gateway, mark: &Mark| {
        let request = gateway.request("GET", &format!("/{url}"));
        request.header(MARK_FIELD, &mark.value).send()
    };
    assert_refused(&ask(&gateway, &mark_of("GET", &url, "any")), "recipient");
    let unused = mark_of("GET", &url, &run);
    gateway.restart();
    assert_ne!(run_of(&gateway), run);
    assert_refused(&ask(&gateway, &unused), "recipient");
    let bare = gateway.request("POST", &format!("/{url}"));
    bare.send().assert_problem(405);
    assert_eq!(origin.count(path), 0);
    let answer = gateway.get(&url).send();
    assert_eq!(answer.header(ORIGIN_TAG_FIELD), None);
    assert_eq!(answer.header(PROOF_FIELD), None);
}
