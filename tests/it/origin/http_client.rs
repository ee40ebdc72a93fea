//! The HTTP client for origins: codings, unknown lengths, connections, timeouts,
//! and the egress proxy.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{Gateway, Origin, Reply, Scene, archive, assert_same};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn coded_body_is_neither_decoded_nor_unlabelled() {
    let origin = Origin::start();
    let body = archive(1, 5000);
    for (path, coding) in [
        ("/x-1.0.patch", "gzip"),
        (PATH, "gzip"),
        ("/y-1.0.tar.gz", "x-gzip"),
        ("/z-1.0.patch", "br"),
    ] {
        origin.serve(path, Reply::ok(&body).header("Content-Encoding", coding));
    }
    let gateway = Gateway::relaying(&origin);
    for path in ["/x-1.0.patch", PATH, "/y-1.0.tar.gz", "/z-1.0.patch"] {
        for _ in 0..2 {
            let answer = gateway.get(&origin.url(path)).send();
            if answer.status == 200 {
                assert_same(&answer.body, &body);
                let told = answer.header("content-encoding").is_some() || path.contains(".tar.gz");
                assert!(told, "{path}: the coding of the body is not declared");
            } else {
                answer.assert_problem(502);
            }
        }
        assert_eq!(
            origin.requests(path)[0].header("accept-encoding"),
            Some("identity")
        );
    }
}

#[test]
fn body_of_unknown_length_is_stored() {
    let origin = Origin::start();
    let body = archive(2, 150_000);
    origin.serve("/chunks-1.0.tar.gz", Reply::ok(&body).chunked());
    origin.serve("/close-1.0.tar.gz", Reply::ok(&body).until_close());
    let gateway = Gateway::relaying(&origin);
    for path in ["/chunks-1.0.tar.gz", "/close-1.0.tar.gz"] {
        gateway.assert_serves(&origin.url(path), &body);
        assert_eq!(
            gateway.await_stored(&origin.url(path))["size_bytes"],
            150_000
        );
        let hit = gateway.assert_serves(&origin.url(path), &body);
        assert_eq!(hit.wants("content-length"), "150000");
    }
}

#[test]
fn connections_to_origin_are_reused() {
    let origin = Origin::start();
    let body = archive(3, 20_000);
    let gateway = Gateway::relaying(&origin);
    for number in 0..8 {
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
    assert!(
        origin.connections() <= 2,
        "{} connections for 8 fetches",
        origin.connections()
    );
}

#[test]
fn closed_idle_connection_is_no_failure() {
    let origin = Origin::start();
    let body = archive(4, 5000);
    let gateway = Gateway::relaying(&origin);
    for number in 0..5 {
        let path = format!("/x-{number}.tar.gz");
        // The response promises a persistent connection, but the origin closes it.
        let end = body.len();
        origin.serve(&path, Reply::file(&body).cut_at(end));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
}

#[test]
fn oversized_response_head_gives_502() {
    let mut reply = Reply::file(&archive(5, 5000));
    for number in 0..200 {
        reply = reply.header(&format!("X-Long-{number}"), &"x".repeat(8000));
    }
    let (_origin, gateway, url) = Scene::replying(PATH, reply);
    gateway.get(&url).send().assert_problem(502);
    gateway.assert_nothing_stored();
}

#[test]
fn invalid_representation_headers_are_dropped() {
    let body = archive(6, 5000);
    let reply = Reply::ok(&body)
        .header("Last-Modified", "yesterday")
        .header("Content-Type", &"x".repeat(5000))
        .header("Content-Disposition", "attachment; filename=\"\u{e9}\"");
    let (_origin, gateway, url) = Scene::replying(PATH, reply);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let hit = gateway.assert_serves(&url, &body);
    assert_eq!(hit.header("last-modified"), None);
    assert!(
        hit.header("content-type")
            .is_none_or(|value| value.len() < 100)
    );
}

#[test]
fn fetch_over_budget_is_aborted() {
    let origin = Origin::start();
    let body = archive(7, 4 << 20);
    origin.serve(PATH, Reply::ok(&body).drip(4096, Duration::from_millis(20)));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("fetch.budget", "700ms")
        .start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_status(200);
    answer.assert_broken();
    assert_ne!(gateway.await_fetch(&origin.url(PATH))["outcome"], "stored");
    gateway.assert_nothing_stored();
}

#[test]
fn fetch_below_min_speed_is_aborted() {
    let origin = Origin::start();
    let body = archive(8, 1 << 20);
    origin.serve(PATH, Reply::ok(&body).drip(200, Duration::from_millis(20)));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder
        .text("fetch.min_speed", "1MiB")
        .text("fetch.idle_timeout", "1s")
        .start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_status(200);
    answer.assert_broken();
    assert_ne!(gateway.await_fetch(&origin.url(PATH))["outcome"], "stored");
}

#[test]
fn slow_origin_within_limits_is_served() {
    let origin = Origin::start();
    let body = archive(9, 40_000);
    origin.serve(
        PATH,
        Reply::ok(&body).drip(2000, Duration::from_millis(100)),
    );
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("fetch.idle_timeout", "1s")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
}

#[test]
fn egress_proxy_replaces_direct_connection() {
    let egress = Origin::start();
    let body = archive(10, 20_000);
    // The name does not resolve here, and its port differs from the egress proxy's port.
    let url = "http://files.example.test/x-1.0.tar.gz";
    egress.serve(url, Reply::file(&body));
    egress.serve(
        "http://files.example.test/page",
        Reply::ok(&b"passed\n".to_vec().into()),
    );
    let builder = Gateway::builder()
        .relay()
        .one_attempt()
        .set("policy.ports", "[80]");
    // The egress proxy's own address and port need no permission.
    let builder = builder
        .set("policy.allow_networks", "[]")
        .text("fetch.egress_proxy", &egress.url(""));
    let gateway = builder.start();
    gateway.assert_serves(url, &body);
    gateway.await_stored(url);
    gateway.assert_serves(url, &body).assert_cache(&["hit"]);
    assert_eq!(egress.count(url), 1);
    gateway
        .proxied("GET", "http://files.example.test/page")
        .send()
        .assert_body(200, b"passed\n");
}

#[test]
fn egress_proxy_does_not_allow_private_addresses() {
    let (egress, origin) = (Origin::start(), Origin::start());
    let builder = Gateway::builder().relay().one_attempt().origin(&origin);
    let builder = builder
        .set("policy.allow_networks", "[]")
        .text("fetch.egress_proxy", &egress.url(""));
    let gateway = builder.start();
    gateway.get(&origin.url(PATH)).send().assert_problem(403);
    gateway
        .get(&format!("http://[::1]:{}{PATH}", origin.port()))
        .send()
        .assert_problem(403);
    gateway
        .get("http://files.example.test:81/x-1.0.tar.gz")
        .send()
        .assert_problem(403);
    assert_eq!(egress.total() + origin.total(), 0);
}

#[test]
fn missing_egress_proxy_is_not_bypassed() {
    let (egress, origin) = (Origin::start(), Origin::start());
    let body = archive(11, 2000);
    origin.serve(PATH, Reply::file(&body));
    let proxy = egress.url("");
    egress.stop();
    let gateway = Gateway::builder()
        .relay()
        .one_attempt()
        .origin(&origin)
        .text("fetch.egress_proxy", &proxy)
        .start();
    let answer = gateway.get(&origin.url(PATH)).send();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    assert_eq!(origin.total(), 0, "the origin gets no direct request");
}

#[test]
fn proxy_environment_variables_are_ignored() {
    let (wrong, origin) = (Origin::start(), Origin::start());
    let body = archive(12, 2000);
    origin.serve(PATH, Reply::file(&body));
    let builder = Gateway::builder()
        .relay()
        .origin(&origin)
        .env("http_proxy", &wrong.url(""))
        .env("ALL_PROXY", &wrong.url(""));
    let gateway = builder.start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(
        wrong.total(),
        0,
        "only the configuration names an egress proxy"
    );
}

/// A port with a full backlog that never accepts, so that connecting to it hangs.
struct Wall {
    address: SocketAddr,
    _waiting: Vec<TcpStream>,
    _listener: tokio::net::TcpListener,
    _runtime: tokio::runtime::Runtime,
}

impl Wall {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime can be made");
        let entered = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket can be made");
        socket
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("a loopback port is free");
        let listener = socket.listen(0).expect("a socket can listen");
        let address = listener.local_addr().expect("a listener has an address");
        let mut waiting = Vec::new();
        while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(one);
        }
        drop(entered);
        Self {
            address,
            _waiting: waiting,
            _listener: listener,
            _runtime: runtime,
        }
    }
}

#[test]
fn connect_timeout_gives_504() {
    let wall = Wall::new();
    let builder = Gateway::builder()
        .port(wall.address.port())
        .relay()
        .one_attempt();
    let gateway = builder.text("fetch.connect_timeout", "300ms").start();
    let url = format!("http://{}{PATH}", wall.address);
    let started = Instant::now();
    gateway.get(&url).send().assert_problem(504);
    gateway
        .proxied("GET", &format!("http://{}/x.bin", wall.address))
        .send()
        .assert_problem(504);
    gateway
        .proxied("CONNECT", &wall.address.to_string())
        .send()
        .assert_status(504);
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn content_range_on_200_is_ignored() {
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(13, 5000))
        .reply(|file| file.header("Content-Range", "bytes 100-199/300"))
        .start();
    for _ in 0..2 {
        let answer = gateway.get(&url).send();
        if answer.status != 200 {
            return answer.assert_problem(502);
        }
        assert_same(&answer.body, &body);
        assert_eq!(
            answer.header("content-range"),
            None,
            "a 200 has no Content-Range"
        );
        gateway.await_stored(&url);
    }
}
