//! Pass-through: mutable names, other methods, and requests with credentials.

mod credentials;

use crate::harness::{Gate, Gateway, Origin, Reply, Scene, Tool, archive, assert_same};

const PASS_THROUGH: &str = "/pub/latest/list.bin";
const IMMUTABLE: &str = "/pub/x-1.0.tar.gz";

#[test]
fn targets_of_class_pass_are_streamed_unstored() {
    let origin = Origin::start();
    let (old, new) = (archive(1, 30_000), archive(2, 20_000));
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.rule("class = \"pass\"").start();
    for path in [
        "/page.html",
        "/list.txt",
        "/x.bin",
        "/pub/",
        "/latest/x-7.0.tar.gz",
        "/archive/refs/heads/x-7.0.tar.gz",
        "/archive/main.tar.gz",
        "/archive/master.zip",
        "/dists/Packages.gz",
        "/x-1.0.tar.gz/other",
    ] {
        origin.script(
            path,
            vec![Reply::file(&old), Reply::file(&new), Reply::file(&old)],
        );
        let url = origin.url(path);
        let first = gateway.get(&url).send();
        first.assert_body(200, &old);
        first.assert_cache(&["fwd=bypass"]);
        gateway.get(&url).send().assert_body(200, &new);
        gateway.proxied("GET", &url).send().assert_body(200, &old);
        assert_eq!(origin.count(path), 3, "{path}");
    }
    gateway.assert_nothing_stored();
}

#[test]
fn known_forms_without_suffix_are_stored() {
    let origin = Origin::start();
    let body = archive(3, 5000);
    let gateway = Gateway::relaying(&origin);
    for path in [
        "/project/files/x-1.0.tar.gz/download",
        "/owner/repo/tar.gz/v1.0",
        "/owner/repo/legacy.tar.gz/refs/tags/v1.0",
    ] {
        origin.serve(path, Reply::file(&body));
        gateway.assert_serves(&origin.url(path), &body);
        gateway.await_stored(&origin.url(path));
        gateway
            .assert_serves(&origin.url(path), &body)
            .assert_cache(&["hit"]);
    }
}

#[test]
fn pass_through_body_is_streamed() {
    let origin = Origin::start();
    let body = archive(4, 100_000);
    for (path, reply) in [
        ("/a.bin", Reply::ok(&body)),
        ("/b.bin", Reply::ok(&body).chunked()),
    ] {
        for endpoint in ["gateway", "proxy"] {
            let path = format!("{path}?{endpoint}");
            let gate = Gate::new();
            origin.serve(&path, reply.clone().gate_at(50_000, &gate));
            let gateway = Gateway::relaying(&origin);
            let url = origin.url(&path);
            let request = if endpoint == "proxy" {
                gateway.proxied("GET", &url)
            } else {
                gateway.get(&url)
            };
            let mut answer = request.open();
            assert_same(&answer.read(50_000), &body[..50_000]);
            gate.open();
            answer.finish().assert_body(200, &body[50_000..]);
        }
    }
}

#[test]
fn client_disconnect_aborts_pass_through() {
    let body = archive(5, 16 << 20);
    let (_origin, gateway, url) = Scene::replying(PASS_THROUGH, Reply::ok(&body));
    let mut answer = gateway.proxied("GET", &url).open();
    answer.read(1000);
    drop(answer);
    let event = gateway.log().wait_for("the request", |event| {
        crate::harness::is_request_of(event, PASS_THROUGH)
    });
    assert_eq!(event["completion"], "aborted");
}

#[test]
fn origin_handles_ranges_and_conditions_of_pass_through() {
    let (origin, gateway, body, url) = Scene::relaying(PASS_THROUGH, archive(6, 10_000));
    let answer = gateway.proxied("GET", &url).range("bytes=100-199").send();
    answer.assert_body(206, &body[100..200]);
    assert_eq!(answer.wants("content-range"), "bytes 100-199/10000");
    origin.serve("/same.bin", Reply::status(304).header("ETag", "\"x\""));
    let same = gateway
        .proxied("GET", &origin.url("/same.bin"))
        .header("If-None-Match", "\"x\"")
        .send();
    same.assert_status(304);
    assert_eq!(same.wants("etag"), "\"x\"");
    assert_eq!(
        origin.request("/same.bin").header("if-none-match"),
        Some("\"x\"")
    );
}

#[test]
fn other_methods_pass_through_with_body() {
    let origin = Origin::start();
    let sent = archive(7, 70_000);
    let gateway = Gateway::relaying(&origin);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for chunked in [false, true] {
            let path = format!("/{method}-{chunked}-1.0.tar.gz");
            let answer = b"{\"done\":true}\n".to_vec();
            origin.serve(
                &path,
                Reply::ok(&answer.clone().into()).header("X-Own", "kept"),
            );
            let request = gateway
                .proxied(method, &origin.url(&path))
                .header("Content-Type", "application/x-own");
            let request = if chunked {
                request.chunked_body(&sent)
            } else {
                request.body(&sent)
            };
            let got = request.send();
            got.assert_body(200, &answer);
            assert_eq!(got.wants("x-own"), "kept");
            got.assert_cache(&["fwd=bypass"]);
            let asked = origin.request(&path);
            assert_eq!(asked.method, method);
            assert_eq!(asked.header("content-type"), Some("application/x-own"));
            assert_same(&asked.body, &sent);
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn put_does_not_change_stored_target() {
    let (_origin, gateway, body, url) = Scene::relaying(IMMUTABLE, archive(8, 5000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for method in ["PUT", "POST", "DELETE"] {
        gateway
            .proxied(method, &url)
            .body(b"other bytes")
            .send()
            .assert_status(200);
    }
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(gateway.records_of(&url).len(), 1);
}

#[test]
fn curl_posts_large_body_through_proxy() {
    let sent = archive(9, 3 << 20);
    let (origin, gateway, url) = Scene::replying("/upload", Reply::ok(&b"taken\n".to_vec().into()));
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("body"), &sent).expect("the folder can be written");
    let proxy = format!("http://{}", gateway.proxy_addr());
    let curl = Tool::curl(folder.path()).args(&[
        "-f",
        "--proxy",
        &proxy,
        "--data-binary",
        "@body",
        "-H",
        "Expect: 100-continue",
    ]);
    let run = curl.arg(&url).run();
    run.assert_success();
    assert_eq!(run.stdout, "taken\n");
    assert_same(&origin.request("/upload").body, &sent);
}

#[test]
fn hop_by_hop_headers_are_removed() {
    let reply = Reply::ok(&b"page\n".to_vec().into());
    let reply = reply
        .header("Connection", "X-Hop")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("X-End", "1");
    let (origin, gateway, url) = Scene::replying(PASS_THROUGH, reply);
    let answer = gateway
        .proxied("GET", &url)
        .header("Connection", "close, X-Client-Hop, Upgrade")
        .header("X-Client-Hop", "1")
        .header("Proxy-Authorization", "Basic c2VjcmV0")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("Upgrade", "h2c")
        .header("X-Client-End", "1")
        .send();
    answer.assert_body(200, b"page\n");
    for name in ["x-hop", "keep-alive"] {
        assert_eq!(answer.header(name), None, "{name} reached the client");
    }
    assert_eq!(answer.wants("x-end"), "1");
    let asked = origin.request(PASS_THROUGH);
    for name in [
        "x-client-hop",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
    ] {
        assert_eq!(asked.header(name), None, "{name} reached the origin");
    }
    assert_eq!(asked.header("x-client-end"), Some("1"));
    assert!(
        asked
            .header("via")
            .is_some_and(|via| via.contains("mill-test")),
        "Via names the gateway: {asked:?}"
    );
}

#[test]
fn proxy_keeps_pass_through_response_unchanged() {
    let reply = Reply::redirect(302, "/login")
        .header("Set-Cookie", "session=1")
        .header("Cache-Control", "private");
    let (origin, gateway, url) = Scene::replying("/page", reply.header("X-Accel-Buffering", "no"));
    let answer = gateway.proxied("GET", &url).send();
    answer.assert_status(302);
    assert_eq!(answer.wants("location"), "/login");
    assert_eq!(answer.wants("set-cookie"), "session=1");
    assert_eq!(answer.wants("cache-control"), "private");
    assert_eq!(
        answer.header("x-accel-buffering"),
        None,
        "X-Accel headers of an origin are removed"
    );
    assert_eq!(origin.count("/login"), 0);
}

#[test]
fn html_from_gateway_endpoint_is_never_rendered() {
    let page = b"<html><script>alert(1)</script></html>".to_vec();
    let (_origin, gateway, url) = Scene::replying(
        "/page.html",
        Reply::ok(&page.clone().into()).header("Content-Type", "text/html"),
    );
    let answer = gateway.assert_serves(&url, &page);
    assert_eq!(answer.wants("x-content-type-options"), "nosniff");
    let is_saved = answer
        .header("content-disposition")
        .is_some_and(|value| value.starts_with("attachment"));
    let is_caged = answer
        .header("content-security-policy")
        .is_some_and(|value| value.contains("sandbox"));
    assert!(is_saved || is_caged, "{:?}", answer.head);
}

#[test]
fn http_1_0_pass_through_needs_known_length() {
    let origin = Origin::start();
    let (small, large) = (archive(20, 100_000), archive(21, 3 << 20));
    origin.serve("/latest/small", Reply::ok(&small).chunked());
    origin.serve("/latest/large", Reply::ok(&large).chunked());
    origin.serve("/latest/cut", Reply::ok(&small).chunked().cut_at(50_000));
    let gateway = Gateway::relaying(&origin);
    let requests_at_both_ports = |path: &str| {
        [
            gateway.get(&origin.url(path)).http_1_0(),
            gateway.proxied("GET", &origin.url(path)).http_1_0(),
        ]
    };
    for request in requests_at_both_ports("/latest/small") {
        let answer = request.send();
        answer.assert_body(200, &small);
        assert_eq!(answer.wants("content-length"), "100000");
    }
    for request in requests_at_both_ports("/latest/large") {
        request.send().assert_problem(400);
    }
    for request in requests_at_both_ports("/latest/cut") {
        request.send().assert_problem(504);
    }
}

#[test]
fn status_101_from_origin_gives_502() {
    let (_origin, gateway, url) = Scene::replying(
        "/latest/x",
        Reply::status(101)
            .header("Upgrade", "x")
            .header("Connection", "Upgrade"),
    );
    for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
        request.send().assert_problem(502);
    }
}
