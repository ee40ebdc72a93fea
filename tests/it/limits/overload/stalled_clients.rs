//! Stalled, slow and half-closed clients. They hold no resource for longer than a timeout.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{crowded, store};
use crate::harness::{
    DEADLINE, Gate, Gateway, Kept, Origin, Reply, archive, eventually, is_request_of,
};

#[test]
fn stalled_client_is_dropped_and_slow_is_not() {
    let origin = Origin::start();
    let body = archive(6, 48 << 20);
    let gateway = crowded(&origin).text("gateway.stall_timeout", "1s").start();
    store(&gateway, &origin, "/x-1.0.tar.gz", &body);
    let url = origin.url("/x-1.0.tar.gz");
    let mut slow = gateway.get(&url).open();
    let dead = gateway.get(&url).open();
    let began = Instant::now();
    let mut read = Vec::new();
    while began.elapsed() < Duration::from_secs(4) {
        read.extend(slow.read(300_000));
        thread::sleep(Duration::from_millis(250));
    }
    let cut = gateway
        .log()
        .wait_for("the end of the stalled download", |event| {
            is_request_of(event, &url) && event["completion"] == "aborted"
        });
    assert_eq!(cut["status"], 200);
    dead.finish().assert_broken();
    let mut answer = slow.finish();
    answer.body.splice(0..0, read);
    answer.assert_body(200, &body);
}

#[test]
fn stalled_upload_is_aborted() {
    let gateway = Gateway::builder()
        .text("gateway.stall_timeout", "1s")
        .start();
    let upload = gateway
        .operate(
            "PUT",
            "/api/v1/objects?url=https%3A%2F%2Fexample.org%2Fx-1.0.tar.gz",
        )
        .header("Content-Length", "1000000");
    let stalled = upload.start();
    let put = gateway.log().wait_for("the end of the upload", |event| {
        event["message"] == "request" && event["method"] == "PUT"
    });
    assert_ne!(put["status"], 201, "{put}");
    drop(stalled);
    gateway.assert_nothing_stored();
}

#[test]
fn later_request_head_has_timeout() {
    let gateway = Gateway::builder().start();
    let mut kept = Kept::connect(gateway.addr()).expect("the gateway takes the connection");
    assert_eq!(
        kept.ask("/healthz").expect("the gateway answers"),
        (200, true)
    );
    let began = Instant::now();
    kept.send(b"GET /healthz HTTP/1.1\r\nX: ")
        .expect("the gateway accepts data");
    while kept.send(b"x").is_ok() {
        assert!(
            began.elapsed() < DEADLINE,
            "the request head has no timeout"
        );
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(gateway.request("GET", "/healthz").send().status, 200);
}

#[test]
fn disconnected_waiting_client_frees_its_permit() {
    let origin = Origin::start();
    let body = archive(7, 100_000);
    let gate = Gate::new();
    origin.serve(
        "/slow-1.0.tar.gz",
        Reply::file(&body).gate_before_head(&gate),
    );
    let gateway = crowded(&origin).start();
    let url = origin.url("/slow-1.0.tar.gz");
    let waiting = gateway.get(&url).start();
    eventually("the origin gets the request", || {
        (origin.count("/slow-1.0.tar.gz") == 1).then_some(())
    });
    drop(waiting);
    let left = gateway
        .log()
        .wait_for("the request of the disconnected client", |event| {
            is_request_of(event, &url)
        });
    assert_eq!(
        (&left["status"], &left["completion"]),
        (&499.into(), &"aborted".into())
    );
    gate.open();
    gateway.await_stored(&url);
}

#[test]
fn half_closed_client_gets_response() {
    let origin = Origin::start();
    let body = archive(8, 2 << 20);
    let gate = Gate::new();
    origin.serve("/x-1.0.tar.gz", Reply::file(&body).gate_at(1 << 20, &gate));
    let gateway = crowded(&origin).start();
    let mut client = TcpStream::connect(gateway.addr()).expect("the gateway takes the connection");
    client
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    let head = format!(
        "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n",
        origin.url("/x-1.0.tar.gz")
    );
    client
        .write_all(head.as_bytes())
        .expect("the gateway accepts the head");
    client
        .shutdown(Shutdown::Write)
        .expect("one direction can be closed");
    eventually("the origin gets the request", || {
        (origin.count("/x-1.0.tar.gz") == 1).then_some(())
    });
    gate.open();
    let mut answer = Vec::new();
    client
        .read_to_end(&mut answer)
        .expect("the gateway responds and closes");
    assert!(
        answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(&body),
        "{} bytes",
        answer.len()
    );
}
