//! A host that keeps failing is left alone for a while, and its clients are told at once.

use crate::harness::{Answer, Authority, Builder, Gate, Gateway, Origin, Reply, Stop, archive, eventually};

const GOOD: &str = "/pub/good-1.0.tar.gz";

/// A gateway whose circuits open after `failures`, for an hour.
fn breaking(origin: &Origin, failures: &str) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder.set("fetch.breaker_failures", failures).text("fetch.breaker_rest", "1h")
}

/// Has one target after the other fail, each with this status to the client.
#[track_caller]
fn fail(gateway: &Gateway, origin: &Origin, reply: &Reply, count: usize, status: u16) {
    for number in 0..count {
        let path = format!("/pub/{status}-{number}.tar.gz");
        origin.serve(&path, reply.clone());
        gateway.get(&origin.url(&path)).send().assert_problem(status);
    }
}

#[track_caller]
fn retry_after(answer: &Answer) -> u64 {
    answer.wants("retry-after").parse().expect("it is a number of seconds")
}

#[test]
fn a_host_that_keeps_failing_is_asked_no_more_and_its_clients_are_told_at_once() {
    for (reply, status) in [(Reply::status(503), 502), (Reply::status(200).stop_before_head(Stop::Cut), 504)] {
        let origin = Origin::start();
        origin.serve(GOOD, Reply::file(&archive(1, 5000)));
        let gateway = breaking(&origin, "3").start();
        fail(&gateway, &origin, &reply, 3, status);
        let asked = origin.total();
        let answer = gateway.get(&origin.url(GOOD)).send();
        answer.assert_problem(status);
        assert!((3000..=3600).contains(&retry_after(&answer)), "{answer:?}");
        assert_eq!(gateway.await_fetch(&origin.url(GOOD))["attempts"], 0);
        assert_eq!(origin.total(), asked, "nobody asks a host that rests");
        gateway.assert_nothing_stored();
    }
}

#[test]
fn files_that_are_cut_say_nothing_of_the_host_that_answers() {
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
fn a_host_whose_certificate_is_not_trusted_is_left_alone_too() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = Origin::start_tls(&stranger);
    let gateway = breaking(&origin, "1").authority(&authority).start();
    gateway.get(&origin.url("/a-1.0.tar.gz")).send().assert_problem(502);
    let connections = origin.connections();
    let answer = gateway.get(&origin.url("/b-1.0.tar.gz")).send();
    answer.assert_problem(502);
    assert!(retry_after(&answer) > 0);
    assert_eq!(origin.connections(), connections);
}

#[test]
fn another_port_is_another_host() {
    let (origin, other) = (Origin::start(), Origin::start());
    let body = archive(2, 5000);
    other.serve(GOOD, Reply::file(&body));
    let gateway = breaking(&origin, "1").origin(&other).start();
    fail(&gateway, &origin, &Reply::status(500), 1, 502);
    gateway.assert_serves(&other.url(GOOD), &body);
}

#[test]
fn circuit_of_one_scheme_leaves_others_closed() {
    for scheme in ["https", "ftp"] {
        let origin = Origin::start();
        let body = archive(7, 5000);
        origin.serve(GOOD, Reply::file(&body));
        let gateway = breaking(&origin, "1").text("fetch.idle_timeout", "1s").start();
        let other = |path: &str| origin.url(path).replacen("http", scheme, 1);
        assert!(gateway.get(&other("/a-1.0.tar.gz")).send().status >= 500, "{scheme} is not spoken there");
        let answer = gateway.get(&other("/b-1.0.tar.gz")).send();
        assert!(retry_after(&answer) > 60, "the circuit of {scheme} is open: {answer:?}");
        gateway.assert_serves(&origin.url(GOOD), &body);
    }
}

#[test]
fn one_fetch_finds_out_whether_the_host_is_back_and_the_others_wait() {
    let origin = Origin::start();
    let (body, gate) = (archive(3, 50_000), Gate::new());
    origin.serve(GOOD, Reply::file(&body).gate_before_head(&gate));
    origin.serve("/other-1.0.tar.gz", Reply::file(&body));
    let gateway = breaking(&origin, "1").text("fetch.breaker_rest", "1ms").start();
    fail(&gateway, &origin, &Reply::status(500), 1, 502);
    let probe = eventually("the rest is over", || {
        let probe = gateway.get(&origin.url(GOOD)).start();
        (origin.count(GOOD) > 0).then_some(probe)
    });
    gate.await_reached(1);
    let other = gateway.get(&origin.url("/other-1.0.tar.gz")).send();
    other.assert_problem(502);
    assert!(retry_after(&other) <= 60);
    assert_eq!(origin.count("/other-1.0.tar.gz"), 0, "one asks for all");
    gate.open();
    probe.head().finish().assert_body(200, &body);
    gateway.assert_serves(&origin.url("/other-1.0.tar.gz"), &body);
}

#[test]
fn the_body_of_a_probe_keeps_nobody_waiting() {
    let origin = Origin::start();
    let (body, gate) = (archive(4, 50_000), Gate::new());
    origin.serve(GOOD, Reply::file(&body).gate_at(20_000, &gate));
    origin.serve("/other-1.0.tar.gz", Reply::file(&body));
    let gateway = breaking(&origin, "1").text("fetch.breaker_rest", "1ms").start();
    fail(&gateway, &origin, &Reply::status(500), 1, 502);
    let mut probe = eventually("the rest is over", || {
        Some(gateway.get(&origin.url(GOOD)).open()).filter(|probe| probe.head.status == 200)
    });
    probe.read(10_000);
    gateway.assert_serves(&origin.url("/other-1.0.tar.gz"), &body);
    gate.open();
    gateway.await_stored(&origin.url(GOOD));
}

#[test]
fn what_is_no_fault_of_the_host_is_not_counted() {
    let (origin, elsewhere) = (Origin::start(), Origin::start());
    let body = archive(5, 5000);
    origin.serve(GOOD, Reply::file(&body));
    elsewhere.serve("/x", Reply::status(503));
    let gateway = breaking(&origin, "1").origin(&elsewhere).start();
    fail(&gateway, &origin, &Reply::status(404), 2, 404);
    fail(&gateway, &origin, &Reply::html(), 2, 502);
    fail(&gateway, &origin, &Reply::redirect(302, &elsewhere.url("/x")), 2, 502);
    gateway.assert_serves(&origin.url(GOOD), &body);
}

#[test]
fn one_good_answer_and_the_count_begins_again() {
    let origin = Origin::start();
    let body = archive(6, 5000);
    for path in [GOOD, "/second-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    let gateway = breaking(&origin, "3").start();
    fail(&gateway, &origin, &Reply::status(500), 2, 502);
    gateway.assert_serves(&origin.url(GOOD), &body);
    gateway.await_stored(&origin.url(GOOD));
    fail(&gateway, &origin, &Reply::status(200).stop_before_head(Stop::Cut), 2, 504);
    gateway.assert_serves(&origin.url("/second-1.0.tar.gz"), &body);
}

#[test]
fn nobody_is_sent_to_a_host_that_is_left_alone() {
    let origin = Origin::start();
    let gateway = breaking(&origin, "1").text("gateway.miss", "redirect").start();
    let url = origin.url("/pub/x-1.0.tar.gz");
    origin.serve("/pub/x-1.0.tar.gz", Reply::status(500));
    gateway.get(&url).wget_agent().send().assert_status(302);
    gateway.await_fetch(&url);
    let answer = gateway.get(&origin.url(GOOD)).wget_agent().send();
    answer.assert_problem(502);
    assert_eq!(origin.count(GOOD), 0);
}

#[test]
fn a_fetch_that_has_begun_goes_on_whatever_becomes_of_the_host() {
    let origin = Origin::start();
    let body = archive(7, 300_000);
    let file = Reply::file(&body);
    origin.script(GOOD, vec![file.clone().cut_at(100_000), Reply::status(503), file]);
    let gateway = breaking(&origin, "1").set("fetch.attempts", "4").start();
    gateway.assert_serves(&origin.url(GOOD), &body);
    assert_eq!(gateway.await_stored(&origin.url(GOOD))["attempts"], 3);
    // Its end has closed the circuit.
    origin.serve("/next-1.0.tar.gz", Reply::file(&body));
    gateway.assert_serves(&origin.url("/next-1.0.tar.gz"), &body);
}

#[test]
fn what_is_stored_is_served_while_its_host_is_left_alone() {
    let origin = Origin::start();
    let body = archive(8, 5000);
    origin.serve(GOOD, Reply::file(&body));
    let gateway = breaking(&origin, "1").start();
    gateway.assert_serves(&origin.url(GOOD), &body);
    gateway.await_stored(&origin.url(GOOD));
    fail(&gateway, &origin, &Reply::status(500), 1, 502);
    gateway.assert_serves(&origin.url(GOOD), &body).assert_cache(&["hit"]);
    gateway.get(&origin.url("/not-stored-1.0.tar.gz")).send().assert_problem(502);
}

#[test]
fn without_a_number_of_failures_no_host_is_left_alone() {
    let origin = Origin::start();
    let body = archive(9, 5000);
    origin.serve(GOOD, Reply::file(&body));
    let gateway = breaking(&origin, "0").start();
    fail(&gateway, &origin, &Reply::status(500), 12, 502);
    gateway.assert_serves(&origin.url(GOOD), &body);
}
