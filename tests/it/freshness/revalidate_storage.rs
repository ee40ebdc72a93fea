//! Storage of class `revalidate`: its share of the disk, redirects, operators, and what an origin
//! says about reuse.

use crate::harness::{
    Body, FtpServer, Gateway, Origin, Reply, archive, encoded, eventually, sha256,
};

fn page(content: &str) -> Reply {
    let body: Body = content.as_bytes().to_vec().into();
    Reply::file(&body).conditional()
}

#[test]
fn pages_leave_immutable_objects_alone() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder
        // Archives and pages take the same as in 1 MiB, beside their records and observations.
        .text("cache.max_size", "1200KB")
        .set("cache.revalidate_share", "0.175")
        .start();
    let archives: Vec<_> = (0..7).map(|seed| archive(seed, 100_000)).collect();
    for (number, body) in archives.iter().enumerate() {
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(body));
        gateway.assert_serves(&origin.url(&path), body);
        gateway.await_stored(&origin.url(&path));
    }
    for number in 0..60 {
        let path = format!("/pages/{number}");
        let body = archive(1000 + number, 20_000);
        origin.serve(&path, Reply::file(&body));
        let answer = gateway.proxied("GET", &origin.url(&path)).send();
        answer.assert_body(200, &body);
    }
    for body in &archives {
        assert!(gateway.object_path(body).exists(), "an archive was evicted");
    }
    eventually("pages take no more than their share", || {
        (gateway.objects().len() <= 7 + 11).then_some(())
    });
}

#[test]
fn page_beyond_the_share_reaches_each_client() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder
        .text("cache.max_size", "1MiB")
        .set("cache.revalidate_share", "0.01")
        .start();
    let (url, body) = (origin.url("/page"), archive(1, 60_000));
    origin.serve("/page", Reply::file(&body).conditional().chunked());
    // These clients must wait until the page is stored.
    for request in [
        gateway.get(&url).http_1_0(),
        gateway.proxied("GET", &url).header("If-Match", "*"),
        gateway
            .get(&url)
            .header("X-Expected-Sha256", &sha256(&body)),
    ] {
        request.send().assert_body(200, &body);
    }
}

#[test]
fn only_gateway_follows_redirects() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/a/page");
    let redirect = Reply::redirect(302, "../b/page").header("Cache-Control", "max-age=60");
    origin.serve("/a/page", redirect);
    origin.serve(
        "/b/page",
        page("there").header("Cache-Control", "max-age=60"),
    );
    for _ in 0..2 {
        gateway.get(&url).send().assert_body(200, b"there");
        let answer = gateway.proxied("GET", &url).send();
        answer.assert_status(302);
        assert_eq!(answer.wants("location"), "../b/page");
    }
    // The proxy reuses the redirect. The lifetime of the file says nothing about the redirect.
    assert_eq!(origin.count("/a/page"), 3);
    origin.serve("/a/page", Reply::redirect(302, "../c/page"));
    origin.serve("/c/page", page("elsewhere"));
    gateway.get(&url).send().assert_body(200, b"elsewhere");
}

#[test]
fn targeted_cache_control_takes_precedence() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    let reply = page("first").header("Cache-Control", "no-store");
    origin.serve("/page", reply.header("CDN-Cache-Control", "max-age=60"));
    for _ in 0..2 {
        gateway
            .proxied("GET", &url)
            .send()
            .assert_body(200, b"first");
    }
    assert_eq!(origin.count("/page"), 1);
}

#[test]
fn stale_response_is_served_while_it_is_validated() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    let control = ("Cache-Control", "max-age=0, stale-while-revalidate=600");
    origin.serve("/page", page("first").header(control.0, control.1));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    origin.serve("/page", page("second").header(control.0, control.1));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    eventually("the new response is stored", || {
        let answer = gateway.proxied("GET", &url).send();
        (answer.body == b"second").then_some(())
    });
}

#[test]
fn only_if_cached_asks_no_origin() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    origin.serve(
        "/fresh",
        page("fresh").header("Cache-Control", "max-age=60"),
    );
    origin.serve("/stale", page("stale"));
    for (path, first, second) in [("/fresh", 504, 200), ("/stale", 504, 504)] {
        let url = origin.url(path);
        let send = || {
            let request = gateway.proxied("GET", &url);
            request.header("Cache-Control", "only-if-cached").send()
        };
        send().assert_status(first);
        gateway.proxied("GET", &url).send().assert_status(200);
        send().assert_status(second);
        assert_eq!(origin.count(path), 1);
    }
}

#[test]
fn unsafe_method_of_another_host_removes_nothing() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let builder = Gateway::builder().origin(&origin).origin(&other).relay();
    let gateway = builder.start();
    let url = origin.url("/page");
    origin.serve("/page", page("first").header("Cache-Control", "max-age=60"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    other.serve("/x", page("x").header("Location", &url));
    let posted = gateway.proxied("POST", &other.url("/x")).body(b"x").send();
    posted.assert_status(200);
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    assert_eq!(origin.count("/page"), 1);
}

#[test]
fn refreshed_page_answers_whenever_the_origin_is_away() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/keys/release.txt");
    origin.serve(
        "/keys/release.txt",
        page("keys").header("Cache-Control", "no-store"),
    );
    let path = format!("/api/v1/refresh?url={}", encoded(&url));
    gateway.operate("POST", &path).send().assert_status(200);
    let answer = gateway.get(&url).send();
    answer.assert_cache(&["fwd=stale", "fwd-status=304"]);
    origin.stop();
    let answer = gateway.get(&url).send();
    answer.assert_body(200, b"keys");
    answer.assert_cache(&["hit", "detail=stale"]);
}

#[test]
fn operator_removes_a_stored_page() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    origin.serve("/page", page("first").header("Cache-Control", "max-age=60"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    assert_eq!(gateway.objects().len(), 1);
    let path = format!("/api/v1/objects?url={}", encoded(&url));
    gateway.operate("DELETE", &path).send().assert_status(200);
    assert!(gateway.objects().is_empty());
    origin.serve("/page", page("second"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"second");
}

#[test]
fn changed_index_makes_its_companion_stale() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let (index, signature) = ("/dists/stable/Release", "/dists/stable/Release.gpg");
    let fresh = ("Cache-Control", "max-age=600");
    let binary = |seed| archive(seed, 200);
    origin.serve(index, page("first"));
    origin.serve(signature, Reply::file(&binary(1)).header(fresh.0, fresh.1));
    let send = |path: &str| gateway.proxied("GET", &origin.url(path)).send();
    send(index).assert_body(200, b"first");
    send(signature).assert_body(200, &binary(1));
    origin.serve(index, page("second"));
    origin.serve(signature, Reply::file(&binary(2)).header(fresh.0, fresh.1));
    send(signature).assert_body(200, &binary(1));
    send(index).assert_body(200, b"second");
    send(signature).assert_body(200, &binary(2));
}

#[test]
fn offline_rule_does_not_ask_origin() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    origin.serve("/page", page("first"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    gateway.restart_with(|builder| builder.rule("offline = true"));
    let answer = gateway.proxied("GET", &url).send();
    answer.assert_body(200, b"first");
    answer.assert_cache(&["hit", "detail=stale"]);
    assert_eq!(origin.count("/page"), 1);
}

#[test]
fn too_young_version_does_not_replace_stored_one() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.rule("min_age = \"3days\"").start();
    let url = origin.url("/page");
    origin.serve("/page", page("first"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    let body: Body = b"second".to_vec().into();
    origin.serve("/page", Reply::ok(&body).header("Last-Modified", &now));
    let answer = gateway.proxied("GET", &url).send();
    answer.assert_body(200, b"first");
    answer.assert_cache(&["hit", "detail=stale"]);
}

#[test]
fn ftp_index_is_served_stale() {
    let server = FtpServer::start();
    let gateway = Gateway::builder().port(server.port()).relay().start();
    let url = server.url("/pub/ls-lR");
    server.serve("pub/ls-lR", &archive(1, 5000));
    gateway.get(&url).send().assert_body(200, &archive(1, 5000));
    server.serve("pub/ls-lR", &archive(2, 5000));
    gateway.get(&url).send().assert_body(200, &archive(2, 5000));
    drop(server);
    let answer = gateway.get(&url).send();
    answer.assert_body(200, &archive(2, 5000));
    answer.assert_cache(&["hit", "detail=stale"]);
}

#[test]
fn target_lookup_shows_class_and_stored_response() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    for content in ["first", "second"] {
        origin.serve("/page", page(content));
        gateway
            .proxied("GET", &url)
            .send()
            .assert_body(200, content.as_bytes());
    }
    let path = format!("/api/v1/targets?url={}", encoded(&url));
    let shown = gateway.request("GET", &path).send().json();
    assert_eq!(shown["class"], "revalidate");
    let observation = &shown["observations"][0];
    assert_eq!(observation["sha256"], sha256(b"second"));
    assert_eq!(observation["history"][0], sha256(b"first"));
    assert_eq!(
        (&observation["status"], &observation["size_bytes"]),
        (&200.into(), &6.into())
    );
}

#[test]
fn response_to_no_store_request_is_not_stored() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    let alone = || {
        let request = gateway.proxied("GET", &url);
        request.header("Cache-Control", "no-store").send()
    };
    origin.serve("/page", page("first"));
    alone().assert_body(200, b"first");
    assert!(gateway.objects().is_empty());
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    origin.serve("/page", page("second"));
    alone().assert_body(200, b"second");
    assert_eq!(gateway.objects().len(), 1, "only the first body is stored");
    origin.serve("/page", Reply::status(503));
    let answer = alone();
    answer.assert_body(200, b"first");
    answer.assert_cache(&["hit", "detail=stale"]);
}

#[test]
fn head_is_answered_stale_while_origin_is_away() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/page");
    origin.serve("/page", page("first"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    origin.serve("/page", Reply::status(503));
    for request in [
        gateway.proxied("HEAD", &url),
        gateway.request("HEAD", &format!("/{url}")),
    ] {
        let answer = request.send();
        answer.assert_status(200);
        answer.assert_cache(&["hit", "detail=stale"]);
        assert_eq!(answer.wants("content-length"), "5");
    }
}
