//! Tests of header fields: which are forwarded, which are removed, and which are trusted.

use std::fs;

use crate::harness::{
    Authority, Builder, Gate, Gateway, Origin, Reply, Scene, Tool, archive, sha256,
};

const PASS_THROUGH: &str = "/pub/latest/list.bin";
const IMMUTABLE: &str = "/pub/x-1.0.tar.gz";

#[test]
fn gateway_endpoint_removes_client_steering_headers() {
    let steering = [
        ("Set-Cookie", "session=1"),
        ("Refresh", "0; url=https://example.org/"),
        ("Clear-Site-Data", "\"*\""),
        ("Alt-Svc", "h3=\":443\""),
        ("Strict-Transport-Security", "max-age=31536000"),
    ];
    let reply = Reply::ok(&b"page\n".to_vec().into())
        .header("Content-Type", "text/plain")
        .header("ETag", "\"1\"");
    let (_origin, gateway, url) = Scene::replying(
        PASS_THROUGH,
        steering
            .iter()
            .fold(reply, |reply, (name, value)| reply.header(name, value)),
    );
    for method in ["GET", "HEAD"] {
        let answer = gateway.request(method, &format!("/{url}")).send();
        answer.assert_status(200);
        for (name, _) in steering {
            assert_eq!(answer.header(name), None, "{method}: {name} came through");
        }
        assert_eq!(
            (answer.wants("content-type"), answer.wants("etag")),
            ("text/plain", "\"1\"")
        );
    }
    let proxied = gateway.proxied("GET", &url).send();
    assert_eq!(
        proxied.wants("set-cookie"),
        "session=1",
        "a proxy is transparent"
    );
}

#[test]
fn gateway_endpoint_forwards_only_file_related_headers() {
    let (origin, gateway, url) =
        Scene::replying(PASS_THROUGH, Reply::ok(&b"page\n".to_vec().into()));
    let ends_here = [
        "PRIVATE-TOKEN",
        "JOB-TOKEN",
        "X-JFrog-Art-Api",
        "X-Api-Key",
        "Authorization",
        "Cookie",
        "X-Other",
    ];
    let goes_on = [
        ("Range", "bytes=0-2"),
        ("If-None-Match", "\"2\""),
        ("Accept", "text/plain"),
        ("If-Range", "\"1\""),
    ];
    for method in ["GET", "HEAD"] {
        let request = gateway.request(method, &format!("/{url}"));
        let request = ends_here
            .iter()
            .fold(request, |request, name| request.header(name, "c2VjcmV0"));
        goes_on
            .iter()
            .fold(request, |request, (name, value)| {
                request.header(name, value)
            })
            .send()
            .assert_status(200);
        let asked = origin
            .requests(PASS_THROUGH)
            .pop()
            .expect("the origin was asked");
        assert_eq!(asked.method, method);
        for name in ends_here {
            assert_eq!(asked.header(name), None, "{name} went through");
        }
        for (name, value) in goes_on {
            assert_eq!(asked.header(name), Some(value), "{name}");
        }
    }
}

#[test]
fn second_connection_field_names_hop_by_hop_headers() {
    let reply = Reply::ok(&b"page\n".to_vec().into())
        .header("Connection", "keep-alive")
        .header("Connection", "X-Hop");
    let (origin, gateway, url) = Scene::replying(
        PASS_THROUGH,
        reply.header("X-Hop", "1").header("X-End", "1"),
    );
    let request = gateway.proxied("GET", &url).header("Connection", "close");
    let request = request
        .header("Connection", "X-Client-Hop")
        .header("X-Client-Hop", "1")
        .header("X-Client-End", "1");
    let answer = request.send();
    answer.assert_body(200, b"page\n");
    assert_eq!(
        (answer.header("x-hop"), answer.header("x-end")),
        (None, Some("1"))
    );
    let asked = origin.request(PASS_THROUGH);
    assert_eq!(
        (asked.header("x-client-hop"), asked.header("x-client-end")),
        (None, Some("1"))
    );
}

#[test]
fn unparsable_forwarded_address_is_rejected() {
    let origin = Origin::start();
    origin.serve(IMMUTABLE, Reply::file(&archive(1, 2000)));
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]");
    // The address of the front server itself is allowed.
    let gateway = builder
        .set("policy.allow_clients", "[\"127.0.0.0/8\", \"10.0.0.0/8\"]")
        .start();
    for forwarded in [
        "unknown",
        "_hidden",
        "203.0.113.9:4711",
        "[2001:db8::1]:4711",
        "[2001:db8::1]",
        "\"203.0.113.9\"",
        "10.1.2.3, unknown",
        "10.1.2.3, 203.0.113.9:4711",
        "unknown, 127.0.0.1",
    ] {
        for path in [format!("/{}", origin.url(IMMUTABLE)), "/".to_owned()] {
            let answer = gateway
                .request("GET", &path)
                .header("X-Forwarded-For", forwarded)
                .send();
            assert_eq!(answer.status, 403, "{forwarded} at {path}");
        }
    }
    assert_eq!(origin.total(), 0);
    let readable = gateway
        .get(&origin.url(IMMUTABLE))
        .header("X-Forwarded-For", "unknown, 10.1.2.3")
        .send();
    readable.assert_status(200);
    gateway
        .get(&origin.url(IMMUTABLE))
        .send()
        .assert_status(200);
}

#[test]
fn untrusted_certificate_is_not_retried() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = Origin::start_tls(&authority);
    origin.serve(IMMUTABLE, Reply::file(&archive(2, 2000)));
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("fetch.attempts", "4");
    let gateway = builder.authority(&other).start();
    gateway
        .get(&origin.url(IMMUTABLE))
        .send()
        .assert_problem(502);
    assert_eq!(gateway.await_fetch(&origin.url(IMMUTABLE))["attempts"], 1);
    assert_eq!(
        origin.connections(),
        1,
        "another attempt would bring the same certificate"
    );
    gateway
        .get(&origin.url(PASS_THROUGH))
        .send()
        .assert_problem(502);
    gateway
        .proxied("GET", &origin.url(PASS_THROUGH))
        .send()
        .assert_problem(502);
    assert_eq!(origin.total(), 0);
}

#[test]
fn only_if_cached_never_asks_the_origin() {
    let origin = Origin::start();
    origin.serve(PASS_THROUGH, Reply::ok(&b"page\n".to_vec().into()));
    let gateway = Gateway::relaying(&origin);
    for path in [PASS_THROUGH, "/x-7.0.tar.gz?token=a", IMMUTABLE] {
        let url = origin.url(path);
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            request
                .header("Cache-Control", "only-if-cached")
                .send()
                .assert_problem(504);
        }
        let head = gateway
            .request("HEAD", &format!("/{url}"))
            .header("Cache-Control", "max-age=0, Only-If-Cached");
        head.send().assert_status(504);
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn pass_through_range_beyond_the_end_is_416() {
    let body = archive(3, 10_000);
    let (origin, gateway, url) = Scene::replying(
        PASS_THROUGH,
        Reply::status(416).header("Content-Range", "bytes */10000"),
    );
    gateway
        .get(&url)
        .range("bytes=10000-")
        .send()
        .assert_status(416);
    let proxied = gateway.proxied("GET", &url).range("bytes=10000-").send();
    proxied.assert_status(416);
    assert_eq!(proxied.wants("content-range"), "bytes */10000");

    let folder = tempfile::tempdir().expect("a folder can be created");
    let file = folder.path().join("list.bin");
    fs::write(&file, &body).expect("the folder can be written");
    Tool::wget(folder.path())
        .args(&["-c", &gateway.rewritten(&url)])
        .run()
        .assert_success();
    crate::harness::assert_same(&fs::read(&file).expect("the file exists"), &body);
    let asked = origin
        .requests(PASS_THROUGH)
        .pop()
        .expect("the origin was asked");
    assert_eq!(
        asked.header("range"),
        Some("bytes=10000-"),
        "wget asked for the rest"
    );
}

#[test]
fn if_match_on_miss_is_checked_by_digest() {
    let origin = Origin::start();
    let body = archive(4, 100_000);
    let gateway = Gateway::relaying(&origin);
    let right = format!("\"{}\"", sha256(&body));
    let lists = [
        ("right", &right, 200),
        ("other", &"\"other\"".to_owned(), 412),
        ("any", &"*".to_owned(), 200),
    ];
    for (name, list, status) in lists {
        for (framing, reply) in [
            ("length", Reply::file(&body)),
            ("chunks", Reply::file(&body).chunked()),
        ] {
            let path = format!("/{name}/{framing}/x-7.0.tar.gz");
            origin.serve(&path, reply);
            let get = || {
                gateway
                    .get(&origin.url(&path))
                    .header("If-Match", list)
                    .send()
            };
            let cold = get();
            cold.assert_status(status);
            if status == 200 {
                cold.assert_body(200, &body);
            }
            gateway.await_stored(&origin.url(&path));
            get().assert_status(status);
            assert_eq!(origin.count(&path), 1, "{path}");
        }
    }
}

#[test]
fn miss_joins_fetch_of_request_expecting_md5() {
    let gate = Gate::new();
    let (_origin, gateway, body, url) = Scene::of(IMMUTABLE, archive(5, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .gateway(Builder::one_attempt)
        .start();
    let md5 = hex::encode(<md5::Md5 as md5::Digest>::digest(&body));
    let expecting = gateway.request("GET", &format!("/md5:{md5}/{url}")).start();
    gate.await_reached(1);
    let plain = gateway.get(&url).wget_agent().start();
    gate.open();
    plain.head().finish().assert_body(200, &body);
    expecting.head().finish().assert_body(200, &body);
}

#[test]
fn two_if_range_fields_give_whole_body() {
    let origin = Origin::start();
    let body = archive(6, 20_000);
    for path in [IMMUTABLE, "/cold-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    let gateway = Gateway::relaying(&origin);
    gateway.assert_serves(&origin.url(IMMUTABLE), &body);
    gateway.await_stored(&origin.url(IMMUTABLE));
    let right = format!("\"{}\"", sha256(&body));
    let ranged = |path: &str, tags: &[&str]| {
        let request = gateway.get(&origin.url(path)).range("bytes=0-9");
        tags.iter()
            .fold(request, |request, tag| request.header("If-Range", tag))
            .send()
    };
    ranged(IMMUTABLE, &[&right]).assert_body(206, &body[..10]);
    for tags in [
        ["\"other\"", right.as_str()],
        [right.as_str(), "\"other\""],
        [right.as_str(), right.as_str()],
    ] {
        ranged(IMMUTABLE, &tags).assert_body(200, &body);
    }
    ranged("/cold-1.0.tar.gz", &["\"other\"", "\"another\""]).assert_body(200, &body);
}

#[test]
fn passed_answers_are_attachments() {
    let origin = Origin::start();
    let page = b"<html><script>alert(1)</script></html>".to_vec().into();
    let gateway = Gateway::relaying(&origin);
    for (number, sent, found) in [
        (1, None, "attachment"),
        (2, Some("inline; filename=\"x.html\""), "attachment"),
        (
            3,
            Some("ATTACHMENT; filename=\"x\""),
            "ATTACHMENT; filename=\"x\"",
        ),
        (4, Some("filename=x"), "attachment"),
    ] {
        // A signed URL is passed.
        let path = format!("/page{number}.html?token=a");
        let reply = Reply::ok(&page).header("Content-Type", "text/html");
        origin.serve(
            &path,
            match sent {
                Some(sent) => reply.header("Content-Disposition", sent),
                None => reply,
            },
        );
        for method in ["GET", "HEAD"] {
            let request = gateway.request(method, &format!("/{}", origin.url(&path)));
            let answer = request.send();
            answer.assert_cache(&["fwd=bypass"]);
            assert_eq!(answer.wants("content-disposition"), found);
            let proxied = gateway.proxied(method, &origin.url(&path)).send();
            assert_eq!(proxied.header("content-disposition"), sent);
        }
    }
}
