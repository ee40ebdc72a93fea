//! The proxy endpoint: absolute-form requests are relayed on a miss, streamed on a hit,
//! and never redirected.

use crate::harness::{Gate, Gateway, Origin, Reply, Scene, Waiting, archive, assert_same, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn miss_is_relayed_and_hit_is_streamed() {
    let gate = Gate::new();
    // By default the gateway endpoint redirects to the origin. A redirected
    // proxy client would loop.
    let (origin, gateway, body, url) = Scene::of(PATH, archive(1, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .gateway(|builder| builder)
        .start();
    let mut miss = gateway.proxied("GET", &url).open();
    assert_eq!(miss.head.status, 200);
    miss.head.assert_cache(&["fwd=uri-miss", "stored"]);
    assert_same(&miss.read(100_000), &body[..100_000]);
    gate.open();
    assert_same(&miss.finish().body, &body[100_000..]);
    gateway.await_stored(&url);
    let hit = gateway.proxied("GET", &url).send();
    hit.assert_body(200, &body);
    hit.assert_cache(&["hit", "detail=disk"]);
    assert_eq!(hit.wants("etag"), format!("\"{}\"", sha256(&body)));
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn both_endpoints_share_one_object() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(2, 20_000));
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    let spelled = format!("HTTP://127.0.0.1:{}{PATH}#fragment", origin.port());
    gateway
        .assert_serves(&spelled, &body)
        .assert_cache(&["hit"]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn head_miss_stores_nothing() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(3, 20_000));
    let head = gateway.proxied("HEAD", &url).send();
    head.assert_body(200, b"");
    assert_eq!(head.wants("content-length"), "20000");
    assert_eq!(origin.request(PATH).method, "HEAD");
    gateway.assert_nothing_stored();
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    gateway.await_stored(&url);
    gateway.proxied("HEAD", &url).send().assert_cache(&["hit"]);
    assert_eq!(
        origin.count(PATH),
        2,
        "a HEAD hit is answered from the cache"
    );
}

#[test]
fn error_status_of_origin_is_relayed() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for status in [404, 410, 403, 500, 503] {
        let path = format!("/{status}.tar.gz");
        origin.serve(&path, Reply::status(status));
        gateway
            .proxied("GET", &origin.url(&path))
            .send()
            .assert_status(status);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn origin_form_request_gets_hint() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for path in [
        format!("/{}", origin.url(PATH)),
        "/".to_owned(),
        "/healthz".to_owned(),
        PATH.to_owned(),
    ] {
        let answer = gateway.proxied("GET", &path).send();
        answer.assert_problem(400);
        assert!(answer.text().contains("proxy"), "{}", answer.text());
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn builtin_pages_do_not_hide_origin_paths() {
    let origin = Origin::start();
    origin.serve(
        "/healthz",
        Reply::ok(&b"the origin's own\n".to_vec().into()),
    );
    let gateway = Gateway::relaying(&origin);
    gateway
        .proxied("GET", &origin.url("/healthz"))
        .send()
        .assert_body(200, b"the origin's own\n");
}

#[test]
fn request_smuggling_attempts_are_refused() {
    let (origin, gateway, url) = Scene::replying(PATH, Reply::ok(&archive(4, 100)));
    let host = origin.address();
    for head in [
        format!(
            "POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!(
            "POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\
             Content-Length: 5\r\n\r\nabcde"
        ),
        format!("POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: +4\r\n\r\nabcd"),
        format!(
            "POST {url} HTTP/1.1\r\nHost: {host}\r\n\
             Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
        ),
        format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Folded: a\r\n b\r\n\r\n"),
        format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX Y: a\r\n\r\n"),
        format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Y : a\r\n\r\n"),
        format!("GET {url}\u{1} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ] {
        for address in [gateway.proxy_addr(), gateway.addr()] {
            let answer = Waiting::send(address, head.as_bytes(), false).head_if_any();
            assert!(
                answer.is_none_or(|head| (400..500).contains(&head.status)),
                "{head:?}"
            );
        }
    }
    assert_eq!(origin.total(), 0, "no request reached the origin");
}

#[test]
fn forwarding_loop_is_refused() {
    let origin = Origin::start();
    // Both gateways have the same name. The own address of one would be no loop.
    let inner_gateway = Gateway::relaying(&origin);
    let gateway = Gateway::builder()
        .origin(&origin)
        .port(inner_gateway.addr().port())
        .relay()
        .one_attempt()
        .start();
    let inner = inner_gateway.rewritten(&origin.url(PATH));
    let answer = gateway.proxied("GET", &inner).send();
    assert!((400..600).contains(&answer.status), "{}", answer.status);
    assert_eq!(
        origin.total(),
        0,
        "the inner request is refused because of its Via"
    );
    let inner_answer = inner_gateway.log().wait_for("the inner request", |event| {
        event["message"] == "request" && event["status"] == 508
    });
    assert_eq!(inner_answer["endpoint"], "gateway");
}

#[test]
fn target_overrides_host_header() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(5, 2000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .start();
    let answer = gateway
        .proxied("GET", &origin.url(PATH))
        .header("Host", &other.address().to_string())
        .send();
    if answer.status == 200 {
        assert_same(&answer.body, &body);
        assert_eq!(
            origin.request(PATH).header("host"),
            Some(origin.address().to_string().as_str())
        );
    } else {
        answer.assert_problem(400);
    }
    assert_eq!(other.total(), 0);
}

#[test]
fn http_1_0_clients_are_served() {
    let (origin, gateway, body, _) = Scene::relaying(PATH, archive(6, 20_000));
    origin.serve("/y-1.0.tar.gz", Reply::file(&body).chunked());
    for path in [PATH, "/y-1.0.tar.gz"] {
        for _ in 0..2 {
            gateway
                .proxied("GET", &origin.url(path))
                .http_1_0()
                .send()
                .assert_body(200, &body);
        }
    }
}

#[test]
fn http_1_0_client_detects_cut_body() {
    let (_origin, gateway, _, url) = Scene::of(PATH, archive(7, 50_000))
        .reply(|file| file.chunked().cut_at(30_000))
        .start();
    for request in [gateway.proxied("GET", &url), gateway.get(&url)] {
        let answer = request.http_1_0().send();
        answer.assert_problem(504);
    }
}

#[test]
fn unread_request_body_is_not_parsed_as_request() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(8, 2000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let inner = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\n\r\n",
        origin.url("/smuggled")
    );
    for (address, target) in [
        (gateway.proxy_addr(), url.clone()),
        (gateway.addr(), format!("/{url}")),
    ] {
        let outer = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        );
        let last = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = Waiting::send(address, (outer + &last).as_bytes(), false).head();
        assert!(
            matches!(answer.head.status, 200 | 400),
            "{}",
            answer.head.status
        );
    }
    // The gateway handles this request after any smuggled ones.
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    assert_eq!(origin.count("/smuggled"), 0);
}
