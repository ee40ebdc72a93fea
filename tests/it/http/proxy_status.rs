//! `Proxy-Status` (RFC 9209) names the failure of an origin.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;

use crate::harness::{Authority, Builder, Gateway, Origin, Reply, archive, listen};

const PATH: &str = "/pub/x-1.0.tar.gz";
const PASSED: &str = "/pub/latest/list.bin";

/// A server that reads a request and then answers with these bytes.
fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                drop(client.read(&mut [0; 4096]));
                drop(client.write_all(bytes));
            });
        }
    });
    address
}

/// An address at which nothing listens.
fn closed() -> SocketAddr {
    let listener = listen("127.0.0.1");
    listener.local_addr().expect("a listener has an address")
}

#[track_caller]
fn assert_error(builder: Builder, port: u16, scheme: &str, error: &str) {
    let gateway = builder.port(port).relay().one_attempt().start();
    for path in [PATH, PASSED] {
        let target = format!("{scheme}://127.0.0.1:{port}{path}");
        for answer in [
            gateway.get(&target).send(),
            gateway.proxied("GET", &target).send(),
        ] {
            assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
            assert_eq!(
                answer.wants("proxy-status"),
                format!("mill-test; error={error}"),
                "{target}"
            );
        }
    }
}

#[test]
fn failures_of_origins_have_registered_names() {
    let http = || Gateway::builder();
    assert_error(http(), closed().port(), "http", "connection_refused");
    for (bytes, error) in [
        (&b""[..], "connection_terminated"),
        (b"220 ready\r\n", "http_protocol_error"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "http_response_transfer_coding",
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "http_upgrade_failed",
        ),
    ] {
        assert_error(http(), answering(bytes).port(), "http", error);
    }
}

#[test]
fn tls_failures_have_registered_names() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = Origin::start_tls(&authority);
    origin.serve(PATH, Reply::file(&archive(1, 2000)));
    let trusting = |authority: &Authority| Gateway::builder().authority(authority);
    assert_error(
        trusting(&other),
        origin.port(),
        "https",
        "tls_certificate_error",
    );
    for (bytes, error) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "tls_protocol_error",
        ),
        (&[0x15, 3, 3, 0, 2, 2, 40][..], "tls_alert_received"),
    ] {
        assert_error(
            trusting(&authority),
            answering(bytes).port(),
            "https",
            error,
        );
    }
    assert_error(
        trusting(&authority),
        closed().port(),
        "https",
        "connection_refused",
    );
}

#[test]
fn silent_origin_is_a_timeout() {
    let listener = listen("127.0.0.1");
    let port = listener
        .local_addr()
        .expect("a listener has an address")
        .port();
    let impatient = Gateway::builder().text("fetch.idle_timeout", "300ms");
    assert_error(impatient, port, "http", "http_response_timeout");
}

#[test]
fn tunnel_failures_have_registered_names() {
    let address = closed();
    let gateway = Gateway::builder().port(address.port()).start();
    for (authority, error) in [
        (address.to_string(), "connection_refused"),
        ("10.0.0.1:443".to_owned(), "http_request_denied"),
        (
            format!("10.0.0.1:{}", address.port()),
            "destination_ip_prohibited",
        ),
    ] {
        let answer = gateway.proxied("CONNECT", &authority).send();
        assert_eq!(
            answer.wants("proxy-status"),
            format!("mill-test; error={error}"),
            "{authority}"
        );
        assert!(answer.wants("date").ends_with("GMT"));
    }
}
