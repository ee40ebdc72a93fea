//! Responses of origins in a transfer coding: only `chunked` is undone (RFC 9112, section 7),
//! everything else is refused.

use std::time::Duration;

use crate::harness::{Builder, Gateway, Origin, Reply, archive};

const FETCHED: &str = "/pub/x-1.0.tar.gz";
const PASS_THROUGH: &str = "/pub/latest/list.bin";

/// `Transfer-Encoding` field lines that Millpond does not undo.
const REFUSED: [&[&str]; 14] = [
    &["gzip, chunked"],
    &["gzip,chunked"],
    &["gzip"],
    &["deflate, chunked"],
    &["chunked, chunked"],
    &["chunked, gzip"],
    &["chunked,"],
    &["chunked;q=1"],
    &["identity"],
    &["xchunked"],
    &["x-unknown, chunked"],
    &["chunked", "chunked"],
    &["gzip", "chunked"],
    &[""],
];

fn gateway(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .set("fetch.attempts", "3")
}

#[test]
fn coded_response_is_refused_on_both_ports() {
    let origin = Origin::start();
    let body = archive(1, 20_000);
    let gateway = gateway(&origin).start();
    for (number, lines) in REFUSED.into_iter().enumerate() {
        for path in [FETCHED, PASS_THROUGH] {
            for port in ["gateway", "proxy"] {
                let path = format!("/{number}/{port}{path}");
                let url = origin.url(&path);
                origin.serve(&path, Reply::file(&body).transfer_encoding(lines));
                let request = if port == "proxy" {
                    gateway.proxied("GET", &url)
                } else {
                    gateway.get(&url)
                };
                let answer = request.send();
                assert_eq!(answer.status, 502, "{lines:?} {path}");
                answer.assert_problem(502);
                assert!(
                    answer.text().contains("Transfer-Encoding"),
                    "{}",
                    answer.text()
                );
                assert_eq!(
                    origin.count(&path),
                    1,
                    "a response that is invalid is not asked for again"
                );
            }
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn coded_response_to_head_is_refused() {
    let origin = Origin::start();
    origin.serve(
        FETCHED,
        Reply::file(&archive(2, 2000)).transfer_encoding(&["gzip, chunked"]),
    );
    let gateway = gateway(&origin).start();
    gateway
        .proxied("HEAD", &origin.url(FETCHED))
        .send()
        .assert_status(502);
}

#[test]
fn coded_redirect_is_refused() {
    let origin = Origin::start();
    origin.serve(FETCHED, Reply::file(&archive(3, 2000)));
    for path in ["/old/x-1.0.tar.gz", "/old/latest/x.bin"] {
        origin.serve(
            path,
            Reply::redirect(302, FETCHED).transfer_encoding(&["gzip, chunked"]),
        );
        gateway(&origin)
            .start()
            .get(&origin.url(path))
            .send()
            .assert_problem(502);
    }
    assert_eq!(origin.count(FETCHED), 0);
}

#[test]
fn coded_response_behind_redirect_is_refused() {
    let origin = Origin::start();
    origin.serve(
        FETCHED,
        Reply::file(&archive(3, 2000)).transfer_encoding(&["gzip, chunked"]),
    );
    let gateway = gateway(&origin).start();
    for path in ["/old/x-1.0.tar.gz", "/old/latest/x.bin"] {
        origin.serve(path, Reply::redirect(302, FETCHED));
        gateway.get(&origin.url(path)).send().assert_problem(502);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn coded_response_makes_the_mirror_serve() {
    let (origin, mirror) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(4, 20_000);
    origin.serve(
        FETCHED,
        Reply::file(&body).transfer_encoding(&["gzip, chunked"]),
    );
    mirror.serve(FETCHED, Reply::file(&body));
    let rule = format!(
        "host = \"127.0.0.1\"\nmirrors = [{:?}]",
        mirror.url("/{path}")
    );
    let gateway = gateway(&origin).origin(&mirror).rule(&rule).start();
    gateway.assert_serves(&origin.url(FETCHED), &body);
    gateway.await_stored(&origin.url(FETCHED));
    assert_eq!((origin.total(), mirror.total()), (1, 1));
}

#[test]
fn chunked_is_accepted_in_any_case() {
    let origin = Origin::start();
    let body = archive(5, 20_000);
    let gateway = gateway(&origin).start();
    for (number, coding) in ["chunked", "Chunked", "CHUNKED", "  chunked\t "]
        .into_iter()
        .enumerate()
    {
        for path in [FETCHED, PASS_THROUGH] {
            let path = format!("/{number}{path}");
            origin.serve(&path, Reply::file(&body).transfer_encoding(&[coding]));
            gateway.assert_serves(&origin.url(&path), &body);
            gateway
                .proxied("GET", &origin.url(&path))
                .send()
                .assert_body(200, &body);
        }
    }
}

#[test]
fn chunked_overrides_content_length() {
    let origin = Origin::start();
    let body = archive(6, 20_000);
    let gateway = gateway(&origin).start();
    for length in ["1000", "20007"] {
        for path in [FETCHED, PASS_THROUGH] {
            let path = format!("/{length}{path}");
            origin.serve(
                &path,
                Reply::file(&body)
                    .chunked()
                    .header("Content-Length", length),
            );
            for request in [
                gateway.get(&origin.url(&path)),
                gateway.proxied("GET", &origin.url(&path)),
            ] {
                let answer = request.send();
                answer.assert_body(200, &body);
                assert_ne!(answer.header("content-length"), Some(length));
            }
        }
    }
}

#[test]
fn coded_response_of_http_1_0_is_refused() {
    let origin = Origin::start();
    let gateway = gateway(&origin).start();
    let length = &["chunked\r\nContent-Length: 2000"][..];
    for (number, lines) in REFUSED.into_iter().chain([length]).enumerate() {
        for path in [FETCHED, PASS_THROUGH] {
            let path = format!("/{number}{path}");
            let reply = Reply::file(&archive(7, 2000)).transfer_encoding(lines);
            origin.serve(&path, reply.http_1_0());
            let url = origin.url(&path);
            gateway.get(&url).send().assert_problem(502);
            gateway.proxied("GET", &url).send().assert_problem(502);
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn chunked_response_of_http_1_0_is_accepted() {
    let origin = Origin::start();
    let body = archive(8, 20_000);
    let gateway = gateway(&origin).start();
    let chunked = |body| Reply::file(body).chunked().http_1_0();
    let kept_alive = chunked(&body).header("Connection", "keep-alive");
    let cut = chunked(&body).cut_at(9000);
    let moved = "/whole-2.0.gz";
    origin.serve(moved, chunked(&body));
    let redirect = Reply::redirect(302, moved).chunked().http_1_0();
    for (name, replies) in [
        ("whole", vec![chunked(&body)]),
        ("keep-alive", vec![kept_alive.clone(), kept_alive]),
        ("drip", vec![chunked(&body).drip(7000, Duration::ZERO)]),
        ("cut", vec![cut, chunked(&body)]),
        ("moved", vec![redirect]),
    ] {
        let path = format!("/{name}-1.0.gz");
        origin.script(&path, replies);
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
    for path in ["/1/page?token=a", "/2/page?token=a"] {
        origin.serve(path, chunked(&body).header("Connection", "keep-alive"));
        let answer = gateway.proxied("GET", &origin.url(path)).send();
        answer.assert_body(200, &body);
        assert_eq!(answer.wants("via"), "1.0 mill-test");
    }
    // The end of such a body is not trusted for the next response.
    assert_eq!(origin.connections(), origin.total());
}
