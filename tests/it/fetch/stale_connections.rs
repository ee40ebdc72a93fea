//! Origins that close a connection that they have kept alive when they are asked again on it:
//! Millpond asks once more, over a fresh connection (RFC 9112, section 9.3.1).

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::harness::{
    Authority, Body, Builder, Gate, Gateway, Origin, Reply, Stop, all_at_once, archive, listen,
    sha256,
};

const FETCHED: &str = "/pub/x-1.0.tar.gz";
const PASS_THROUGH: &str = "/pub/latest/list.bin";
const PRIMER: &str = "/pub/latest/primer.bin";

/// Requests until one uses a kept connection: one is the rule.
const MAX_TRIES: usize = 20;

/// One attempt, and one failure that opens the circuit: a replaced connection counts for neither.
fn gateway(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .set("fetch.breaker_failures", "1")
}

/// Leaves a connection to the origin that has served a request and is kept alive.
#[track_caller]
fn prime(gateway: &Gateway, origin: &Origin) {
    let body = archive(1, 100);
    origin.serve(PRIMER, Reply::ok(&body));
    gateway.assert_serves(&origin.url(PRIMER), &body);
}

/// Calls `send` with other paths until a request reaches the origin on a used connection. The
/// gateway puts a connection back into its pool only after the client has received the response, so
/// that a request may miss it.
fn on_used_connection<T>(origin: &Origin, path: &str, send: impl Fn(&str) -> T) -> (String, T) {
    retry(path, send, |path| came_on_used_connection(origin, path))
}

fn came_on_used_connection(origin: &Origin, target: &str) -> bool {
    origin.requests(target)[0].turn > 0
}

fn retry<T>(path: &str, send: impl Fn(&str) -> T, is_done: impl Fn(&str) -> bool) -> (String, T) {
    for number in 0..MAX_TRIES {
        let path = format!("/{number}{path}");
        let result = send(&path);
        if is_done(&path) {
            return (path, result);
        }
    }
    panic!("no request was sent on a used connection");
}

/// Closed in order, and by a reset.
fn stops() -> [Stop; 2] {
    [Stop::Cut, Stop::Reset]
}

#[test]
fn stale_connection_is_replaced_for_get() {
    for stop in stops() {
        let origin = Origin::start();
        let body = archive(2, 20_000);
        let gateway = gateway(&origin).start();
        for (number, path) in [FETCHED, PASS_THROUGH, FETCHED, PASS_THROUGH]
            .into_iter()
            .enumerate()
        {
            let (path, response) =
                on_used_connection(&origin, &format!("/{number}{path}"), |path| {
                    let url = origin.url(path);
                    origin.serve(path, Reply::file(&body).stop_on_reuse(stop.clone()));
                    prime(&gateway, &origin);
                    let request = if number < 2 {
                        gateway.get(&url)
                    } else {
                        gateway.proxied("GET", &url)
                    };
                    request.send()
                });
            response.assert_body(200, &body);
            assert_eq!(
                origin.count(&path),
                2,
                "{path} is asked for on the stale connection and on a fresh one"
            );
            if path.ends_with(FETCHED) {
                assert_eq!(gateway.await_stored(&origin.url(&path))["attempts"], 1);
            }
        }
    }
}

#[test]
fn stale_connection_is_replaced_for_idempotent_methods() {
    for stop in stops() {
        let origin = Origin::start();
        let gateway = gateway(&origin).start();
        for method in ["HEAD", "OPTIONS", "PUT", "DELETE"] {
            let (path, response) =
                on_used_connection(&origin, &format!("{PASS_THROUGH}?{method}"), |path| {
                    origin.serve(
                        path,
                        Reply::ok(&archive(3, 100)).stop_on_reuse(stop.clone()),
                    );
                    prime(&gateway, &origin);
                    gateway.proxied(method, &origin.url(path)).send()
                });
            response.assert_status(200);
            assert_eq!(origin.count(&path), 2, "{method}");
        }
        origin.serve(FETCHED, Reply::file(&archive(3, 100)).stop_on_reuse(stop));
        prime(&gateway, &origin);
        gateway.get(&origin.url(FETCHED)).send().assert_status(200);
    }
}

#[test]
fn failing_fresh_connection_is_an_error() {
    for stop in stops() {
        for path in [FETCHED, PASS_THROUGH] {
            let origin = Origin::start();
            let gateway = Gateway::builder()
                .origin(&origin)
                .relay()
                .one_attempt()
                .start();
            let ask = |path: &str| {
                origin.serve(
                    path,
                    Reply::file(&archive(5, 100)).stop_before_head(stop.clone()),
                );
                gateway.get(&origin.url(path)).send().assert_problem(504);
            };
            let fresh = format!("/fresh{path}");
            ask(&fresh);
            assert_eq!(origin.count(&fresh), 1, "{path}");
            let (stale, ()) = on_used_connection(&origin, path, |path| {
                prime(&gateway, &origin);
                ask(path);
            });
            assert_eq!(origin.count(&stale), 2, "{path}");
        }
    }
}

#[test]
fn failing_replacement_counts_as_one_attempt() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("fetch.attempts", "2")
        .start();
    let (path, response) = on_used_connection(&origin, FETCHED, |path| {
        origin.serve(
            path,
            Reply::file(&archive(5, 100)).stop_before_head(Stop::Cut),
        );
        prime(&gateway, &origin);
        gateway.get(&origin.url(path)).send()
    });
    response.assert_problem(504);
    assert_eq!(gateway.await_fetch(&origin.url(&path))["attempts"], 2);
    assert_eq!(
        origin.count(&path),
        3,
        "stale, its replacement, and the second attempt"
    );
}

#[test]
fn second_stale_connection_is_not_used() {
    for path in [FETCHED, PASS_THROUGH] {
        let origin = Origin::start();
        let gateway = gateway(&origin).start();
        let (primer, gate) = (archive(6, 100), Gate::new());
        let paths = ["/latest/1.bin", "/latest/2.bin", "/latest/3.bin"];
        let primers = paths.map(|path| {
            origin.serve(path, Reply::ok(&primer).gate_before_head(&gate));
            gateway.get(&origin.url(path)).start()
        });
        gate.await_reached(3);
        gate.open();
        for primer in primers {
            assert_eq!(primer.head().finish().status, 200);
        }
        let body = archive(7, 20_000);
        origin.serve(path, Reply::file(&body).stop_on_reuse(Stop::Cut));
        gateway.assert_serves(&origin.url(path), &body);
        assert_eq!(origin.count(path), 2);
        assert_eq!(origin.connections(), 4);
    }
}

#[test]
fn stale_connections_are_replaced_at_every_hop() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(8, 20_000);
    let gateway = gateway(&origin).origin(&other).start();
    for path in [FETCHED, PASS_THROUGH] {
        let follow = |path: &str| {
            origin.serve(
                path,
                Reply::redirect(302, &other.url(path)).stop_on_reuse(Stop::Cut),
            );
            other.serve(path, Reply::file(&body).stop_on_reuse(Stop::Reset));
            prime(&gateway, &origin);
            prime(&gateway, &other);
            gateway.assert_serves(&origin.url(path), &body);
        };
        let are_used = |path: &str| {
            [&origin, &other]
                .iter()
                .all(|hop| came_on_used_connection(hop, path))
        };
        let (path, ()) = retry(path, follow, are_used);
        assert_eq!((origin.count(&path), other.count(&path)), (2, 2));
    }
}

#[test]
fn stale_tls_connection_is_replaced() {
    for stop in stops() {
        let authority = Authority::new();
        let origin = Origin::start_tls(&authority);
        let body = archive(9, 20_000);
        let gateway = gateway(&origin).authority(&authority).start();
        for path in [FETCHED, PASS_THROUGH] {
            let (path, ()) = on_used_connection(&origin, path, |path| {
                origin.serve(path, Reply::file(&body).stop_on_reuse(stop.clone()));
                prime(&gateway, &origin);
                gateway.assert_serves(&origin.url(path), &body);
            });
            assert_eq!(origin.count(&path), 2);
        }
    }
}

#[test]
fn stale_connection_to_egress_proxy_is_replaced() {
    let proxy = Origin::start();
    let body = archive(10, 20_000);
    let primer = "http://origin.invalid/latest/primer.bin";
    proxy.serve(primer, Reply::ok(&body));
    let gateway = Gateway::builder()
        .port(80)
        .relay()
        .one_attempt()
        .text("fetch.egress_proxy", &proxy.url(""))
        .start();
    for path in [FETCHED, PASS_THROUGH] {
        let url = |path: &str| format!("http://origin.invalid{path}");
        let ask = |path: &str| {
            proxy.serve(&url(path), Reply::file(&body).stop_on_reuse(Stop::Cut));
            gateway.assert_serves(primer, &body);
            gateway.assert_serves(&url(path), &body);
        };
        let (path, ()) = retry(path, ask, |path| {
            came_on_used_connection(&proxy, &url(path))
        });
        assert_eq!(proxy.count(&url(&path)), 2);
    }
}

#[test]
fn stale_tunnel_through_egress_proxy_is_replaced() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let proxy = connect_proxy(origin.address());
    let body = archive(11, 20_000);
    let builder = gateway(&origin).authority(&authority);
    let gateway = builder
        .text("fetch.egress_proxy", &format!("http://{proxy}"))
        .start();
    for path in [FETCHED, PASS_THROUGH] {
        let (path, ()) = on_used_connection(&origin, path, |path| {
            origin.serve(path, Reply::file(&body).stop_on_reuse(Stop::Cut));
            prime(&gateway, &origin);
            gateway.assert_serves(&origin.url(path), &body);
        });
        assert_eq!(origin.count(&path), 2);
    }
}

#[test]
fn stale_connection_to_parent_is_replaced() {
    let (origin, parent) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder
        .parent(&format!("url = {:?}\ntrusted = true", parent.url("/")))
        .start();
    let held = |body: &Body| Reply::ok(body).header("ETag", &format!("\"{}\"", sha256(body)));
    for (number, asked) in [1, 2].into_iter().enumerate() {
        let url = origin.url(&format!("/{number}{FETCHED}"));
        let body = archive(asked, 20_000);
        parent.serve(&format!("/{url}"), held(&body).stop_on_reuse(Stop::Cut));
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
    }
    assert_eq!((parent.total(), parent.connections()), (3, 2));
}

#[test]
fn connections_closed_between_requests_fail_no_client() {
    let origin = Origin::start();
    let body = archive(12, 1000);
    // Closes at once, without saying so in the head.
    origin.serve(PASS_THROUGH, Reply::ok(&body).claims_length(body.len()));
    let gateway = gateway(&origin)
        .set("limits.requests_per_second", "0")
        .start();
    all_at_once(6, |_| {
        for _ in 0..50 {
            gateway
                .proxied("GET", &origin.url(PASS_THROUGH))
                .send()
                .assert_body(200, &body);
        }
    });
}

/// A proxy for tunnels that all lead to one address.
fn connect_proxy(destination: SocketAddr) -> SocketAddr {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || accept_tunnels(&listener, destination));
    address
}

fn accept_tunnels(listener: &TcpListener, destination: SocketAddr) {
    for client in listener.incoming().flatten() {
        thread::spawn(move || tunnel(client, destination));
    }
}

fn tunnel(mut client: TcpStream, destination: SocketAddr) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut server = TcpStream::connect(destination)?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        // The tunnel ends where either side ends.
        drop(io::copy(&mut from_client, &mut to_server));
        drop(to_server.shutdown(Shutdown::Both));
    });
    drop(io::copy(&mut server, &mut client));
    client.shutdown(Shutdown::Both)
}
