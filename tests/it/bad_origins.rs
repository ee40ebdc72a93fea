//! Origins that do badly in the ways that other modules do not show: whatever they do, what a client takes for whole is whole,
//! and a fetch has an end.

use std::io::Write as _;
use std::thread;

use crate::harness::{
    Authority, Body, Builder, Ended, Gateway, Origin, Reply, Stop, archive, assert_same, eventually, listen,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 200_000;

fn retrying(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().set("fetch.attempts", "4")
}

/// Numbers below `limit` that look like chance, the same for each seed.
fn offsets(seed: u64, limit: usize) -> impl Iterator<Item = usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).expect("it is below a size")
    })
}

/// The ways in which a body can be framed and resumed.
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
fn a_body_that_is_cut_anywhere_again_and_again_comes_whole() {
    let origin = Origin::start();
    let body = archive(1, SIZE);
    let gateway = retrying(&origin).set("fetch.breaker_failures", "0").start();
    let mut cuts = offsets(1, SIZE);
    for round in 0..8 {
        for (number, form) in forms(&body).into_iter().enumerate() {
            let path = format!("/{round}/{number}.tar.gz");
            let mut cut = |stop| form.clone().stop_at(cuts.next().expect("there is always another"), stop);
            origin.script(&path, vec![cut(Stop::Cut), cut(Stop::Reset), cut(Stop::Cut), form.clone()]);
            gateway.assert_serves(&origin.url(&path), &body);
            gateway.await_stored(&origin.url(&path));
        }
    }
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
}

#[test]
fn a_body_that_is_cut_anywhere_every_time_is_never_taken_for_whole() {
    let origin = Origin::start();
    let body = archive(2, SIZE);
    let gateway = retrying(&origin).set("fetch.breaker_failures", "0").set("fetch.attempts", "2").start();
    let mut cuts = offsets(2, SIZE);
    for round in 0..8 {
        for (number, form) in forms(&body).into_iter().take(4).enumerate() {
            let path = format!("/{round}/{number}.tar.gz");
            // A part of what is left may be all of it.
            let cut = form.ranges_ignored().cut_at(cuts.next().expect("there is always another"));
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
fn an_origin_that_asks_for_patience_gets_it() {
    for status in [429, 503] {
        let origin = Origin::start();
        let body = archive(3, 5000);
        origin.script(PATH, vec![Reply::status(status).header("Retry-After", "1"), Reply::file(&body)]);
        let gateway = retrying(&origin).start();
        gateway.assert_serves(&origin.url(PATH), &body);
        let fetch = gateway.await_stored(&origin.url(PATH));
        assert!(fetch["duration_ms"].as_u64().is_some_and(|duration| duration >= 1000), "{fetch}");
        assert_eq!(origin.count(PATH), 2);
    }
}

#[test]
fn patience_that_is_asked_for_is_handed_on() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(429).header("Retry-After", "77"));
    let gateway = retrying(&origin).one_attempt().start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_problem(502);
    assert_eq!(answer.wants("retry-after"), "77");
}

#[test]
fn a_certificate_that_has_expired_is_refused() {
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
fn a_server_without_tls_where_https_is_asked_for_is_refused() {
    let listener = listen("127.0.0.1");
    let port = listener.local_addr().expect("a listener has an address").port();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("the gateway connects");
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").expect("it listens");
    });
    let gateway = Gateway::builder().port(port).relay().one_attempt().start();
    gateway.get(&format!("https://127.0.0.1:{port}{PATH}")).send().assert_problem(502);
    server.join().expect("the server has answered");
    gateway.assert_nothing_stored();
}

#[test]
fn a_name_that_has_no_address_is_asked_for_again_and_then_told() {
    let gateway = Gateway::builder().port(80).relay().set("fetch.attempts", "2").start();
    let url = "http://nowhere.invalid/x-1.0.tar.gz";
    gateway.get(url).send().assert_problem(504);
    assert_eq!(gateway.await_fetch(url)["attempts"], 2);
}

#[test]
fn the_same_tag_for_other_bytes_is_seen_where_a_digest_is_expected() {
    let origin = Origin::start();
    let (old, new) = (archive(5, SIZE), archive(6, SIZE));
    let tagged = |body: &Body| Reply::ok(body).header("ETag", "\"same\"").ranges();
    origin.script(PATH, vec![tagged(&old).cut_at(SIZE / 2), tagged(&new)]);
    let gateway = retrying(&origin).start();
    let digest = crate::harness::sha256(&old);
    let answer = gateway.request("GET", &format!("/sha256:{digest}/{}", origin.url(PATH))).send();
    assert_eq!(answer.ended, Ended::Cut);
    eventually("the fetch has ended", || gateway.log().text().contains("not those expected").then_some(()));
    gateway.assert_nothing_stored();
}
