//! Tests of in-flight fetches with many clients, each at its own position and speed.

use crate::harness::{Ended, Gate, Reply, Scene, Tool, archive, assert_same, files_under};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn body_is_streamed_while_origin_still_sends() {
    let gate = Gate::new();
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(1, 100_000))
        .reply(|file| file.gate_at(4000, &gate))
        .start();
    let mut answer = gateway.get(&url).open();
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.wants("content-length"), "100000");
    assert_same(&answer.read(4000), &body[..4000]);
    gate.open();
    answer.finish().assert_body(200, &body[4000..]);
}

#[test]
fn archive_type_is_checked_before_sending_head() {
    let (early, late) = (Gate::new(), Gate::new());
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(2, 100_000))
        .reply(|file| file.gate_at(511, &early).gate_at(512, &late))
        .start();
    let waiting = gateway.get(&url).start();
    early.await_reached(1);
    assert!(
        !waiting.has_answer(),
        "511 bytes are too few to check the file type of an archive"
    );
    early.open();
    let mut answer = waiting.head();
    assert_same(&answer.read(512), &body[..512]);
    late.open();
    assert_same(&answer.finish().body, &body[512..]);
}

#[test]
fn collapsed_request_starts_at_byte_zero() {
    let gate = Gate::new();
    let (origin, gateway, body, url) = Scene::of(PATH, archive(3, 400_000))
        .reply(|file| file.gate_at(300_000, &gate))
        .start();
    let mut first = gateway.get(&url).open();
    assert_same(&first.read(300_000), &body[..300_000]);
    let mut late = gateway.get(&url).open();
    late.head.assert_cache(&["fwd=uri-miss", "collapsed"]);
    assert_same(&late.read(300_000), &body[..300_000]);
    let mut proxied = gateway.proxied("GET", &url).open();
    assert_same(&proxied.read(300_000), &body[..300_000]);
    gate.open();
    for answer in [first, late, proxied] {
        assert_same(&answer.finish().body, &body[300_000..]);
    }
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn client_disconnect_keeps_fetch_running() {
    let gate = Gate::new();
    let (origin, gateway, body, url) = Scene::of(PATH, archive(4, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .start();
    let mut first = gateway.get(&url).open();
    let mut second = gateway.get(&url).open();
    first.read(1);
    drop(first);
    assert_same(&second.read(100_000), &body[..100_000]);
    gate.open();
    assert_same(&second.finish().body, &body[100_000..]);
    gateway.await_stored(&url);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn last_client_disconnect_keeps_fetch_running() {
    let gate = Gate::new();
    let (origin, gateway, body, url) = Scene::of(PATH, archive(5, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .start();
    let mut only = gateway.get(&url).open();
    only.read(1000);
    drop(only);
    // The request log shows that Millpond has noticed the client's disconnect.
    gateway
        .log()
        .wait_for("the request of the disconnected client", |event| {
            event["message"] == "request" && event["completion"] == "aborted"
        });
    gate.open();
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn reset_is_noticed_while_origin_pauses() {
    let (first, second) = (Gate::new(), Gate::new());
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(5, 3000))
        .reply(|file| file.gate_at(1000, &first).gate_at(2000, &second))
        .start();
    let mut client = gateway.get(&url).open();
    assert_same(&client.read(1000), &body[..1000]);
    // Nothing is unread, so that the gateway sees a half-closed connection at first. The bytes that
    // it sends next are answered with a reset.
    drop(client);
    first.open();
    second.await_reached(1);
    gateway
        .log()
        .wait_for("the request of the disconnected client", |event| {
            event["message"] == "request" && event["completion"] == "aborted"
        });
    second.open();
    gateway.assert_serves(&url, &body);
}

#[test]
fn client_disconnect_before_head_keeps_fetch_running() {
    let gate = Gate::new();
    let (origin, gateway, body, url) = Scene::of(PATH, archive(6, 50_000))
        .reply(|file| file.gate_before_head(&gate))
        .start();
    let waiting = gateway.get(&url).start();
    gate.await_reached(1);
    drop(waiting);
    gate.open();
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn slow_client_does_not_slow_the_others() {
    // This body is larger than the socket buffers between gateway and client.
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(7, 24 << 20));
    let mut slow = gateway.get(&url).open();
    assert_same(&slow.read(1), &body[..1]);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    assert_same(&slow.finish().body, &body[1..]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn range_miss_fetches_and_stores_whole_object() {
    let gate = Gate::new();
    let (origin, gateway, body, url) = Scene::of(PATH, archive(8, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .start();
    // The range lies in the part already fetched, so it does not wait for the rest.
    let part = gateway.get(&url).range("bytes=1000-1999").send();
    part.assert_body(206, &body[1000..2000]);
    assert_eq!(part.wants("content-range"), "bytes 1000-1999/200000");
    assert_eq!(part.wants("content-length"), "1000");
    let ahead = gateway.get(&url).range("bytes=150000-150999").start();
    let open = gateway.get(&url).range("bytes=199000-").start();
    let suffix = gateway.get(&url).range("bytes=-10").start();
    gate.open();
    ahead
        .head()
        .finish()
        .assert_body(206, &body[150_000..151_000]);
    open.head().finish().assert_body(206, &body[199_000..]);
    suffix.head().finish().assert_body(206, &body[199_990..]);
    gateway.await_stored(&url);
    assert_eq!(
        origin.request(PATH).header("range"),
        None,
        "the whole object is fetched"
    );
    gateway.assert_serves(&url, &body);
}

#[test]
fn range_miss_beyond_the_end_is_416() {
    let (origin, gateway, body, _) = Scene::relaying(PATH, archive(9, 20_000));
    origin.serve("/y-1.0.tar.gz", Reply::file(&body).chunked());
    for path in [PATH, "/y-1.0.tar.gz"] {
        let answer = gateway.get(&origin.url(path)).range("bytes=20000-").send();
        answer.assert_status(416);
        assert_eq!(answer.wants("content-range"), "bytes */20000");
        gateway.await_stored(&origin.url(path));
    }
}

#[test]
fn suffix_range_works_for_unknown_length() {
    let gate = Gate::new();
    let (origin, gateway, body, url) = Scene::of(PATH, archive(10, 60_000))
        .reply(|file| file.chunked().gate_at(30_000, &gate))
        .start();
    let suffix = gateway.get(&url).range("bytes=-100").start();
    let open = gateway.get(&url).range("bytes=59000-").start();
    gate.await_reached(1);
    gate.open();
    suffix.head().finish().assert_body(206, &body[59_900..]);
    open.head().finish().assert_body(206, &body[59_000..]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn aria2c_with_four_connections_gets_the_file() {
    let gate = Gate::new();
    let (origin, gateway, body, _) = Scene::of(PATH, archive(11, 6 << 20))
        .reply(|file| file.gate_at(1 << 20, &gate))
        .start();
    let folder = tempfile::tempdir().expect("a folder can be created");
    let url = gateway.rewritten(&origin.url(PATH));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            Tool::aria2c(folder.path())
                .args(&["-x4", "-s4", "-k1M", "-o", "x-7.0.tar.gz"])
                .arg(&url)
                .run()
        });
        gate.await_reached(1);
        gate.open();
        run.join().expect("aria2c runs").assert_success();
    });
    assert_same(
        &std::fs::read(folder.path().join("x-7.0.tar.gz")).expect("the file exists"),
        &body,
    );
    assert_eq!(
        files_under(folder.path()).len(),
        1,
        "aria2c has left no control file"
    );
    let parts = gateway
        .log()
        .events()
        .iter()
        .filter(|event| event["status"] == 206)
        .count();
    assert!(parts >= 1, "aria2c asked for parts");
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn http10_client_waits_for_body_of_unknown_length() {
    let gate = Gate::new();
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(12, 60_000))
        .reply(|file| file.chunked().gate_at(30_000, &gate))
        .start();
    let waiting = gateway.get(&url).http_1_0().start();
    let mut modern = gateway.get(&url).open();
    assert_same(&modern.read(30_000), &body[..30_000]);
    assert!(
        !waiting.has_answer(),
        "without chunks a client cannot detect a cut"
    );
    gate.open();
    let answer = waiting.head().finish();
    assert_eq!(answer.wants("content-length"), "60000");
    answer.assert_body(200, &body);
    assert_same(&modern.finish().body, &body[30_000..]);
}

#[test]
fn head_request_is_answered_from_running_fetch() {
    let gate = Gate::new();
    let (_origin, gateway, _, url) = Scene::of(PATH, archive(13, 60_000))
        .reply(|file| file.gate_at(30_000, &gate))
        .start();
    let mut first = gateway.get(&url).open();
    first.read(30_000);
    let head = gateway.request("HEAD", &format!("/{url}")).send();
    head.assert_body(200, b"");
    assert_eq!(head.wants("content-length"), "60000");
    gate.open();
    assert_eq!(first.finish().ended, Ended::Whole);
}
