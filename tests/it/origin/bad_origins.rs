//! Tests of misbehaving origins that the other modules do not cover. A client never takes a partial
//! body for a complete one, and every fetch ends.

mod script;
mod server;
mod table;
mod tools;

use std::io::Write as _;
use std::thread;

use crate::harness::{
    Authority, Body, Builder, Ended, Gate, Gateway, Origin, Reply, Stop, archive, assert_same,
    eventually, listen,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 200_000;

fn retrying(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .set("fetch.attempts", "4")
}

/// Yields pseudorandom numbers below `limit`, the same for each seed.
fn offsets(seed: u64, limit: usize) -> impl Iterator<Item = usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).expect("the offset is below the limit")
    })
}

/// Returns the body in each form of framing and resumption.
fn forms(body: &Body) -> [Reply; 5] {
    [
        Reply::file(body),
        Reply::file(body).chunked(),
        Reply::ok(body),
        Reply::ok(body).chunked(),
        Reply::file(body).ranges_ignored(),
    ]
}

#[test]
fn repeatedly_cut_body_is_completed_by_retries() {
    let origin = Origin::start();
    let body = archive(1, SIZE);
    let gateway = retrying(&origin).set("fetch.breaker_failures", "0").start();
    let mut cuts = offsets(1, SIZE);
    for round in 0..8 {
        for (number, form) in forms(&body).into_iter().enumerate() {
            let path = format!("/{round}/{number}.tar.gz");
            let mut cut = |stop| {
                form.clone()
                    .stop_at(cuts.next().expect("the iterator is endless"), stop)
            };
            origin.script(
                &path,
                vec![
                    cut(Stop::Cut),
                    cut(Stop::Reset),
                    cut(Stop::Cut),
                    form.clone(),
                ],
            );
            gateway.assert_serves(&origin.url(&path), &body);
            gateway.await_stored(&origin.url(&path));
        }
    }
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
}

#[test]
fn body_cut_on_every_attempt_never_completes() {
    let origin = Origin::start();
    let body = archive(2, SIZE);
    let gateway = retrying(&origin)
        .set("fetch.breaker_failures", "0")
        .set("fetch.attempts", "2")
        .start();
    let mut cuts = offsets(2, SIZE);
    for round in 0..8 {
        for (number, form) in forms(&body).into_iter().take(4).enumerate() {
            let path = format!("/{round}/{number}.tar.gz");
            // Ranges are ignored, because a partial response could complete the body.
            let cut = form
                .ranges_ignored()
                .cut_at(cuts.next().expect("the iterator is endless"));
            origin.serve(&path, cut);
            let answer = gateway.get(&origin.url(&path)).send();
            if answer.status == 200 {
                assert_eq!(answer.ended, Ended::Cut, "{path}");
                assert_same(&answer.body, &body[..answer.body.len()]);
            } else {
                answer.assert_problem(504);
            }
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn origin_retry_after_delays_next_attempt() {
    for status in [429, 503] {
        let origin = Origin::start();
        let body = archive(3, 5000);
        origin.script(
            PATH,
            vec![
                Reply::status(status).header("Retry-After", "1"),
                Reply::file(&body),
            ],
        );
        let gateway = retrying(&origin).start();
        gateway.assert_serves(&origin.url(PATH), &body);
        let fetch = gateway.await_stored(&origin.url(PATH));
        assert!(
            fetch["duration_ms"]
                .as_u64()
                .is_some_and(|duration| duration >= 1000),
            "{fetch}"
        );
        assert_eq!(origin.count(PATH), 2);
    }
}

#[test]
fn origin_retry_after_is_passed_to_client() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(429).header("Retry-After", "77"));
    let gateway = retrying(&origin).one_attempt().start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_problem(502);
    assert_eq!(answer.wants("retry-after"), "77");
}

#[test]
fn expired_certificate_is_rejected() {
    let authority = Authority::with_expired_leaf();
    let origin = Origin::start_tls(&authority);
    origin.serve(PATH, Reply::file(&archive(4, 5000)));
    let gateway = retrying(&origin).authority(&authority).start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_problem(502);
    assert!(answer.text().contains("TLS"), "{}", answer.text());
    assert_eq!(origin.total(), 0);
    gateway.assert_nothing_stored();
}

#[test]
fn https_request_to_plaintext_server_fails() {
    let listener = listen("127.0.0.1");
    let port = listener
        .local_addr()
        .expect("a listener has an address")
        .port();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("the gateway connects");
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .expect("the gateway reads the response");
    });
    let gateway = Gateway::builder().port(port).relay().one_attempt().start();
    gateway
        .get(&format!("https://127.0.0.1:{port}{PATH}"))
        .send()
        .assert_problem(502);
    server.join().expect("the server has answered");
    gateway.assert_nothing_stored();
}

#[test]
fn unresolvable_host_is_retried_then_reported_as_504() {
    let gateway = Gateway::builder()
        .port(80)
        .relay()
        .set("fetch.attempts", "2")
        .start();
    let url = "http://nowhere.invalid/x-1.0.tar.gz";
    gateway.get(url).send().assert_problem(504);
    assert_eq!(gateway.await_fetch(url)["attempts"], 2);
}

#[test]
fn reused_etag_with_other_bytes_fails_digest_check() {
    let origin = Origin::start();
    let (old, new) = (archive(5, SIZE), archive(6, SIZE));
    let tagged = |body: &Body| Reply::ok(body).header("ETag", "\"same\"").ranges();
    // The client gets the head before the origin cuts the body.
    let gate = Gate::new();
    let cut = tagged(&old).gate_at(SIZE / 4, &gate).cut_at(SIZE / 2);
    origin.script(PATH, vec![cut, tagged(&new)]);
    let gateway = retrying(&origin).start();
    let digest = crate::harness::sha256(&old);
    let mut answer = gateway
        .request("GET", &format!("/sha256:{digest}/{}", origin.url(PATH)))
        .open();
    assert_same(&answer.read(SIZE / 4), &old[..SIZE / 4]);
    gate.open();
    assert_eq!(answer.finish().ended, Ended::Cut);
    eventually("the fetch reports the change", || {
        gateway
            .log()
            .text()
            .contains("changed between two attempts")
            .then_some(())
    });
    gateway.assert_nothing_stored();
}
