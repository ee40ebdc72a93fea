//! Bound on the exchanges with one host about responses that may change.

use std::time::Duration;

use crate::harness::{Body, Gate, Gateway, Origin, Reply, Waiting};

fn page(content: &str) -> Reply {
    let body: Body = content.as_bytes().to_vec().into();
    Reply::file(&body).conditional()
}

/// Returns a response whose body takes several seconds, a piece at a time.
fn slow() -> Reply {
    let body: Body = vec![b'x'; 200_000].into();
    Reply::file(&body).drip(2_000, Duration::from_millis(50))
}

#[test]
fn per_host_limit_bounds_exchanges() {
    for (limit, stored) in [("global", false), ("global", true), ("rule", false)] {
        let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
        let builder = Gateway::builder().origin(&origin).origin(&other).relay();
        let gateway = match limit {
            // One client alone gets three quarters, which is two.
            "global" => builder.set("fetch.per_host", "3").start(),
            _ => builder.rule("host = \"127.0.0.1\"\nper_host = 3").start(),
        };
        let gate = Gate::new();
        let paths: Vec<_> = (0..8).map(|number| format!("/{number}/page")).collect();
        for path in &paths {
            if stored {
                origin.serve(path, page("text"));
                gateway
                    .proxied("GET", &origin.url(path))
                    .send()
                    .assert_body(200, b"text");
            }
            origin.serve(path, page("text").gate_before_head(&gate));
        }
        let waiting: Vec<Waiting> = paths
            .iter()
            .map(|path| gateway.proxied("GET", &origin.url(path)).start())
            .collect();
        gate.await_reached(2);
        // Another host has permits of its own.
        for number in 0..4 {
            let path = format!("/{number}/page");
            other.serve(&path, page("other"));
            gateway
                .proxied("GET", &other.url(&path))
                .send()
                .assert_body(200, b"other");
        }
        gate.open();
        for waiting in waiting {
            waiting.head().finish().assert_body(200, b"text");
        }
        assert_eq!(origin.most_at_once(), 2, "{limit}, stored: {stored}");
    }
}

#[test]
fn long_wait_for_host_answers_stale() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder
        .set("fetch.per_host", "1")
        .text("fetch.idle_timeout", "300ms")
        .start();
    for (path, reply) in [
        ("/stored/page", page("stored")),
        (
            "/strict/page",
            page("strict").header("Cache-Control", "must-revalidate"),
        ),
        ("/new/page", page("new")),
        ("/slow/page", slow()),
    ] {
        origin.serve(path, reply);
    }
    let get = |path: &str| gateway.proxied("GET", &origin.url(path));
    get("/stored/page").send().assert_body(200, b"stored");
    get("/strict/page").send().assert_body(200, b"strict");
    let slow = get("/slow/page").open();
    let waiting: Vec<_> = ["/stored/page", "/strict/page", "/new/page"]
        .map(|path| get(path).start())
        .into();
    for (waiting, stale) in waiting.into_iter().zip([true, false, false]) {
        let answer = waiting.head().finish();
        if stale {
            answer.assert_body(200, b"stored");
            answer.assert_cache(&["hit", "detail=stale"]);
        } else {
            answer.assert_status(503);
            assert!(
                answer
                    .wants("proxy-status")
                    .contains("connection_limit_reached")
            );
        }
    }
    assert_eq!(origin.count("/new/page"), 0);
    drop(slow);
}

#[test]
fn fetches_and_exchanges_have_separate_permits() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.set("fetch.per_host", "1").start();
    let gate = Gate::new();
    let body = crate::harness::archive(1, 20_000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body).gate_at(10_000, &gate));
    origin.serve("/page", page("text"));
    let fetch = gateway.proxied("GET", &origin.url("/x-1.0.tar.gz")).start();
    gate.await_reached(1);
    gateway
        .proxied("GET", &origin.url("/page"))
        .send()
        .assert_body(200, b"text");
    gate.open();
    fetch.head().finish().assert_body(200, &body);
}
