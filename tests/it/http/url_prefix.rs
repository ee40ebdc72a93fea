//! The gateway endpoint (URL prefix): spellings of a target, headers of a hit,
//! and refused requests.

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    DATE, Ended, Gateway, NameServer, Origin, Reply, Scene, Waiting, archive, sha256,
};

const NETWORKS: &str = r#"["127.0.0.0/8", "192.0.2.0/24"]"#;
const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn all_spellings_of_target_share_one_object() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(1, 30_000));
    let authority = origin.address().to_string();
    for form in [
        format!("/http://{authority}{PATH}"),
        format!("/http:/{authority}{PATH}"),
        format!("/http/{authority}{PATH}"),
        format!("/download/http://{authority}{PATH}"),
        format!("/download/http:/{authority}{PATH}"),
        format!("/HTTP://{authority}{PATH}"),
        format!("/sha256:{}/http://{authority}{PATH}", sha256(&body)),
        format!("/sha256:{}/http:/{authority}{PATH}", sha256(&body)),
    ] {
        gateway.request("GET", &form).send().assert_body(200, &body);
        gateway.await_stored(&url);
        assert_eq!(
            origin.count(PATH),
            1,
            "{form} caused another origin request"
        );
    }
    assert_eq!(gateway.records_of(&url).len(), 1);
}

#[test]
fn bare_host_name_means_https() {
    // The egress proxy keeps requests for these names on the machine.
    let egress = Origin::start();
    let names = NameServer::start();
    names.serve("files.example.test", &["192.0.2.1"]);
    let gateway = Gateway::builder()
        .port(443)
        .text("fetch.egress_proxy", &egress.url(""))
        .set("dial.nameservers", &format!("[\"{}\"]", names.address()))
        .set("policy.allow_networks", NETWORKS)
        .one_attempt()
        .set("fetch.breaker_failures", "0")
        .start();
    for (form, target) in [
        (
            "/files.example.test/x-1.0.tar.gz",
            "https://files.example.test/x-1.0.tar.gz",
        ),
        (
            "/https://files.example.test/x-2.0.tar.gz",
            "https://files.example.test/x-2.0.tar.gz",
        ),
        (
            "/https:/files.example.test/x-3.0.tar.gz",
            "https://files.example.test/x-3.0.tar.gz",
        ),
        (
            "/https/files.example.test/x-4.0.tar.gz",
            "https://files.example.test/x-4.0.tar.gz",
        ),
        (
            "/Files.Example.TEST/x-5.0.tar.gz",
            "https://files.example.test/x-5.0.tar.gz",
        ),
        (
            "/download/https://files.example.test:443/x-6.0.tar.gz",
            "https://files.example.test/x-6.0.tar.gz",
        ),
    ] {
        let answer = gateway.request("GET", form).wget_agent().send();
        answer.assert_status(302);
        assert_eq!(answer.header("location"), Some(target), "{form}");
        gateway.await_fetch(target);
    }
}

#[test]
fn path_without_target_is_404_with_right_form() {
    let gateway = Gateway::builder().start();
    for path in [
        "/nothing",
        "/pub/linux/x-1.0.tar.gz",
        "/favicon.ico",
        "/files.example.test",
        "/nodots/x-1.0.tar.gz",
        "/ftps://files.example.test/x-1.0.tar.gz",
        "/http://",
        "/http:///x-1.0.tar.gz",
        "/download/",
        "/sha256:abc/http://127.0.0.1/x-1.0.tar.gz",
        "/crc32:abcdef12/http://127.0.0.1/x-1.0.tar.gz",
        "/http://user:secret@127.0.0.1/x-1.0.tar.gz",
        "/http://127.0.0.1/a/../x-1.0.tar.gz",
        "/http://127.0.0.1/a/%2e%2e/x-1.0.tar.gz",
        "/http://127.0.0.1/a%2f..%2fx-1.0.tar.gz",
        "/http://127.0.0.1\\@files.example.test/x-1.0.tar.gz",
    ] {
        let answer = gateway.request("GET", path).send();
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        answer.assert_problem(404);
        assert_eq!(answer.wants("cache-control"), "no-store", "{path}");
        assert!(
            answer.text().contains("https://"),
            "the error for {path} shows the valid form: {}",
            answer.text()
        );
        assert!(
            !answer.text().contains("secret"),
            "the error contains no password: {}",
            answer.text()
        );
        gateway.request("HEAD", path).send().assert_status(404);
    }
}

#[test]
fn malformed_heads_and_forbidden_targets_keep_their_status() {
    let gateway = Gateway::builder().start();
    for head in [
        "GET /%zz nonsense HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /nothing HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHo st: x\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        let answer = Waiting::send(gateway.addr(), head.as_bytes(), false).head();
        assert_eq!(answer.head.status, 400, "{head:?}");
    }
    gateway
        .get("http://10.0.0.1/x-1.0.tar.gz")
        .send()
        .assert_problem(403);
    gateway
        .get("https://example.org:8443/x-1.0.tar.gz")
        .send()
        .assert_problem(403);
    gateway
        .proxied("GET", "/nothing")
        .send()
        .assert_problem(400);
}

#[test]
fn path_and_query_reach_origin_unchanged() {
    let origin = Origin::start();
    let body = archive(2, 2000);
    let gateway = Gateway::relaying(&origin);
    for target in [
        "/x-1.0.tar.gz?b=2&a=1&&c=%2f%2F&d=+~",
        "/x-1.0.tar.gz?a=1&b=2",
        "/x-1.0.tar.gz?b=2&a=1",
        "/x-1.0.tar.gz?",
        "/a//b///x-1.0.tar.gz",
        "/a%2Fb/x%2d1.0.tar.gz",
        "/~user/x+y-1.0.tar.gz",
        "/x-1.0.tar.gz?u=http://127.0.0.1/y&v=/download/http:/",
    ] {
        origin.serve(target, Reply::ok(&body));
        gateway.assert_serves(&origin.url(target), &body);
        origin.request(target);
    }
    assert_eq!(origin.total(), 8, "each spelling is a separate target");
}

#[test]
fn hit_has_documented_headers() {
    let body = archive(3, 70_000);
    let reply = Reply::file(&body)
        .header("Content-Type", "application/x-gzip")
        .header(
            "Content-Disposition",
            "attachment; filename=\"x-7.0.tar.gz\"",
        )
        .header("Set-Cookie", "session=1")
        .header("X-Accel-Redirect", "/secret")
        .header("Cache-Control", "no-store");
    let (_origin, gateway, url) = Scene::replying(PATH, reply);
    let miss = gateway.assert_serves(&url, &body);
    miss.assert_cache(&["fwd=uri-miss", "stored"]);
    gateway.await_stored(&url);
    let hit = gateway.assert_serves(&url, &body);
    hit.assert_cache(&["hit", "detail=disk"]);
    assert_eq!(hit.wants("etag"), format!("\"{}\"", sha256(&body)));
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&body));
    assert_eq!(hit.wants("repr-digest"), format!("sha-256=:{digest}:"));
    assert_eq!(hit.wants("last-modified"), DATE);
    assert_eq!(hit.wants("content-type"), "application/x-gzip");
    assert_eq!(
        hit.wants("content-disposition"),
        "attachment; filename=\"x-7.0.tar.gz\""
    );
    assert_eq!(hit.wants("accept-ranges"), "bytes");
    assert_eq!(hit.wants("content-length"), body.len().to_string());
    assert_eq!(hit.wants("x-content-type-options"), "nosniff");
    for answer in [&miss, &hit] {
        assert_eq!(
            answer.header("set-cookie"),
            None,
            "a cookie belongs to one client"
        );
        assert_eq!(
            answer.header("x-accel-redirect"),
            None,
            "X-Accel headers of an origin are removed"
        );
    }
}

#[test]
fn html_is_never_rendered_by_browser() {
    let page = b"--- <html><script>alert(1)</script></html>"
        .to_vec()
        .into();
    let (_origin, gateway, url) = Scene::replying(
        "/x-1.0.patch",
        Reply::ok(&page).header("Content-Type", "text/html"),
    );
    for _ in 0..2 {
        let answer = gateway.assert_serves(&url, &page);
        assert_eq!(answer.wants("x-content-type-options"), "nosniff");
        assert!(
            answer
                .wants("content-disposition")
                .starts_with("attachment"),
            "the browser saves the file"
        );
        gateway.await_stored(&url);
    }
}

#[test]
fn only_get_and_head_are_accepted() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        let answer = gateway
            .request(method, &format!("/{}", origin.url(PATH)))
            .send();
        answer.assert_problem(405);
        assert!(answer.wants("allow").contains("GET"), "{method}");
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn oversized_target_and_headers_are_refused() {
    let gateway = Gateway::builder().start();
    let long = format!("/http://127.0.0.1/{}-1.0.tar.gz", "x".repeat(9000));
    gateway.request("GET", &long).send().assert_status(414);
    let answer = gateway
        .get("http://127.0.0.1/x-1.0.tar.gz")
        .header("X-Long", &"x".repeat(300_000))
        .send();
    assert!(matches!(answer.status, 400 | 431), "{}", answer.status);
}

#[test]
fn proxy_request_at_gateway_port_gets_hint() {
    let (origin, gateway, url) = Scene::replying(PATH, Reply::ok(&archive(1, 1000)));
    let answer = gateway.request("GET", &url).send();
    answer.assert_problem(421);
    assert!(answer.text().contains("proxy"), "{}", answer.text());
    let answer = gateway
        .request("CONNECT", &origin.address().to_string())
        .send();
    answer.assert_status(421);
    assert_eq!(origin.total(), 0);
}

#[test]
fn absolute_request_for_public_url_is_accepted() {
    let origin = Origin::start();
    let body = archive(1, 5000);
    origin.serve(PATH, Reply::ok(&body));
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("gateway.public_url", "http://mill.example.test");
    let gateway = builder.start();
    let target = format!("http://mill.example.test/{}", origin.url(PATH));
    gateway
        .request("GET", &target)
        .send()
        .assert_body(200, &body);
    gateway
        .request("GET", "http://mill.example.test/healthz")
        .send()
        .assert_status(200);
    gateway
        .request("GET", &origin.url(PATH))
        .send()
        .assert_status(421);
}

#[test]
fn forwarding_loop_is_refused() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    gateway
        .get(&origin.url(PATH))
        .header("Via", "1.1 mill-test")
        .send()
        .assert_problem(508);
    gateway
        .get(&origin.url(PATH))
        .header("Via", "1.1 other, 1.1 mill-test (x)")
        .send()
        .assert_problem(508);
    gateway
        .proxied("GET", &origin.url(PATH))
        .header("Via", "1.1 mill-test")
        .send()
        .assert_problem(508);
    assert_eq!(origin.total(), 0);
    origin.serve(PATH, Reply::ok(&archive(1, 1000)));
    gateway
        .get(&origin.url(PATH))
        .header("Via", "1.1 another-mill")
        .send()
        .assert_status(200);
}

#[test]
fn client_headers_do_not_change_origin_request() {
    let (origin, gateway, body, _) = Scene::relaying(PATH, archive(4, 4000));
    let answer = gateway
        .get(&origin.url(PATH))
        .header("Authorization", "Basic c2VjcmV0")
        .header("Cookie", "session=1")
        .header("Accept-Encoding", "gzip, br")
        .header("Accept", "text/html")
        .header("If-None-Match", "\"other\"")
        .header("If-Modified-Since", DATE)
        .header("X-Forwarded-Host", "evil.example.test")
        .header("X-Original-Url", "/other")
        .header("Origin", "http://evil.example.test")
        .send();
    answer.assert_body(200, &body);
    let asked = origin.request(PATH);
    let silent = [
        "authorization",
        "cookie",
        "if-none-match",
        "if-modified-since",
        "range",
        "x-forwarded-host",
        "x-original-url",
        "origin",
    ];
    for name in silent {
        assert_eq!(asked.header(name), None, "{name} reached the origin");
    }
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    assert_eq!(
        asked.header("host"),
        Some(origin.address().to_string().as_str())
    );
    assert_eq!(
        gateway.await_stored(&origin.url(PATH))["sha256"],
        sha256(&body)
    );
}

#[test]
fn connection_serves_many_requests() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(5, 3000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let one = format!("GET /{url} HTTP/1.1\r\nHost: x\r\n");
    let three = format!("{one}\r\n{one}Range: bytes=0-9\r\n\r\n{one}Connection: close\r\n\r\n");
    let first = Waiting::send(gateway.addr(), three.as_bytes(), false).head();
    let (second, first) = first.next();
    first.assert_body(200, &body);
    let (third, second) = second.next();
    second.assert_body(206, &body[..10]);
    let third = third.finish();
    third.assert_body(200, &body);
    assert_eq!(third.ended, Ended::Whole);
}
