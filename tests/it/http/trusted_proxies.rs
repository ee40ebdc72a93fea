//! Trusted front servers: only these can name the client's address.

use crate::harness::{Gateway, Origin, Reply, Waiting, archive, is_request_of};
use crate::http::tunnel::{listener, tunnelling_to};

const PATH: &str = "/pub/x-1.0.tar.gz";
const TRUSTED: &str = "[\"127.0.0.1/32\"]";

fn origin() -> Origin {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(1, 2000)));
    origin
}

#[test]
fn trusted_proxy_names_client() {
    let origin = origin();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("gateway.trusted_proxies", TRUSTED);
    let gateway = builder
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    let status = |forwarded: &str| {
        gateway
            .get(&origin.url(PATH))
            .header("X-Forwarded-For", forwarded)
            .send()
            .status
    };
    assert_eq!(status("10.1.2.3"), 200);
    let event = gateway
        .log()
        .wait_for("the request", |event| is_request_of(event, PATH));
    assert_eq!(event["client"], "10.1.2.3");
    assert_eq!(
        status("198.51.100.1, 10.1.2.3"),
        200,
        "the last address was added by the trusted server"
    );
    assert_eq!(
        status("10.1.2.3, 127.0.0.1"),
        200,
        "trusted servers can form a chain"
    );
    assert_eq!(
        status("10.1.2.3, 198.51.100.1"),
        403,
        "earlier addresses are supplied by the client"
    );
    assert_eq!(
        status("::ffff:10.1.2.3"),
        200,
        "an IPv4-mapped address equals its IPv4 address"
    );
    assert_eq!(status("nobody"), 403);
    assert_eq!(status(""), 403);
    gateway.get(&origin.url(PATH)).send().assert_status(403);
}

#[test]
fn proxy_protocol_header_names_client() {
    let origin = origin();
    let (listener, address) = listener();
    let builder = tunnelling_to(address)
        .origin(&origin)
        .relay()
        .set("gateway.trusted_proxies", TRUSTED);
    let builder = builder.set("proxy.proxy_protocol", "true");
    let gateway = builder
        .set("policy.allow_clients", "[\"10.0.0.0/8\", \"fd00::/8\"]")
        .start();
    let get = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        origin.url(PATH)
    );
    let v1 = |source: &str, family: &str, target: &str| {
        format!("PROXY {family} {source} {target} 1234 3128\r\n").into_bytes()
    };
    let v2 =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x04\xd2\x0c\x38".to_vec();
    for (header, client) in [
        (v1("10.1.2.3", "TCP4", "127.0.0.1"), "10.1.2.3"),
        (v1("fd00::7", "TCP6", "::1"), "fd00::7"),
        (v2.clone(), "10.1.2.3"),
    ] {
        let answer = Waiting::send(
            gateway.proxy_addr(),
            &[&header, get.as_bytes()].concat(),
            false,
        )
        .head()
        .finish();
        answer.assert_status(200);
        let named =
            |event: &serde_json::Value| is_request_of(event, PATH) && event["client"] == client;
        gateway.log().wait_for("the request", named);
    }
    let denied = [&v1("198.51.100.1", "TCP4", "127.0.0.1"), get.as_bytes()].concat();
    Waiting::send(gateway.proxy_addr(), &denied, false)
        .head()
        .finish()
        .assert_status(403);
    let connect = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let tunnel = Waiting::send(
        gateway.proxy_addr(),
        &[&v2, connect.as_bytes()].concat(),
        false,
    )
    .head();
    assert_eq!(tunnel.head.status, 200);
    drop((
        tunnel,
        listener.accept().expect("the gateway has connected"),
    ));
    let event = gateway.log().wait_for("the tunnel", |event| {
        event["endpoint"] == "tunnel" && event["message"] == "request"
    });
    assert_eq!(event["client"], "10.1.2.3");
}

#[test]
fn invalid_proxy_protocol_header_closes_connection() {
    let origin = origin();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("gateway.trusted_proxies", TRUSTED);
    let gateway = builder.set("proxy.proxy_protocol", "true").start();
    let get = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        origin.url(PATH)
    );
    for header in [
        &b""[..],
        b"PROXY TCP4 10.1.2.3\r\n",
        b"PROXY TCP4 10.1.2.3 127.0.0.1 1234 99999\r\n",
        b"PROXY TCP4 unknown-host 127.0.0.1 1234 3128\r\n",
        b"PROXY TCP4 10.1.2.3 127.0.0.1 1234 3128\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x04\xd2\x0c\x38",
        &[b'P'; 4096],
    ] {
        let answer = Waiting::send(
            gateway.proxy_addr(),
            &[header, get.as_bytes()].concat(),
            false,
        )
        .head_if_any();
        assert!(answer.is_none(), "{answer:?} to {header:?}");
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn untrusted_proxy_protocol_header_closes_connection() {
    let origin = origin();
    let get = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        origin.url(PATH)
    );
    let header = b"PROXY TCP4 10.1.2.3 127.0.0.1 1234 3128\r\n";
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("proxy.proxy_protocol", "true");
    let strangers = builder
        .set("gateway.trusted_proxies", "[\"10.0.0.0/8\"]")
        .start();
    let answer = Waiting::send(
        strangers.proxy_addr(),
        &[header, get.as_bytes()].concat(),
        false,
    )
    .head_if_any();
    assert!(answer.is_none(), "{answer:?}");
    let unasked = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("gateway.trusted_proxies", TRUSTED)
        .start();
    for address in [unasked.addr(), unasked.proxy_addr()] {
        let answer =
            Waiting::send(address, &[header, get.as_bytes()].concat(), false).head_if_any();
        assert!(
            answer.is_none_or(|head| head.status == 400),
            "an unexpected PROXY header is refused"
        );
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn proxy_port_ignores_forwarded_client_address() {
    let origin = origin();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("gateway.trusted_proxies", TRUSTED);
    let gateway = builder
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    gateway
        .proxied("GET", &origin.url(PATH))
        .header("X-Forwarded-For", "10.1.2.3")
        .send()
        .assert_status(403);
    assert_eq!(origin.total(), 0);
}
