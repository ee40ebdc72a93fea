//! Tests of requests that a trusted nginx forwards, and of hits that it sends itself. `requests.rs`
//! tests with a real nginx.

mod offloading;

use crate::harness::{
    Body, Builder, Gateway, Origin, Reply, Request, Waiting, archive, is_request_of, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 100_000;
const TRUSTED: &str = "[\"127.0.0.1/32\"]";

fn behind_nginx(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .set("gateway.trusted_proxies", TRUSTED)
        .text("gateway.accel_redirect", "/_objects/")
}

/// A gateway behind an nginx that the test plays, with one stored file.
struct Front {
    gateway: Gateway,
    origin: Origin,
    body: Body,
}

impl Front {
    fn with(size: usize, settle: impl FnOnce(Builder) -> Builder) -> Self {
        let origin = Origin::start();
        let body = archive(1, size);
        origin.serve(PATH, Reply::file(&body));
        let gateway = settle(behind_nginx(&origin)).start();
        gateway.assert_serves(&origin.url(PATH), &body);
        gateway.await_stored(&origin.url(PATH));
        Self {
            gateway,
            origin,
            body,
        }
    }

    fn new() -> Self {
        Self::with(SIZE, |builder| builder)
    }

    /// Returns a request as nginx forwards it, for a client that used `method` on the stored file.
    fn handed_on(&self, method: &str) -> Request {
        let path = format!("/{}", self.origin.url(PATH));
        let request = self.gateway.request(method, &path);
        request.header(
            "X-Millpond-Request-Line",
            &format!("{method} {path} HTTP/1.1"),
        )
    }

    fn location(&self) -> String {
        let sha256 = sha256(&self.body);
        format!("/_objects/{}/{sha256}", &sha256[..2])
    }
}

#[test]
fn forwarded_request_line_decides_the_target() {
    let front = Front::new();
    let url = front.origin.url(PATH);
    let marked = |line: &str| {
        front
            .gateway
            .request("GET", "/")
            .header("X-Millpond-Request-Line", line)
            .send()
    };
    assert_eq!(
        marked(&format!("GET /{url} HTTP/1.1")).wants("x-accel-redirect"),
        front.location()
    );
    assert_eq!(
        marked(&format!("GET {url} HTTP/1.1")).wants("x-accel-redirect"),
        front.location(),
        "a proxy request"
    );
    let event = front.gateway.log().wait_for("the proxy request", |event| {
        is_request_of(event, PATH) && event["endpoint"] == "proxy"
    });
    assert_eq!(event["uri"], url);
    assert_eq!(marked("GET /robots.txt HTTP/2.0").status, 200);
    marked("GET ftp://example.org/x-7.0.tar.gz HTTP/1.1").assert_problem(403);
    for line in [
        "",
        "GET",
        "GET /robots.txt",
        "GET /robots.txt x",
        "GET  /robots.txt HTTP/1.1",
        "GET / x HTTP/1.1",
    ] {
        marked(line).assert_problem(400);
    }
}

#[test]
fn forwarded_proxy_request_keeps_its_body() {
    let origin = Origin::start();
    origin.serve("/upload", Reply::ok(&archive(2, 10)));
    let gateway = behind_nginx(&origin).start();
    let url = origin.url("/upload");
    let request = gateway
        .request("POST", "/upload")
        .header("X-Millpond-Request-Line", &format!("POST {url} HTTP/1.1"));
    request
        .body(b"hello")
        .send()
        .assert_body(200, &archive(2, 10));
    let asked = origin.request("/upload");
    assert_eq!(asked.body, b"hello");
    assert_eq!(
        asked.header("x-millpond-request-line"),
        None,
        "this field is only for nginx and Millpond"
    );
}

#[test]
fn absolute_target_at_public_url_is_a_path() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin)
        .text("gateway.public_url", "http://Sources.example.org")
        .start();
    let with_port = "http://sources.example.org:80/robots.txt";
    for target in [
        with_port,
        "http://sources.example.org/robots.txt",
        "http://SOURCES.example.org/robots.txt",
    ] {
        let marked = gateway
            .request("GET", "/x")
            .header("X-Millpond-Request-Line", &format!("GET {target} HTTP/1.1"));
        assert_eq!(marked.send().status, 200, "{target}");
        assert_eq!(
            gateway.request("GET", target).send().status,
            200,
            "{target}"
        );
    }
    gateway
        .request("GET", "http://sources.example.org")
        .send()
        .assert_status(200);
    gateway
        .request("GET", "http://other.example.org/robots.txt")
        .send()
        .assert_problem(421);
}

#[test]
fn http10_client_behind_nginx_waits_for_unknown_length() {
    let origin = Origin::start();
    let body = archive(3, SIZE);
    origin.serve(PATH, Reply::file(&body).chunked());
    origin.serve(
        "/pub/cut-1.0.tar.gz",
        Reply::file(&body).chunked().cut_at(50_000),
    );
    let gateway = behind_nginx(&origin).start();
    let ask = |path: &str| {
        let path = format!("/{}", origin.url(path));
        gateway
            .request("GET", &path)
            .header("X-Millpond-Request-Line", &format!("GET {path} HTTP/1.0"))
            .send()
    };
    let answer = ask(PATH);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("transfer-encoding"),
        None,
        "an HTTP/1.0 client cannot detect a cut"
    );
    ask("/pub/cut-1.0.tar.gz").assert_problem(504);
    // nginx reads this as 1.0 too.
    let path = format!("/{}", origin.url("/pub/cut-1.0.tar.gz"));
    let odd = gateway
        .request("GET", &path)
        .header("X-Millpond-Request-Line", &format!("GET {path} HTTP/1.00"));
    odd.send().assert_problem(504);
}

#[test]
fn forwarded_connection_header_fields_are_removed() {
    let origin = Origin::start();
    origin.serve("/latest/x", Reply::ok(&archive(2, 10)));
    let gateway = behind_nginx(&origin).start();
    let url = origin.url("/latest/x");
    let request = gateway
        .request("GET", "/latest/x")
        .header("X-Millpond-Request-Line", &format!("GET {url} HTTP/1.1"));
    let request = request
        .header("X-Millpond-Connection", "close, X-Hop")
        .header("X-Hop", "1")
        .header("X-End", "2");
    assert_eq!(request.send().status, 200);
    let asked = origin.request("/latest/x");
    assert_eq!(
        (asked.header("x-hop"), asked.header("x-end")),
        (None, Some("2"))
    );
}

#[test]
fn nginx_connection_carries_requests_of_many_clients() {
    let front = Front::new();
    let path = format!("/{}", front.origin.url(PATH));
    let line = |client: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\
             X-Millpond-Request-Line: GET {path} HTTP/1.1\r\n\r\n"
        )
    };
    let both = [line("10.0.0.1"), line("10.0.0.2")].concat();
    let (second, first) = Waiting::send(front.gateway.addr(), both.as_bytes(), false)
        .head()
        .next();
    assert_eq!((first.status, second.head.status), (200, 200));
    for client in ["10.0.0.1", "10.0.0.2"] {
        front
            .gateway
            .log()
            .wait_for("the client", |event| event["client"] == client);
    }
}

#[test]
fn local_health_check_bypasses_allow_clients() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin)
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.request("GET", path).send().status, 200, "{path}");
        let through_nginx = gateway
            .request("GET", path)
            .header("X-Forwarded-For", "192.0.2.1");
        let line = format!("GET {path} HTTP/1.1");
        through_nginx
            .header("X-Millpond-Request-Line", &line)
            .send()
            .assert_problem(403);
    }
    gateway
        .request("GET", "/robots.txt")
        .send()
        .assert_problem(403);
}
