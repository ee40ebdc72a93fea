//! The HTTP origin: codings, unknown lengths, connections, timeouts, and the egress proxy.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{Gateway, Origin, Reply, archive, assert_same};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn a_coded_body_is_never_decoded_nor_passed_off_as_plain() {
    let origin = Origin::start();
    let body = archive(1, 5000);
    for (path, coding) in [("/x.patch", "gzip"), (PATH, "gzip"), ("/y.tar.gz", "x-gzip"), ("/z.patch", "br")] {
        origin.serve(path, Reply::ok(&body).header("Content-Encoding", coding));
    }
    let gateway = Gateway::relaying(&origin);
    for path in ["/x.patch", PATH, "/y.tar.gz", "/z.patch"] {
        for _ in 0..2 {
            let answer = gateway.get(&origin.url(path)).send();
            if answer.status == 200 {
                assert_same(&answer.body, &body);
                let told = answer.header("content-encoding").is_some() || path.contains(".tar.gz");
                assert!(told, "{path}: coded bytes are not told from plain ones");
            } else {
                answer.assert_problem(502);
            }
        }
        assert_eq!(origin.requests(path)[0].header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn a_body_of_unknown_length_is_stored() {
    let origin = Origin::start();
    let body = archive(2, 150_000);
    origin.serve("/chunks.tar.gz", Reply::ok(&body).chunked());
    origin.serve("/close.tar.gz", Reply::ok(&body).until_close());
    let gateway = Gateway::relaying(&origin);
    for path in ["/chunks.tar.gz", "/close.tar.gz"] {
        gateway.assert_serves(&origin.url(path), &body);
        assert_eq!(gateway.await_stored(&origin.url(path))["size_bytes"], 150_000);
        let hit = gateway.assert_serves(&origin.url(path), &body);
        assert_eq!(hit.wants("content-length"), "150000");
    }
}

#[test]
fn connections_to_an_origin_are_used_again() {
    let origin = Origin::start();
    let body = archive(3, 20_000);
    let gateway = Gateway::relaying(&origin);
    for number in 0..8 {
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
    assert!(origin.connections() <= 2, "{} connections for 8 fetches", origin.connections());
}

#[test]
fn a_connection_that_the_origin_closed_is_no_failure() {
    let origin = Origin::start();
    let body = archive(4, 5000);
    let gateway = Gateway::relaying(&origin);
    for number in 0..5 {
        let path = format!("/x-{number}.tar.gz");
        // Says that it keeps the connection, and closes it.
        let end = body.len();
        origin.serve(&path, Reply::file(&body).cut_at(end));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
}

#[test]
fn a_head_that_is_too_large_is_502() {
    let origin = Origin::start();
    let mut reply = Reply::file(&archive(5, 5000));
    for number in 0..200 {
        reply = reply.header(&format!("X-Long-{number}"), &"x".repeat(8000));
    }
    origin.serve(PATH, reply);
    let gateway = Gateway::relaying(&origin);
    gateway.get(&origin.url(PATH)).send().assert_problem(502);
    gateway.assert_nothing_stored();
}

#[test]
fn headers_that_are_not_fit_to_be_sent_on_are_not_kept() {
    let origin = Origin::start();
    let body = archive(6, 5000);
    let reply = Reply::ok(&body)
        .header("Last-Modified", "yesterday")
        .header("Content-Type", &"x".repeat(5000))
        .header("Content-Disposition", "attachment; filename=\"\u{e9}\"");
    origin.serve(PATH, reply);
    let gateway = Gateway::relaying(&origin);
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    let hit = gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(hit.header("last-modified"), None);
    assert!(hit.header("content-type").is_none_or(|value| value.len() < 100));
}

#[test]
fn a_fetch_has_a_budget() {
    let origin = Origin::start();
    let body = archive(7, 4 << 20);
    origin.serve(PATH, Reply::ok(&body).drip(4096, Duration::from_millis(20)));
    let gateway = Gateway::builder().origin(&origin).relay().text("fetch.budget", "700ms").start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_status(200);
    answer.assert_broken();
    assert_ne!(gateway.await_fetch(&origin.url(PATH))["outcome"], "stored");
    gateway.assert_nothing_stored();
}

#[test]
fn a_fetch_that_only_trickles_is_given_up() {
    let origin = Origin::start();
    let body = archive(8, 1 << 20);
    origin.serve(PATH, Reply::ok(&body).drip(200, Duration::from_millis(20)));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder.text("fetch.min_speed", "1MiB").text("fetch.idle_timeout", "1s").start();
    let answer = gateway.get(&origin.url(PATH)).send();
    answer.assert_status(200);
    answer.assert_broken();
    assert_ne!(gateway.await_fetch(&origin.url(PATH))["outcome"], "stored");
}

#[test]
fn a_slow_origin_within_the_limits_is_waited_for() {
    let origin = Origin::start();
    let body = archive(9, 40_000);
    origin.serve(PATH, Reply::ok(&body).drip(2000, Duration::from_millis(100)));
    let gateway = Gateway::builder().origin(&origin).relay().one_attempt().text("fetch.idle_timeout", "1s").start();
    gateway.assert_serves(&origin.url(PATH), &body);
}

#[test]
fn an_egress_proxy_is_asked_instead_of_the_origin() {
    let egress = Origin::start();
    let body = archive(10, 20_000);
    // The name cannot be resolved here, and its port is no port of the egress proxy.
    let url = "http://files.example.test/x-1.0.tar.gz";
    egress.serve(url, Reply::file(&body));
    egress.serve("http://files.example.test/page", Reply::ok(&b"passed\n".to_vec().into()));
    let builder = Gateway::builder().relay().one_attempt().set("policy.ports", "[80]");
    // The proxy's own address and port need no permission: it is configured.
    let builder = builder.set("policy.allow_networks", "[]").text("fetch.egress_proxy", &egress.url(""));
    let gateway = builder.start();
    gateway.assert_serves(url, &body);
    gateway.await_stored(url);
    gateway.assert_serves(url, &body).assert_cache(&["hit"]);
    assert_eq!(egress.count(url), 1);
    gateway.proxied("GET", "http://files.example.test/page").send().assert_body(200, b"passed\n");
}

#[test]
fn an_egress_proxy_does_not_open_private_addresses() {
    let (egress, origin) = (Origin::start(), Origin::start());
    let builder = Gateway::builder().relay().one_attempt().origin(&origin);
    let builder = builder.set("policy.allow_networks", "[]").text("fetch.egress_proxy", &egress.url(""));
    let gateway = builder.start();
    gateway.get(&origin.url(PATH)).send().assert_problem(403);
    gateway.get(&format!("http://[::1]:{}{PATH}", origin.port())).send().assert_problem(403);
    gateway.get("http://files.example.test:81/x-1.0.tar.gz").send().assert_problem(403);
    assert_eq!(egress.total() + origin.total(), 0);
}

#[test]
fn an_egress_proxy_that_is_not_there_is_no_way_around() {
    let (egress, origin) = (Origin::start(), Origin::start());
    let body = archive(11, 2000);
    origin.serve(PATH, Reply::file(&body));
    let proxy = egress.url("");
    egress.stop();
    let gateway = Gateway::builder().relay().one_attempt().origin(&origin).text("fetch.egress_proxy", &proxy).start();
    let answer = gateway.get(&origin.url(PATH)).send();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    assert_eq!(origin.total(), 0, "the origin is not asked past the proxy");
}

#[test]
fn a_proxy_in_the_environment_is_not_used() {
    let (wrong, origin) = (Origin::start(), Origin::start());
    let body = archive(12, 2000);
    origin.serve(PATH, Reply::file(&body));
    let builder =
        Gateway::builder().relay().origin(&origin).env("http_proxy", &wrong.url("")).env("ALL_PROXY", &wrong.url(""));
    let gateway = builder.start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(wrong.total(), 0, "only the configuration names an egress proxy");
}

/// A port where nobody accepts, and no further connection finds room to wait: connecting to it never ends.
struct Wall {
    address: SocketAddr,
    _waiting: Vec<TcpStream>,
    _listener: tokio::net::TcpListener,
    _runtime: tokio::runtime::Runtime,
}

impl Wall {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime can be made");
        let entered = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket can be made");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a loopback port is free");
        let listener = socket.listen(0).expect("a socket can listen");
        let address = listener.local_addr().expect("a listener has an address");
        let mut waiting = Vec::new();
        while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(one);
        }
        drop(entered);
        Self { address, _waiting: waiting, _listener: listener, _runtime: runtime }
    }
}

#[test]
fn a_connection_that_is_never_made_is_given_up() {
    let wall = Wall::new();
    let builder = Gateway::builder().port(wall.address.port()).relay().one_attempt();
    let gateway = builder.text("fetch.connect_timeout", "300ms").start();
    let url = format!("http://{}{PATH}", wall.address);
    let started = Instant::now();
    gateway.get(&url).send().assert_problem(504);
    gateway.proxied("GET", &format!("http://{}/x.bin", wall.address)).send().assert_problem(504);
    gateway.proxied("CONNECT", &wall.address.to_string()).send().assert_status(504);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn a_whole_body_with_a_content_range_is_a_whole_body() {
    let origin = Origin::start();
    let body = archive(13, 5000);
    origin.serve(PATH, Reply::file(&body).header("Content-Range", "bytes 100-199/300"));
    let gateway = Gateway::relaying(&origin);
    for _ in 0..2 {
        let answer = gateway.get(&origin.url(PATH)).send();
        if answer.status != 200 {
            return answer.assert_problem(502);
        }
        assert_same(&answer.body, &body);
        assert_eq!(answer.header("content-range"), None, "200 is not a part");
        gateway.await_stored(&origin.url(PATH));
    }
}
