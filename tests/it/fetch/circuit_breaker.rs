//! Tests of the circuit breaker. After repeated failures Millpond stops asking a host for a while,
//! and its clients get an error at once.

use crate::harness::{
    Answer, Authority, Builder, Gate, Gateway, Origin, Reply, Stop, archive, eventually,
};

const GOOD: &str = "/pub/good-1.0.tar.gz";

/// Returns a gateway whose circuits open after `failures` failures, for one hour.
fn breaking(origin: &Origin, failures: &str) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .set("fetch.breaker_failures", failures)
        .text("fetch.breaker_cooldown", "1h")
}

/// Paths on which silence opens the circuit for one client.
const SILENT_PATHS: usize = 3;

fn silence() -> Reply {
    Reply::status(200).stop_before_head(Stop::Cut)
}

/// Opens the circuit of the host for the client of the test.
#[track_caller]
fn fall_silent(gateway: &Gateway, origin: &Origin) {
    fail(gateway, origin, &silence(), SILENT_PATHS, 504);
}

/// Lets `count` targets fail in turn, and asserts that the client gets `status` for each.
#[track_caller]
fn fail(gateway: &Gateway, origin: &Origin, reply: &Reply, count: usize, status: u16) {
    for number in 0..count {
        let path = format!("/pub/{status}-{number}.tar.gz");
        origin.serve(&path, reply.clone());
        gateway
            .get(&origin.url(&path))
            .send()
            .assert_problem(status);
    }
}

#[track_caller]
fn retry_after(answer: &Answer) -> u64 {
    answer
        .wants("retry-after")
        .parse()
        .expect("Retry-After is a number of seconds")
}

#[test]
fn open_circuit_fails_requests_without_asking_host() {
    let origin = Origin::start();
    origin.serve(GOOD, Reply::file(&archive(1, 5000)));
    let gateway = breaking(&origin, "10").start();
    fall_silent(&gateway, &origin);
    let asked = origin.total();
    let answer = gateway.get(&origin.url(GOOD)).send();
    answer.assert_problem(504);
    assert!((3000..=3600).contains(&retry_after(&answer)), "{answer:?}");
    assert_eq!(gateway.await_fetch(&origin.url(GOOD))["attempts"], 0);
    assert_eq!(
        origin.total(),
        asked,
        "the host of an open circuit is not asked"
    );
    gateway.assert_nothing_stored();
}

#[test]
fn error_status_counts_for_its_path_only() {
    let origin = Origin::start();
    let gateway = breaking(&origin, "1").start();
    for (number, status) in [500, 502, 503, 504, 429].into_iter().enumerate() {
        let reply = Reply::status(status).header("Retry-After", "3600");
        for path in 0..SILENT_PATHS {
            let path = format!("/pub/{status}-{path}.tar.gz");
            origin.serve(&path, reply.clone());
            let answer = gateway.get(&origin.url(&path)).send();
            assert!(answer.status >= 429, "{answer:?}");
        }
        let (path, body) = (format!("/good-{number}.0.tar.gz"), archive(1, 5000));
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
    }
}

#[test]
fn silence_opens_for_each_client() {
    let origin = Origin::start();
    let body = archive(1, 5000);
    let gateway = breaking(&origin, "10")
        .set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
        .start();
    let get = |client: u8, name: &str, reply: &Reply| {
        let path = format!("/pub/{client}-{name}.tar.gz");
        origin.serve(&path, reply.clone());
        let request = gateway.get(&origin.url(&path));
        let forwarded = format!("10.0.0.{client}");
        let answer = request.header("X-Forwarded-For", &forwarded).send();
        (answer.status, origin.count(&path) > 0)
    };
    let good = Reply::file(&body);
    for path in ["a-1", "b-1", "c-1"] {
        assert_eq!(get(1, path, &silence()), (504, true));
    }
    assert_eq!(get(1, "d-1", &good), (504, false), "open for this client");
    assert_eq!(get(2, "d-1", &good), (200, true), "closed for others");
    for client in [3, 4] {
        for path in ["a-1", "b-1", "c-1"] {
            assert_eq!(get(client, path, &silence()), (504, true));
        }
    }
    assert_eq!(
        get(5, "d-1", &good),
        (504, false),
        "two clients open it for all"
    );
}

#[test]
fn refused_connections_open_for_all() {
    let origin = Origin::start();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    let gateway = breaking(&origin, "3")
        .set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
        .start();
    let closed = url(0).replace("127.0.0.1", "127.0.0.9");
    for number in 0..3 {
        let url = closed.replace("x-0", &format!("x-{number}"));
        gateway.get(&url).send().assert_problem(504);
    }
    let other = closed.replace("x-0", "x-3");
    let request = gateway.get(&other).header("X-Forwarded-For", "10.0.0.9");
    let answer = request.send();
    assert!(retry_after(&answer) > 60, "{answer:?}");
}

#[test]
fn cut_bodies_do_not_open_the_circuit() {
    let origin = Origin::start();
    let gateway = breaking(&origin, "2").start();
    for number in 0..3 {
        let (path, body) = (format!("/pub/cut-{number}.tar.gz"), archive(number, 50_000));
        origin.serve(&path, Reply::ok(&body).cut_at(20_000));
        gateway.get(&origin.url(&path)).send().assert_broken();
    }
    let body = archive(9, 5000);
    origin.serve(GOOD, Reply::file(&body));
    gateway.assert_serves(&origin.url(GOOD), &body);
}

#[test]
fn untrusted_certificate_opens_the_circuit() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = Origin::start_tls(&stranger);
    let gateway = breaking(&origin, "1").authority(&authority).start();
    gateway
        .get(&origin.url("/a-1.0.tar.gz"))
        .send()
        .assert_problem(502);
    let connections = origin.connections();
    let answer = gateway.get(&origin.url("/b-1.0.tar.gz")).send();
    answer.assert_problem(502);
    assert!(retry_after(&answer) > 0);
    assert_eq!(origin.connections(), connections);
}

#[test]
fn each_port_has_its_own_circuit() {
    let (origin, other) = (Origin::start(), Origin::start());
    let body = archive(2, 5000);
    other.serve(GOOD, Reply::file(&body));
    let gateway = breaking(&origin, "1").origin(&other).start();
    fall_silent(&gateway, &origin);
    gateway.assert_serves(&other.url(GOOD), &body);
}

#[test]
fn circuit_of_one_scheme_leaves_others_closed() {
    for scheme in ["https", "ftp"] {
        let origin = Origin::start();
        let body = archive(7, 5000);
        origin.serve(GOOD, Reply::file(&body));
        let gateway = breaking(&origin, "1")
            .text("fetch.idle_timeout", "1s")
            .start();
        let other = |path: &str| origin.url(path).replacen("http", scheme, 1);
        assert!(
            gateway.get(&other("/a-1.0.tar.gz")).send().status >= 500,
            "{scheme} is not spoken there"
        );
        let answer = gateway.get(&other("/b-1.0.tar.gz")).send();
        assert!(
            retry_after(&answer) > 60,
            "the circuit of {scheme} is open: {answer:?}"
        );
        gateway.assert_serves(&origin.url(GOOD), &body);
    }
}

#[test]
fn half_open_circuit_admits_one_probe() {
    let origin = Origin::start();
    let (body, gate) = (archive(3, 50_000), Gate::new());
    origin.serve(GOOD, Reply::file(&body).gate_before_head(&gate));
    origin.serve("/other-1.0.tar.gz", Reply::file(&body));
    let gateway = breaking(&origin, "1")
        .text("fetch.breaker_cooldown", "1ms")
        .start();
    fall_silent(&gateway, &origin);
    let probe = eventually("the circuit is half-open", || {
        let probe = gateway.get(&origin.url(GOOD)).start();
        (origin.count(GOOD) > 0).then_some(probe)
    });
    gate.await_reached(1);
    let other = gateway.get(&origin.url("/other-1.0.tar.gz")).send();
    other.assert_problem(504);
    assert!(retry_after(&other) <= 60);
    assert_eq!(
        origin.count("/other-1.0.tar.gz"),
        0,
        "only the probe is sent to the host"
    );
    gate.open();
    probe.head().finish().assert_body(200, &body);
    gateway.assert_serves(&origin.url("/other-1.0.tar.gz"), &body);
}

#[test]
fn circuit_closes_before_probe_body_ends() {
    let origin = Origin::start();
    let (body, gate) = (archive(4, 50_000), Gate::new());
    origin.serve(GOOD, Reply::file(&body).gate_at(20_000, &gate));
    origin.serve("/other-1.0.tar.gz", Reply::file(&body));
    let gateway = breaking(&origin, "1")
        .text("fetch.breaker_cooldown", "1ms")
        .start();
    fall_silent(&gateway, &origin);
    let mut probe = eventually("the circuit is half-open", || {
        Some(gateway.get(&origin.url(GOOD)).open()).filter(|probe| probe.head.status == 200)
    });
    probe.read(10_000);
    gateway.assert_serves(&origin.url("/other-1.0.tar.gz"), &body);
    gate.open();
    gateway.await_stored(&origin.url(GOOD));
}

#[test]
fn only_host_failures_count_against_the_circuit() {
    let (origin, elsewhere) = (Origin::start(), Origin::start());
    let body = archive(5, 5000);
    origin.serve(GOOD, Reply::file(&body));
    elsewhere.serve("/x", Reply::status(503));
    let gateway = breaking(&origin, "1").origin(&elsewhere).start();
    fail(&gateway, &origin, &Reply::status(404), 2, 404);
    fail(&gateway, &origin, &Reply::html(), 2, 502);
    fail(
        &gateway,
        &origin,
        &Reply::redirect(302, &elsewhere.url("/x")),
        2,
        502,
    );
    gateway.assert_serves(&origin.url(GOOD), &body);
}

#[test]
fn successful_response_resets_failure_count() {
    let origin = Origin::start();
    let body = archive(6, 5000);
    for path in [GOOD, "/second-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    let gateway = breaking(&origin, "3").start();
    fail(&gateway, &origin, &silence(), 2, 504);
    gateway.assert_serves(&origin.url(GOOD), &body);
    gateway.await_stored(&origin.url(GOOD));
    // Other paths than before: a stored failure would answer for the same ones.
    for number in 2..4 {
        let path = format!("/pub/504-{number}.tar.gz");
        origin.serve(&path, silence());
        gateway.get(&origin.url(&path)).send().assert_problem(504);
    }
    gateway.assert_serves(&origin.url("/second-1.0.tar.gz"), &body);
}

#[test]
fn client_is_not_redirected_while_circuit_is_open() {
    let origin = Origin::start();
    let gateway = breaking(&origin, "1")
        .text("gateway.miss", "redirect")
        .start();
    for number in 0..SILENT_PATHS {
        let path = format!("/pub/x-{number}.tar.gz");
        origin.serve(&path, silence());
        let url = origin.url(&path);
        gateway.get(&url).wget_agent().send().assert_status(302);
        gateway.await_fetch(&url);
    }
    let answer = gateway.get(&origin.url(GOOD)).wget_agent().send();
    answer.assert_problem(504);
    assert_eq!(origin.count(GOOD), 0);
}

#[test]
fn running_fetch_retries_despite_open_circuit() {
    let origin = Origin::start();
    let body = archive(7, 300_000);
    let (file, gate) = (Reply::file(&body), Gate::new());
    let cut = file.clone().gate_at(100_000, &gate).cut_at(100_001);
    origin.script(GOOD, vec![cut, file]);
    let gateway = breaking(&origin, "1").set("fetch.attempts", "2").start();
    let running = gateway.get(&origin.url(GOOD)).start();
    gate.await_reached(1);
    // Each of these has two attempts as well.
    fall_silent(&gateway, &origin);
    let rejected = gateway.get(&origin.url("/early-1.0.tar.gz")).send();
    rejected.assert_problem(504);
    gate.open();
    running.head().finish().assert_body(200, &body);
    assert_eq!(gateway.await_stored(&origin.url(GOOD))["attempts"], 2);
    // The end of the first fetch has closed the circuit.
    origin.serve("/next-1.0.tar.gz", Reply::file(&body));
    gateway.assert_serves(&origin.url("/next-1.0.tar.gz"), &body);
}

#[test]
fn hit_is_served_while_circuit_is_open() {
    let origin = Origin::start();
    let body = archive(8, 5000);
    origin.serve(GOOD, Reply::file(&body));
    let gateway = breaking(&origin, "1").start();
    gateway.assert_serves(&origin.url(GOOD), &body);
    gateway.await_stored(&origin.url(GOOD));
    fall_silent(&gateway, &origin);
    gateway
        .assert_serves(&origin.url(GOOD), &body)
        .assert_cache(&["hit"]);
    gateway
        .get(&origin.url("/not-stored-1.0.tar.gz"))
        .send()
        .assert_problem(504);
}

#[test]
fn zero_breaker_failures_disables_the_circuit() {
    let origin = Origin::start();
    let body = archive(9, 5000);
    origin.serve(GOOD, Reply::file(&body));
    let gateway = breaking(&origin, "0").start();
    fail(&gateway, &origin, &Reply::status(500), 12, 502);
    fail(&gateway, &origin, &silence(), 4, 504);
    gateway.assert_serves(&origin.url(GOOD), &body);
}
