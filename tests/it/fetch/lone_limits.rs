//! Bound on the requests with one host that no other request shares: HEAD, `no-store`, and requests
//! that pass through.

use crate::harness::{Body, Builder, Gate, Gateway, Origin, Reply, Request, Waiting, archive};

/// Requests that are sent alone: a name, the path, and the request for it.
type LoneRequest = (&'static str, &'static str, fn(&Gateway, &str) -> Request);

const LONE_REQUESTS: [LoneRequest; 6] = [
    ("HEAD of a page", "page", |gateway, url| {
        gateway.proxied("HEAD", url)
    }),
    ("HEAD of a file", "x-1.0.tar.gz", |gateway, url| {
        gateway.request("HEAD", &format!("/{url}"))
    }),
    ("no-store", "page", |gateway, url| {
        let request = gateway.proxied("GET", url);
        request.header("Cache-Control", "no-store")
    }),
    ("credentials", "page", |gateway, url| {
        let request = gateway.proxied("GET", url);
        request.header("Authorization", "Basic eDp5")
    }),
    ("signed query", "x?X-Amz-Signature=1", |gateway, url| {
        gateway.request("GET", &format!("/{url}"))
    }),
    ("POST", "page", |gateway, url| {
        gateway.proxied("POST", url).body(b"text")
    }),
];

fn page(content: &str) -> Reply {
    let body: Body = content.as_bytes().to_vec().into();
    Reply::file(&body).conditional()
}

fn relaying(origins: &[&Origin]) -> Builder {
    let builder = Gateway::builder().relay();
    origins
        .iter()
        .fold(builder, |builder, one| builder.origin(one))
}

#[test]
fn per_host_limit_bounds_lone_requests() {
    for (name, path, request) in LONE_REQUESTS {
        let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
        let same_host = Origin::start();
        // One client alone gets three quarters, which is two.
        let gateway = relaying(&[&origin, &same_host, &other]);
        let gateway = gateway.set("fetch.per_host", "3").start();
        let gate = Gate::new();
        let paths: Vec<_> = (0..6).map(|number| format!("/{number}/{path}")).collect();
        for path in &paths {
            origin.serve(path, page("text").gate_before_head(&gate));
        }
        let waiting: Vec<Waiting> = paths
            .iter()
            .map(|path| request(&gateway, &origin.url(path)).start())
            .collect();
        gate.await_reached(2);
        // Another host, shared requests and fetches have permits of their own.
        other.serve(&paths[0], page("other"));
        let answer = request(&gateway, &other.url(&paths[0])).send();
        answer.assert_status(200);
        same_host.serve("/shared/page", page("shared"));
        let shared = gateway.proxied("GET", &same_host.url("/shared/page"));
        shared.send().assert_body(200, b"shared");
        let file = archive(1, 5_000);
        same_host.serve("/file-1.0.tar.gz", Reply::file(&file));
        gateway.assert_serves(&same_host.url("/file-1.0.tar.gz"), &file);
        // A permit is free again once its response begins, which may be before it ends.
        assert_eq!(origin.most_at_once(), 2, "{name}");
        gate.open();
        for waiting in waiting {
            waiting.head().finish().assert_status(200);
        }
    }
}

#[test]
fn long_wait_of_lone_request_ends() {
    let origin = Origin::start();
    let gateway = relaying(&[&origin])
        .set("fetch.per_host", "1")
        .text("fetch.idle_timeout", "300ms")
        .start();
    let gate = Gate::new();
    origin.serve("/stored/page", page("stored"));
    let stored = origin.url("/stored/page");
    gateway
        .proxied("GET", &stored)
        .send()
        .assert_body(200, b"stored");
    origin.serve("/upload", page("text").gate_before_head(&gate));
    // The idle timeout does not apply to a request with a body.
    let upload = gateway.proxied("POST", &origin.url("/upload")).body(b"x");
    let upload = upload.start();
    gate.await_reached(1);
    let waiting = LONE_REQUESTS.map(|(name, path, request)| {
        let path = format!("/late/{path}");
        let waiting = request(&gateway, &origin.url(&path)).start();
        (name, path, waiting)
    });
    let head = gateway.proxied("HEAD", &stored).start();
    for (name, path, waiting) in waiting {
        let answer = waiting.head().finish();
        answer.assert_status(503);
        let cause = answer.wants("proxy-status");
        assert!(
            cause.contains("connection_limit_reached"),
            "{name}: {cause}"
        );
        assert_eq!(origin.count(&path), 0, "{name}");
    }
    let answer = head.head().finish();
    answer.assert_status(200);
    answer.assert_cache(&["hit", "detail=stale"]);
    gate.open();
    upload.head().finish().assert_body(200, b"text");
}

#[test]
fn arriving_body_needs_no_host_permit() {
    let origin = Origin::start();
    let gateway = relaying(&[&origin]).set("fetch.per_host", "1").start();
    let gate = Gate::new();
    let body = archive(1, 200_000);
    origin.serve("/slow", Reply::file(&body).gate_at(100_000, &gate));
    origin.serve("/page", page("text"));
    let lone = |path: &str| {
        let request = gateway.proxied("GET", &origin.url(path));
        request.header("Authorization", "Basic eDp5")
    };
    let slow = lone("/slow").open();
    lone("/page").send().assert_body(200, b"text");
    gate.open();
    slow.finish().assert_body(200, &body);
}
