//! Several requests in one packet (RFC 9112, section 9.3.2): each answer is the one of its own
//! request.

mod bodies;
mod large_bodies;
mod setting;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use self::setting::{First, OTHER, PORTS, Port, Received, SLOW, SMUGGLED, Setting};
use crate::harness::{Builder, DEADLINE, Gateway, Origin, Reply, archive, assert_same};
use crate::http::tunnel::listener;

fn as_it_is(builder: Builder) -> Builder {
    builder
}

#[test]
fn get_and_head_keep_their_answers() {
    Setting::each(as_it_is, |setting| {
        let sent = [
            setting.get(SLOW),
            setting.head("HEAD", SLOW, ""),
            setting.last(),
        ]
        .concat();
        let mut received = setting.exchange(sent);
        received.take_ok("GET", &setting.slow);
        received.take_ok("HEAD", &setting.slow);
        received.take_ok("GET", &setting.other);
        received.assert_end();
    });
}

#[test]
fn head_and_get_keep_their_answers() {
    Setting::each(as_it_is, |setting| {
        let sent = [
            setting.head("HEAD", SLOW, ""),
            setting.get(SLOW),
            setting.last(),
        ]
        .concat();
        let mut received = setting.exchange(sent);
        received.take_ok("HEAD", &setting.slow);
        received.take_ok("GET", &setting.slow);
        received.take_ok("GET", &setting.other);
        received.assert_end();
    });
}

#[test]
fn requests_beyond_the_buffer_are_answered_in_order() {
    const PAIRS: usize = 200;
    Setting::each(as_it_is, |setting| {
        let pair = [setting.get(OTHER), setting.head("HEAD", SLOW, "")].concat();
        let mut received =
            setting.exchange([setting.get(SLOW), pair.repeat(PAIRS), setting.last()].concat());
        received.take_ok("GET", &setting.slow);
        for _ in 0..PAIRS {
            received.take_ok("GET", &setting.other);
            received.take_ok("HEAD", &setting.slow);
        }
        received.take_ok("GET", &setting.other);
        received.assert_end();
    });
}

#[test]
fn request_behind_close_is_not_answered() {
    Setting::each(as_it_is, |setting| {
        let close = setting.head("GET", SLOW, "Connection: close\r\n");
        let received = setting.exchange([close, setting.get(SMUGGLED)].concat());
        received.take_last_ok(&setting.slow);
        assert_eq!(setting.origin.count(SMUGGLED), 0);
    });
}

#[test]
fn close_of_second_request_leaves_first_whole() {
    Setting::each(as_it_is, |setting| {
        let mut received =
            setting.exchange([setting.get(SLOW), setting.last(), setting.get(SMUGGLED)].concat());
        let first = received.take("GET");
        assert!(!first.head.contains("connection: close"), "{}", first.head);
        assert_same(&first.body, &setting.slow);
        received.take_last_ok(&setting.other);
        assert_eq!(setting.origin.count(SMUGGLED), 0);
    });
}

#[test]
fn pipelined_http10_and_http11_keep_their_versions() {
    Setting::each(as_it_is, |setting| {
        let old = setting.get(OTHER).replace("HTTP/1.1", "HTTP/1.0");
        let mut received =
            setting.exchange([setting.get(SLOW), old, setting.get(SMUGGLED)].concat());
        let first = received.take("GET");
        assert!(first.head.starts_with("http/1.1 200 "), "{}", first.head);
        assert_same(&first.body, &setting.slow);
        let second = received.take("GET");
        assert!(second.head.starts_with("http/1.0 200 "), "{}", second.head);
        assert_same(&second.body, &setting.other);
        received.assert_end();
        assert_eq!(setting.origin.count(SMUGGLED), 0);
    });
}

#[test]
fn connect_behind_get_opens_its_tunnel() {
    let (listener, address) = listener();
    let configure = |builder: Builder| builder.port(address.port());
    Setting::each(configure, |setting| {
        let connect = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        // More than is held back, so that a part of it comes before the tunnel and a part after.
        let early = archive(3, 40_000);
        let sent = [setting.get(SLOW).as_bytes(), connect.as_bytes(), &early].concat();
        if setting.port == Port::Gateway {
            let mut received = setting.exchange(sent);
            received.take_ok("GET", &setting.slow);
            received.take_last("CONNECT", 421);
            return;
        }
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut server, _) = listener.accept().expect("the gateway connects");
                server
                    .set_read_timeout(Some(DEADLINE))
                    .expect("a timeout can be set");
                let mut heard = vec![0; early.len()];
                server
                    .read_exact(&mut heard)
                    .expect("the tunnel gives all of it");
                server.write_all(b"heard").expect("the tunnel takes it");
                heard
            });
            let mut received = setting.exchange(sent);
            received.take_ok("GET", &setting.slow);
            assert_eq!(received.take("CONNECT").status, 200);
            assert_eq!(received.0, b"heard");
            assert_same(&server.join().expect("no panic"), &early);
        });
    });
}

#[test]
fn upgrade_offers_are_ignored_in_order() {
    const OFFERS: [&str; 4] = [
        "Connection: upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: TLS/1.0, websocket\r\nConnection: keep-alive , UPGRADE\r\n",
        "Upgrade: WebSocket\r\n",
    ];
    Setting::each(as_it_is, |setting| {
        let offers = OFFERS.map(|offer| setting.head("GET", OTHER, offer));
        let sent = [setting.get(SLOW), offers.concat(), setting.last()].concat();
        let mut received = setting.exchange(sent);
        received.take_ok("GET", &setting.slow);
        for offer in OFFERS {
            let reception = received.take("GET");
            assert_eq!(reception.status, 200, "{offer}");
            assert_same(&reception.body, &setting.other);
            assert!(!reception.head.contains("upgrade"), "{}", reception.head);
        }
        received.take_ok("GET", &setting.other);
        received.assert_end();
        for asked in setting.origin.requests(OTHER) {
            for name in ["upgrade", "http2-settings"] {
                assert_eq!(asked.header(name), None, "{name}");
            }
        }
    });
}

#[test]
fn garbage_behind_get_is_refused_after_it() {
    Setting::each(as_it_is, |setting| {
        let mut received = setting.exchange(
            [
                setting.get(SLOW).as_bytes(),
                b"\x16\x03\x01 garbage\r\n\r\n",
            ]
            .concat(),
        );
        received.take_ok("GET", &setting.slow);
        received.take_last("GET", 400);
    });
}

#[test]
fn garbage_behind_head_is_refused_with_a_body() {
    Setting::each(as_it_is, |setting| {
        let sent = [
            setting.head("HEAD", SLOW, ""),
            "no request\r\n\r\n".to_owned(),
        ]
        .concat();
        let mut received = setting.exchange(sent);
        received.take_ok("HEAD", &setting.slow);
        assert_eq!(received.take("GET").status, 400);
        received.assert_end();
    });
}

#[test]
fn ambiguous_heads_are_refused_in_their_turn() {
    let heads = |target: &str| {
        let request = |fields: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        [
            request("").replace("\r\n", "\n"),
            request("").replacen("\r\n", "\n", 1),
            request("X: a\nY: b\r\n"),
            request("X: a\rY: b\r\n"),
            request("X: a\0\r\n"),
            request("X: a\r\n b\r\n"),
            request("X : a\r\n"),
            request(": a\r\n"),
            request("no colon\r\n"),
            request("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
            request("Content-Length: 0\r\nContent-Length: 0\r\n"),
            request("Content-Length: 0, 0\r\n"),
            request("Content-Length: +0\r\n"),
            request("Content-Length: 99999999999999999999\r\n"),
            request("Transfer-Encoding: gzip, chunked\r\n"),
            request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            request("Transfer-Encoding:\x0bchunked\r\n"),
        ]
    };
    let (origin, other) = (Origin::start(), archive(2, 3000));
    origin.serve(OTHER, Reply::file(&other));
    let gateway = Gateway::relaying(&origin);
    for port in PORTS {
        let target = |path: &str| port.target(&origin.url(path));
        let before = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target(OTHER));
        for head in heads(&target(SMUGGLED)) {
            for (before, count) in [("", 0), (&before, 1)] {
                let mut socket =
                    TcpStream::connect(port.address(&gateway)).expect("the gateway listens");
                socket
                    .set_read_timeout(Some(DEADLINE))
                    .expect("a timeout can be set");
                // Two more requests: the connection has to end before them.
                let sent = [
                    before,
                    &head,
                    &before.replace(OTHER, SMUGGLED),
                    &before.replace(OTHER, SMUGGLED),
                ]
                .concat();
                socket
                    .write_all(sent.as_bytes())
                    .expect("the gateway takes it");
                let mut bytes = Vec::new();
                socket
                    .read_to_end(&mut bytes)
                    .expect("the gateway answers, and closes");
                let mut received = Received(bytes);
                for _ in 0..count {
                    received.take_ok("GET", &other);
                }
                let text = received.take_last("GET", 400);
                assert_eq!(text.lines().count(), 1, "{head:?}: {text:?}");
            }
        }
    }
    assert_eq!(origin.count(SMUGGLED), 0);
    let refused = gateway
        .log()
        .wait_for("a refused request", |event| event["status"] == 400);
    assert_eq!(
        (&refused["message"], &refused["completion"]),
        (&"request".into(), &"complete".into()),
        "{refused}"
    );
}

#[test]
fn too_long_head_is_refused_in_order() {
    Setting::each(as_it_is, |setting| {
        // The HTTP library panics at such a name.
        let (value, name) = (
            format!("X: {}\r\n", "x".repeat(200_000)),
            format!("{}: x\r\n", "x".repeat(70_000)),
        );
        for field in [value, name] {
            let long = setting.head("GET", SMUGGLED, &field);
            let mut received =
                setting.exchange([setting.get(SLOW), long, setting.get(SMUGGLED)].concat());
            received.take_ok("GET", &setting.slow);
            received.take_last("GET", 431);
        }
        assert!(!setting.gateway.log().text().contains("panicked"));
        assert_eq!(setting.origin.count(SMUGGLED), 0);
    });
}

#[test]
fn client_that_closes_its_half_gets_all_answers() {
    Setting::each(as_it_is, |setting| {
        let mut socket = TcpStream::connect(setting.port.address(&setting.gateway))
            .expect("the gateway listens");
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        let sent = [
            setting.get(SLOW),
            setting.head("HEAD", SLOW, ""),
            setting.get(OTHER),
        ]
        .concat();
        socket
            .write_all(sent.as_bytes())
            .expect("the gateway takes it");
        socket
            .shutdown(Shutdown::Write)
            .expect("one direction can be closed");
        if setting.first == First::Miss {
            setting.gate.await_reached(1);
            setting.gate.open();
        }
        let mut bytes = Vec::new();
        socket
            .read_to_end(&mut bytes)
            .expect("the gateway answers, and closes");
        let mut received = Received(bytes);
        received.take_ok("GET", &setting.slow);
        received.take_ok("HEAD", &setting.slow);
        received.take_ok("GET", &setting.other);
        received.assert_end();
    });
}
