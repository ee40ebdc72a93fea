//! Plain HTTP inside a CONNECT: the same request path as at the proxy port.

use std::io::Read;
use std::net::SocketAddr;

use crate::harness::{
    Builder, Gateway, Nginx, Origin, Reply, Streaming, Waiting, archive, assert_same,
    is_request_of, listen,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const PAGE: &str = "/latest/list.bin";

/// Allows http at the port of the origin, and no tunnel to it.
fn only_http(origin: &Origin) -> Builder {
    both(origin).set("policy.connect_ports", "[443]")
}

/// Allows http at the port of the origin, and tunnels to it.
fn both(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).one_attempt()
}

/// Sends the head of a CONNECT with these fields, and `early` in the same write.
#[track_caller]
fn connect(proxy: SocketAddr, authority: &str, fields: &str, early: &[u8]) -> Streaming {
    let head = format!("CONNECT {authority} HTTP/1.1\r\n{fields}\r\n");
    let bytes = [head.as_bytes(), early].concat();
    Waiting::send(proxy, &bytes, false).head()
}

/// Opens a CONNECT and sends `inside` through it.
#[track_caller]
fn ask_inside(proxy: SocketAddr, authority: &str, inside: &str) -> Streaming {
    let accepted = connect(proxy, authority, &format!("Host: {authority}\r\n"), b"");
    assert_eq!(accepted.head.status, 200, "{:?}", accepted.head);
    let (socket, early) = accepted.into_socket();
    assert!(early.is_empty(), "no bytes arrive before the request");
    Waiting::send_on(socket, inside.as_bytes(), inside.starts_with("HEAD")).head()
}

fn request(method: &str, path: &str, authority: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n")
}

#[test]
fn http_inside_connect_is_stored_and_served() {
    for configure in [only_http, both] {
        let origin = Origin::start();
        let body = archive(1, 150_000);
        origin.serve(PATH, Reply::file(&body));
        origin.serve(PAGE, Reply::ok(&b"page\n".to_vec().into()));
        let gateway = configure(&origin).start();
        let (proxy, authority) = (gateway.proxy_addr(), origin.address().to_string());
        let miss = ask_inside(proxy, &authority, &request("GET", PATH, &authority, ""));
        miss.head.assert_cache(&["fwd=uri-miss", "stored"]);
        let (mut streaming, found) = miss.finish_open();
        assert_same(&found, &body);
        gateway.await_stored(&origin.url(PATH));
        // The connection stays open for more requests.
        for (method, fields, status, wanted) in [
            ("GET", "", 200, &body[..]),
            ("HEAD", "", 200, &b""[..]),
            ("GET", "Range: bytes=10-19\r\n", 206, &body[10..20]),
            ("GET", "If-None-Match: *\r\n", 304, &b""[..]),
        ] {
            let inside = request(method, PATH, &authority, fields);
            let (socket, _) = streaming.into_socket();
            let answer = Waiting::send_on(socket, inside.as_bytes(), method == "HEAD").head();
            assert_eq!(answer.head.status, status, "{method} {fields}");
            answer.head.assert_cache(&["hit"]);
            let (open, found) = answer.finish_open();
            assert_same(&found, wanted);
            streaming = open;
        }
        // Every port and form means the same target.
        gateway
            .assert_serves(&origin.url(PATH), &body)
            .assert_cache(&["hit"]);
        let page = ask_inside(
            proxy,
            &authority,
            &request("GET", PAGE, &authority, "Connection: close\r\n"),
        );
        page.finish().assert_body(200, b"page\n");
        assert_eq!(origin.count(PATH), 1);
        let event = gateway
            .log()
            .wait_for("the request", |event| is_request_of(event, PAGE));
        assert_eq!(
            (event["endpoint"].as_str(), event["uri"].as_str()),
            (Some("proxy"), Some(origin.url(PAGE).as_str()))
        );
    }
}

#[test]
fn request_sent_with_connect_head_is_kept() {
    let origin = Origin::start();
    let body = archive(2, 30_000);
    origin.serve(PATH, Reply::file(&body));
    for configure in [only_http, both] {
        let gateway = configure(&origin).start();
        let authority = origin.address().to_string();
        // Some clients send no Host with a CONNECT.
        for fields in [
            format!("Host: {authority}\r\n"),
            String::new(),
            "Proxy-Connection: keep-alive\r\n".to_owned(),
            "User-Agent: lftp/4.9\r\n".to_owned(),
        ] {
            let inside = request("GET", PATH, &authority, "Connection: close\r\n");
            let accepted = connect(gateway.proxy_addr(), &authority, &fields, inside.as_bytes());
            assert_eq!(accepted.head.status, 200, "{fields:?}");
            let (mut socket, mut bytes) = accepted.into_socket();
            socket
                .read_to_end(&mut bytes)
                .expect("the gateway answers, and closes");
            assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), "{fields:?}");
            assert!(bytes.ends_with(&body), "{fields:?}");
        }
        gateway.await_stored(&origin.url(PATH));
    }
}

#[test]
fn connect_without_host_opens_tunnel() {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    let gateway = Gateway::builder().port(address.port()).start();
    for fields in [
        "",
        "Proxy-Connection: close\r\n",
        "X-Other: 1\r\nUpgrade: h2c\r\n",
    ] {
        let accepted = connect(
            gateway.proxy_addr(),
            &address.to_string(),
            fields,
            b"\x16\x03\x01hello",
        );
        assert_eq!(accepted.head.status, 200, "{fields:?}");
        let (mut server, _) = listener.accept().expect("the gateway has connected");
        drop(accepted);
        let mut received = Vec::new();
        server
            .read_to_end(&mut received)
            .expect("the client ends cleanly");
        assert_eq!(received, b"\x16\x03\x01hello");
    }
    for (line, status) in [
        ("GET http://127.0.0.1/x HTTP/1.1", 400),
        ("CONNECT 127.0.0.1 HTTP/1.1", 400),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", 403),
    ] {
        let bytes = format!("{line}\r\nConnection: close\r\n\r\n");
        let answer = Waiting::send(gateway.proxy_addr(), bytes.as_bytes(), false).head();
        assert!(answer.head.header("date").is_some(), "{:?}", answer.head);
        answer.finish().assert_problem(status);
    }
}

#[test]
fn policy_applies_inside_connect() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(3, 2000)));
    let gateway = only_http(&origin).start();
    let authority = origin.address().to_string();
    let other = format!("127.0.0.2:{}", origin.port());
    for (inside, status) in [
        (request("GET", "/x.mp3", &authority, ""), 403),
        (request("GET", PATH, &other, ""), 421),
        (request("TRACE", PATH, &authority, ""), 405),
        (request("GET", "/a/%2e%2e/x", &authority, ""), 400),
        (request("CONNECT", &authority, &authority, ""), 400),
        ("GET /x HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /x\r\n\r\n".to_owned(), 400),
    ] {
        let answer = ask_inside(gateway.proxy_addr(), &authority, &inside).finish_open();
        assert_eq!(answer.0.head.status, status, "{inside:?}");
    }
    let denying = only_http(&origin)
        .set("policy.deny_hosts", "[\"127.0.0.1\"]")
        .start();
    let refused = connect(denying.proxy_addr(), &authority, "", b"").finish();
    refused.assert_problem(403);
    assert!(refused.text().contains("deny_hosts"), "{}", refused.text());
    assert_eq!(origin.total(), 0);
}

#[test]
fn tls_to_an_http_port_gets_an_alert() {
    let origin = Origin::start();
    let gateway = only_http(&origin).start();
    let authority = origin.address().to_string();
    for early in [&b"\x16\x03\x01\x02\x00\x01"[..], b""] {
        let accepted = connect(gateway.proxy_addr(), &authority, "", early);
        assert_eq!(accepted.head.status, 200);
        let (socket, mut bytes) = accepted.into_socket();
        let mut socket = socket;
        if early.is_empty() {
            std::io::Write::write_all(&mut socket, b"\x16\x03\x01\x02\x00\x01")
                .expect("the connection is open");
        }
        // A reset may follow the alert.
        drop(socket.read_to_end(&mut bytes));
        assert_eq!(bytes, [0x15, 3, 1, 0, 2, 2, 49]);
    }
    let event = gateway.log().wait_for("the refusal", |event| {
        event["message"] == "request" && event["status"] == 403
    });
    assert!(
        event["error"]
            .as_str()
            .is_some_and(|error| error.contains("connect_ports")),
        "{event}"
    );
    assert_eq!(origin.connections(), 0);
}

#[test]
fn http_inside_connect_works_through_nginx() {
    let origin = Origin::start();
    let body = archive(4, 50_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = only_http(&origin).behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    let authority = origin.address().to_string();
    for _ in 0..2 {
        let inside = request("GET", PATH, &authority, "Connection: close\r\n");
        ask_inside(nginx.proxy_addr(), &authority, &inside)
            .finish()
            .assert_body(200, &body);
        gateway.await_stored(&origin.url(PATH));
    }
    assert_eq!(origin.count(PATH), 1);
}
