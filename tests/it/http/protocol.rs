//! Requests as RFC 9110 and RFC 9112 define them: expectations, hops, `Host`, sizes and versions.

use std::net::SocketAddr;

use crate::harness::{Gateway, Nginx, Origin, Reply, Scene, Waiting, archive, assert_same};

const PATH: &str = "/pub/x-1.0.tar.gz";
const UPLOAD: &str = "/upload";

/// Returns both ports with the target of `url` at each.
fn both(gateway: &Gateway, url: &str) -> [(SocketAddr, String); 2] {
    [
        (gateway.addr(), format!("/{url}")),
        (gateway.proxy_addr(), url.to_owned()),
    ]
}

#[track_caller]
fn send(address: SocketAddr, head: &str) -> Waiting {
    Waiting::send(address, head.as_bytes(), head.starts_with("HEAD "))
}

#[test]
fn body_is_requested_after_the_decision() {
    let (origin, gateway, url) = Scene::replying(UPLOAD, Reply::ok(&b"taken\n".to_vec().into()));
    let body = archive(1, 200_000);
    let length = body.len();
    let requests = [
        ("POST", format!("Content-Length: {length}\r\n")),
        ("PUT", format!("content-length: {length}\r\n")),
        ("PATCH", "Transfer-Encoding: chunked\r\n".to_owned()),
    ];
    for (number, (method, framing)) in requests.into_iter().enumerate() {
        let head =
            format!("{method} {url} HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n{framing}\r\n");
        let interim = send(gateway.proxy_addr(), &head).head();
        assert_eq!(interim.head.status, 100, "{method}");
        let (socket, _) = interim.into_socket();
        let sent = if framing.starts_with("Transfer") {
            [
                format!("{length:x}\r\n").as_bytes(),
                &body,
                b"\r\n0\r\n\r\n",
            ]
            .concat()
        } else {
            body.to_vec()
        };
        let (open, answer) = Waiting::send_on(socket, &sent, false).head().finish_open();
        assert_eq!(answer, b"taken\n");
        assert_eq!(origin.count(UPLOAD), number + 1);
        let asked = origin.requests(UPLOAD).pop().expect("the origin was asked");
        assert_same(&asked.body, &body);
        assert_eq!(asked.header("expect"), None);
        // The connection is still usable.
        let next = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url("/none"));
        let (socket, _) = open.into_socket();
        let next = Waiting::send_on(socket, next.as_bytes(), false).head();
        assert_eq!(next.head.status, 404);
    }
}

#[test]
fn rejected_client_sends_no_body() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let import = format!("PUT /api/v1/objects?url={}", origin.url(PATH));
    for (address, line, status) in [
        (
            gateway.proxy_addr(),
            "POST http://10.0.0.1/x".to_owned(),
            403,
        ),
        (
            gateway.proxy_addr(),
            "PUT http://127.0.0.1:1/x".to_owned(),
            403,
        ),
        (
            gateway.proxy_addr(),
            "POST ftp://127.0.0.1/x".to_owned(),
            403,
        ),
        (gateway.proxy_addr(), "POST /x".to_owned(), 400),
        (gateway.addr(), import, 401),
        (gateway.addr(), format!("POST /{}", origin.url(PATH)), 405),
    ] {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        );
        let answer = send(address, &head).head();
        assert_eq!(answer.head.status, status, "{line}");
        assert_eq!(answer.head.wants("connection"), "close", "{line}");
        answer.finish().assert_problem(status);
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn unknown_expectations_get_417() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(2, 2000));
    for (address, target) in both(&gateway, &url) {
        for expect in ["200-ok", "100-continue, fast", "x=\"100-continue\""] {
            let head = format!(
                "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: {expect}\r\n\r\n"
            );
            let answer = send(address, &head).head();
            assert_eq!(answer.head.reason, "Expectation Failed");
            answer.finish().assert_problem(417);
        }
        for (version, expect) in [("1.1", "100-continue"), ("1.0", "fast"), ("1.1", "")] {
            let head = format!(
                "GET {target} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\
                 Expect: {expect}\r\n\r\n"
            );
            let answer = send(address, &head).head();
            assert_same(&answer.finish().body, &body);
        }
    }
    for asked in origin.requests(PATH) {
        assert_eq!(asked.header("expect"), None);
    }
}

#[test]
fn host_must_be_valid() {
    let gateway = Gateway::builder().start();
    let fields = [
        ("Host: x\r\n", true),
        ("Host: x:80\r\n", true),
        ("Host: [::1]:8080\r\n", true),
        ("Host: Sources.Example.TEST.\r\n", true),
        ("Host:\r\n", true),
        ("", false),
        ("Host: x\r\nHost: x\r\n", false),
        ("Host: x\r\nhost: y\r\n", false),
        ("Host: a b\r\n", false),
        ("Host: a,b\r\n", false),
        ("Host: a/b\r\n", false),
        ("Host: user@x\r\n", false),
        ("Host: x:http\r\n", false),
        ("Host: x:123456\r\n", false),
        ("Host: [::1\r\n", false),
        ("Host: [x]\r\n", false),
        ("Host: x:80:80\r\n", false),
    ];
    for (field, is_valid) in fields {
        let head = format!("GET /healthz HTTP/1.1\r\nConnection: close\r\n{field}\r\n");
        let answer = send(gateway.addr(), &head).head().finish();
        if is_valid {
            answer.assert_body(200, b"alive\n");
        } else {
            answer.assert_problem(400);
        }
        let head = format!("OPTIONS * HTTP/1.1\r\nConnection: close\r\n{field}\r\n");
        let status = send(gateway.proxy_addr(), &head).head().head.status;
        assert_eq!(status, if is_valid { 200 } else { 400 }, "{field:?}");
    }
}

#[test]
fn malformed_requests_get_text_and_log_line() {
    let gateway = Gateway::builder().start();
    for (head, status, part) in malformed() {
        for address in [gateway.addr(), gateway.proxy_addr()] {
            // At the proxy port, the path alone is an error before its length.
            let is_path = head.len() < 10_000 && status == 414;
            if is_path && address == gateway.proxy_addr() {
                continue;
            }
            let answer = send(address, &head).head().finish();
            answer.assert_problem(status);
            assert!(answer.text().contains(part), "{}", answer.text());
            gateway.log().wait_for("the cause", |event| {
                event["message"] == "request"
                    && event["status"] == status
                    && event["error"]
                        .as_str()
                        .is_some_and(|error| error.contains(part))
            });
        }
    }
    let long = format!("http://127.0.0.1/{}", "x".repeat(9000));
    gateway.proxied("GET", &long).send().assert_problem(414);
}

/// Returns malformed heads, each with its status and a part of the error text.
fn malformed() -> Vec<(String, u16, &'static str)> {
    let long = "x".repeat(70_000);
    let fields = (0..97).fold(String::new(), |all, number| {
        all + &format!("X-{number}: y\r\n")
    });
    vec![
        (
            format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
            414,
            "request line",
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", &long[..9000]),
            414,
            "longer",
        ),
        (
            format!("GET /x HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
            431,
            "longer",
        ),
        (
            format!("GET /x HTTP/1.1\r\nHost: x\r\n{fields}\r\n"),
            431,
            "95 fields",
        ),
        (
            "GET /x<y> HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            400,
            "no URI",
        ),
        (
            "GET http:// HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            400,
            "no URI",
        ),
        ("POST /x HTTP/1.0\r\n\r\n".to_owned(), 400, "Content-Length"),
        (
            "GET /x HTTP/2.0\r\nHost: x\r\n\r\n".to_owned(),
            400,
            "HTTP/1.1",
        ),
        ("\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned(), 400, "TLS"),
        ("GET /x HTTP/1.1\nHost: x\n\n".to_owned(), 400, "bare LF"),
    ]
}

#[test]
fn options_and_max_forwards_count_hops() {
    let origin = Origin::start();
    origin.serve(UPLOAD, Reply::status(204));
    let gateway = Gateway::relaying(&origin);
    let own = gateway.request("OPTIONS", "*").send();
    own.assert_body(200, b"");
    assert_eq!(own.wants("allow"), "GET, HEAD");
    assert_eq!(own.wants("content-length"), "0");
    let proxy = gateway.proxied("OPTIONS", "*").send();
    proxy.assert_body(200, b"");
    assert!(proxy.wants("allow").contains("CONNECT"));
    let url = origin.url(UPLOAD);
    let last = gateway.proxied("OPTIONS", &url).header("Max-Forwards", "0");
    last.send().assert_body(200, b"");
    assert_eq!(origin.total(), 0);
    for (method, sent, forwarded) in [
        ("OPTIONS", "1", "0"),
        ("OPTIONS", "10", "9"),
        ("OPTIONS", "none", "none"),
        ("DELETE", "0", "0"),
    ] {
        let request = gateway.proxied(method, &url).header("Max-Forwards", sent);
        request.send().assert_status(204);
        let asked = origin.requests(UPLOAD).pop().expect("the origin was asked");
        assert_eq!(
            asked.header("max-forwards"),
            Some(forwarded),
            "{method} {sent}"
        );
    }
    for (address, target) in both(&gateway, &url) {
        for hops in ["0", "5"] {
            let head = format!(
                "TRACE {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Max-Forwards: {hops}\r\n\r\n"
            );
            let answer = send(address, &head).head().finish();
            answer.assert_problem(405);
            assert!(answer.wants("allow").starts_with("GET, HEAD"));
            assert!(!answer.wants("allow").contains("TRACE"));
        }
    }
    assert_eq!(origin.count(UPLOAD), 4);
}

#[test]
fn requests_that_passed_before_get_508() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let fields = [
        "Via: 1.1 mill-test",
        "Via: 1.1 other, 1.0 mill-test (comment)",
        "Via: 1.1 other\r\nVia: HTTP/1.1 mill-test",
        "CDN-Loop: mill-test",
        "CDN-Loop: other, mill-test; v=1.0",
    ];
    for field in fields {
        for (address, target) in both(&gateway, &origin.url(PATH)) {
            let head =
                format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}\r\n\r\n");
            let answer = send(address, &head).head();
            assert_eq!(answer.head.reason, "Loop Detected", "{field}");
            let answer = answer.finish();
            answer.assert_problem(508);
            assert_eq!(
                answer.wants("proxy-status"),
                "mill-test; error=proxy_loop_detected"
            );
        }
    }
    for field in [
        "Via: 1.1 mill-test-2",
        "CDN-Loop: mill-test-2",
        "Via: 1.1 mill",
    ] {
        for (address, target) in both(&gateway, &origin.url(PATH)) {
            let head =
                format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}\r\n\r\n");
            assert_eq!(send(address, &head).head().head.status, 404, "{field}");
        }
    }
    for asked in origin.requests(PATH) {
        let cdn_loop = asked.header("cdn-loop");
        assert!(
            cdn_loop.is_some_and(|names| names.ends_with("mill-test") || names == "mill-test-2")
        );
    }
}

#[test]
fn http_1_0_connection_is_kept_on_request() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(3, 20_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for (address, target) in both(&gateway, &url) {
        let kept = format!("GET {target} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let answer = send(address, &kept).head();
        assert_eq!(answer.head.wants("connection"), "keep-alive");
        let (open, found) = answer.finish_open();
        assert_same(&found, &body);
        let (socket, _) = open.into_socket();
        let last = format!("GET {target} HTTP/1.0\r\n\r\n");
        let last = Waiting::send_on(socket, last.as_bytes(), false).head();
        assert_eq!(last.head.header("connection"), None);
        last.finish().assert_body(200, &body);
    }
}

#[test]
fn nginx_answers_as_readme_says() {
    let (origin, gateway, body, url) = Scene::of(PATH, archive(5, 5000))
        .gateway(|builder| builder.relay().one_attempt().behind_nginx())
        .start();
    let nginx = Nginx::before(&gateway);
    for (line, fields, status) in [
        ("OPTIONS *".to_owned(), "", 400),
        (format!("CONNECT {}", origin.address()), "", 400),
        (format!("GET /{url}"), "Expect: 200-ok\r\n", 200),
        (
            format!("GET /{url}"),
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            200,
        ),
        (format!("GET {url}"), "Upgrade: h2c\r\n", 200),
        (format!("OPTIONS {url}"), "Max-Forwards: 0\r\n", 200),
        (format!("TRACE {url}"), "", 405),
        (format!("GET /{url}"), "Host: y\r\n", 400),
        (format!("GET /{url}"), "Via: 1.1 mill-test\r\n", 508),
        (format!("GET /?url={url}"), "", 200),
        (format!("GET /{}", url.replace(':', "%3A")), "", 200),
        (
            format!("GET /{}", url.replace(':', "%3A").replace('/', "%2F")),
            "",
            200,
        ),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let answer = send(nginx.addr(), &head).head();
        assert_eq!(answer.head.status, status, "{line} {fields}");
        if status == 200 && line.starts_with("GET") {
            assert_same(&answer.finish_open().1, &body);
        }
    }
}
