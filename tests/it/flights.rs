//! Flights: many clients of one fetch, each at its own place and speed.

use crate::harness::{Ended, Gate, Gateway, Origin, Reply, Tool, archive, assert_same, files_under};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn the_first_byte_comes_before_the_origin_has_sent_the_rest() {
    let origin = Origin::start();
    let body = archive(1, 100_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(4000, &gate));
    let gateway = Gateway::relaying(&origin);
    let mut answer = gateway.get(&origin.url(PATH)).open();
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.wants("content-length"), "100000");
    assert_same(&answer.read(4000), &body[..4000]);
    gate.open();
    answer.finish().assert_body(200, &body[4000..]);
}

#[test]
fn an_archive_is_looked_at_before_its_head_is_sent() {
    let origin = Origin::start();
    let body = archive(2, 100_000);
    let (early, late) = (Gate::new(), Gate::new());
    origin.serve(PATH, Reply::file(&body).gate_at(511, &early).gate_at(512, &late));
    let gateway = Gateway::relaying(&origin);
    let waiting = gateway.get(&origin.url(PATH)).start();
    early.await_reached(1);
    assert!(!waiting.has_answer(), "511 bytes are not enough to judge an archive");
    early.open();
    let mut answer = waiting.head();
    assert_same(&answer.read(512), &body[..512]);
    late.open();
    assert_same(&answer.finish().body, &body[512..]);
}

#[test]
fn a_client_that_joins_late_starts_at_byte_0_at_once() {
    let origin = Origin::start();
    let body = archive(3, 400_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(300_000, &gate));
    let gateway = Gateway::relaying(&origin);
    let mut first = gateway.get(&origin.url(PATH)).open();
    assert_same(&first.read(300_000), &body[..300_000]);
    let mut late = gateway.get(&origin.url(PATH)).open();
    late.head.assert_cache(&["fwd=uri-miss", "collapsed"]);
    assert_same(&late.read(300_000), &body[..300_000]);
    let mut proxied = gateway.proxied("GET", &origin.url(PATH)).open();
    assert_same(&proxied.read(300_000), &body[..300_000]);
    gate.open();
    for answer in [first, late, proxied] {
        assert_same(&answer.finish().body, &body[300_000..]);
    }
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn a_client_that_leaves_does_not_stop_the_fetch() {
    let origin = Origin::start();
    let body = archive(4, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let gateway = Gateway::relaying(&origin);
    let mut leaver = gateway.get(&origin.url(PATH)).open();
    let mut stayer = gateway.get(&origin.url(PATH)).open();
    leaver.read(1);
    drop(leaver);
    assert_same(&stayer.read(100_000), &body[..100_000]);
    gate.open();
    assert_same(&stayer.finish().body, &body[100_000..]);
    gateway.await_stored(&origin.url(PATH));
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn the_last_client_that_leaves_does_not_stop_the_fetch() {
    let origin = Origin::start();
    let body = archive(5, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let gateway = Gateway::relaying(&origin);
    let mut only = gateway.get(&origin.url(PATH)).open();
    only.read(1000);
    drop(only);
    // The log of the request tells that the gateway knows the client has gone.
    gateway.log().wait_for("the leaver", |event| event["message"] == "request" && event["ended"] == "cut");
    gate.open();
    gateway.await_stored(&origin.url(PATH));
    gateway.assert_serves(&origin.url(PATH), &body).assert_cache(&["hit"]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn a_client_that_leaves_before_the_head_does_not_stop_the_fetch() {
    let origin = Origin::start();
    let body = archive(6, 50_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_before_head(&gate));
    let gateway = Gateway::relaying(&origin);
    let waiting = gateway.get(&origin.url(PATH)).start();
    gate.await_reached(1);
    drop(waiting);
    gate.open();
    gateway.await_stored(&origin.url(PATH));
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn a_slow_client_does_not_slow_the_others() {
    let origin = Origin::start();
    // More than the sockets between gateway and client can hold.
    let body = archive(7, 24 << 20);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let mut slow = gateway.get(&origin.url(PATH)).open();
    assert_same(&slow.read(1), &body[..1]);
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    assert_same(&slow.finish().body, &body[1..]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn a_range_on_a_cold_object_stores_the_whole_and_answers_the_range() {
    let origin = Origin::start();
    let body = archive(8, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(PATH);
    // The range lies before the fill point: it does not wait for the rest.
    let part = gateway.get(&url).range("bytes=1000-1999").send();
    part.assert_body(206, &body[1000..2000]);
    assert_eq!(part.wants("content-range"), "bytes 1000-1999/200000");
    assert_eq!(part.wants("content-length"), "1000");
    let ahead = gateway.get(&url).range("bytes=150000-150999").start();
    let open = gateway.get(&url).range("bytes=199000-").start();
    let suffix = gateway.get(&url).range("bytes=-10").start();
    gate.open();
    ahead.head().finish().assert_body(206, &body[150_000..151_000]);
    open.head().finish().assert_body(206, &body[199_000..]);
    suffix.head().finish().assert_body(206, &body[199_990..]);
    gateway.await_stored(&url);
    assert_eq!(origin.request(PATH).header("range"), None, "the whole is fetched");
    gateway.assert_serves(&url, &body);
}

#[test]
fn a_range_behind_the_end_of_a_cold_object_is_416() {
    let origin = Origin::start();
    let body = archive(9, 20_000);
    origin.serve(PATH, Reply::file(&body));
    origin.serve("/y-1.0.tar.gz", Reply::file(&body).chunked());
    let gateway = Gateway::relaying(&origin);
    for path in [PATH, "/y-1.0.tar.gz"] {
        let answer = gateway.get(&origin.url(path)).range("bytes=20000-").send();
        answer.assert_status(416);
        assert_eq!(answer.wants("content-range"), "bytes */20000");
        gateway.await_stored(&origin.url(path));
    }
}

#[test]
fn a_suffix_of_a_cold_object_of_unknown_length_is_right() {
    let origin = Origin::start();
    let body = archive(10, 60_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).chunked().gate_at(30_000, &gate));
    let gateway = Gateway::relaying(&origin);
    let suffix = gateway.get(&origin.url(PATH)).range("bytes=-100").start();
    let open = gateway.get(&origin.url(PATH)).range("bytes=59000-").start();
    gate.await_reached(1);
    gate.open();
    suffix.head().finish().assert_body(206, &body[59_900..]);
    open.head().finish().assert_body(206, &body[59_000..]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn four_connections_ahead_of_the_fill_point_work() {
    let origin = Origin::start();
    let body = archive(11, 6 << 20);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(1 << 20, &gate));
    let gateway = Gateway::relaying(&origin);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = gateway.rewritten(&origin.url(PATH));
    std::thread::scope(|scope| {
        let run =
            scope.spawn(|| Tool::aria2c(folder.path()).args(&["-x4", "-s4", "-k1M", "-o", "x.tar.gz"]).arg(&url).run());
        gate.await_reached(1);
        gate.open();
        run.join().expect("aria2c is run").assert_success();
    });
    assert_same(&std::fs::read(folder.path().join("x.tar.gz")).expect("there is a file"), &body);
    assert_eq!(files_under(folder.path()).len(), 1, "aria2c is content with it");
    let parts = gateway.log().events().iter().filter(|event| event["status"] == 206).count();
    assert!(parts >= 1, "aria2c asked for parts");
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn a_client_of_http_1_0_gets_a_body_of_unknown_length_when_it_is_sealed() {
    let origin = Origin::start();
    let body = archive(12, 60_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).chunked().gate_at(30_000, &gate));
    let gateway = Gateway::relaying(&origin);
    let waiting = gateway.get(&origin.url(PATH)).http_1_0().start();
    let mut modern = gateway.get(&origin.url(PATH)).open();
    assert_same(&modern.read(30_000), &body[..30_000]);
    assert!(!waiting.has_answer(), "without chunks a cut would look like an end");
    gate.open();
    let answer = waiting.head().finish();
    assert_eq!(answer.wants("content-length"), "60000");
    answer.assert_body(200, &body);
    assert_same(&modern.finish().body, &body[30_000..]);
}

#[test]
fn a_head_during_the_fetch_is_answered_from_it() {
    let origin = Origin::start();
    let body = archive(13, 60_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(30_000, &gate));
    let gateway = Gateway::relaying(&origin);
    let mut first = gateway.get(&origin.url(PATH)).open();
    first.read(30_000);
    let head = gateway.request("HEAD", &format!("/{}", origin.url(PATH))).send();
    head.assert_body(200, b"");
    assert_eq!(head.wants("content-length"), "60000");
    gate.open();
    assert_eq!(first.finish().ended, Ended::Whole);
}
