//! Range requests on a hit (RFC 9110, section 14).

use crate::harness::{
    DATE, DAY_AFTER, DAY_BEFORE, Gateway, Origin, Reply, Request, Scene, archive, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 100_000;

/// A gateway that has stored a body of [`SIZE`] bytes, with the origin of the body.
struct Stored {
    gateway: Gateway,
    origin: Origin,
    body: crate::harness::Body,
}

impl Stored {
    fn new() -> Self {
        let origin = Origin::start();
        let body = archive(1, SIZE);
        origin.serve(PATH, Reply::file(&body));
        let gateway = Gateway::relaying(&origin);
        gateway.assert_serves(&origin.url(PATH), &body);
        gateway.await_stored(&origin.url(PATH));
        Self {
            gateway,
            origin,
            body,
        }
    }

    /// Returns the same request at both endpoints.
    fn requests_at_both_ports(&self, method: &str) -> [Request; 2] {
        let url = self.origin.url(PATH);
        [
            self.gateway.request(method, &format!("/{url}")),
            self.gateway.proxied(method, &url),
        ]
    }

    fn etag(&self) -> String {
        format!("\"{}\"", sha256(&self.body))
    }

    #[track_caller]
    fn assert_part(&self, request: &Request, first: usize, last: usize) {
        let answer = request.send();
        answer.assert_body(206, &self.body[first..=last]);
        assert_eq!(
            answer.wants("content-range"),
            format!("bytes {first}-{last}/{SIZE}")
        );
        assert_eq!(
            answer.wants("content-length"),
            (last - first + 1).to_string()
        );
        assert_eq!(answer.wants("etag"), self.etag());
        assert_eq!(answer.wants("last-modified"), DATE);
        answer.assert_cache(&["hit"]);
    }

    #[track_caller]
    fn assert_whole(&self, request: &Request) {
        let answer = request.send();
        answer.assert_body(200, &self.body);
        assert_eq!(
            answer.header("content-range"),
            None,
            "a 200 has no Content-Range"
        );
        assert_eq!(answer.wants("accept-ranges"), "bytes");
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.origin.count(PATH), 1, "a hit never asks the origin");
        }
    }
}

#[test]
fn single_range_is_served() {
    let stored = Stored::new();
    let end = SIZE - 1;
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=5-5", 5, 5),
        ("bytes=100-", 100, end),
        ("bytes=0-", 0, end),
        ("bytes=-1", end, end),
        ("bytes=-500", SIZE - 500, end),
        ("bytes=-100000", 0, end),
        ("bytes=-100001", 0, end),
        ("bytes=-99999999999999999999999999", 0, end),
        ("bytes=99999-99999", end, end),
        ("bytes=99999-", end, end),
        ("bytes=99990-100000", SIZE - 10, end),
        ("bytes=0-99999999999999999999999999", 0, end),
        ("bytes=65535-65536", 65_535, 65_536),
        ("BYTES=1-2", 1, 2),
    ] {
        for request in stored.requests_at_both_ports("GET") {
            stored.assert_part(&request.range(range), first, last);
        }
    }
}

#[test]
fn unsatisfiable_range_gives_416_with_length() {
    let stored = Stored::new();
    for range in [
        "bytes=100000-",
        "bytes=100000-100001",
        "bytes=999999-",
        "bytes=-0",
        "bytes=99999999999999999999999999-",
    ] {
        for request in stored.requests_at_both_ports("GET") {
            let answer = request.range(range).send();
            answer.assert_status(416);
            assert_eq!(
                answer.wants("content-range"),
                format!("bytes */{SIZE}"),
                "{range}"
            );
            assert!(answer.body.len() < 1000, "no object data is sent");
        }
    }
}

#[test]
fn unsupported_range_is_ignored() {
    let stored = Stored::new();
    for range in [
        "bytes=0-99,200-299",
        "bytes=0-0,-1",
        "bytes=99-0",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-2x",
        "bytes=+1-2",
        "bytes=1",
        "bytes",
        "0-99",
        "items=0-99",
        "bytes=0x0-0x9",
    ] {
        for request in stored.requests_at_both_ports("GET") {
            stored.assert_whole(&request.range(range));
        }
    }
}

#[test]
fn if_range_requires_matching_validator() {
    let stored = Stored::new();
    let etag = stored.etag();
    for request in stored.requests_at_both_ports("GET") {
        let part = request.range("bytes=10-19");
        stored.assert_part(&part.clone().header("If-Range", &etag), 10, 19);
        stored.assert_part(&part.clone().header("If-Range", DATE), 10, 19);
        let weak = format!("W/{etag}");
        let unquoted = sha256(&stored.body);
        for other in [
            "\"other\"",
            &weak,
            &unquoted,
            DAY_BEFORE,
            DAY_AFTER,
            "yesterday",
            "",
        ] {
            stored.assert_whole(&part.clone().header("If-Range", other));
        }
    }
    for request in stored.requests_at_both_ports("GET") {
        // `If-Range` without `Range` is ignored.
        stored.assert_whole(&request.header("If-Range", &etag));
    }
}

#[test]
fn failed_if_range_overrides_unsatisfiable_range() {
    let stored = Stored::new();
    for request in stored.requests_at_both_ports("GET") {
        stored.assert_whole(
            &request
                .range("bytes=999999-")
                .header("If-Range", "\"other\""),
        );
    }
}

#[test]
fn head_ignores_ranges() {
    let stored = Stored::new();
    for request in stored.requests_at_both_ports("HEAD") {
        for request in [
            request.clone(),
            request.clone().range("bytes=0-9"),
            request.range("bytes=999999-"),
        ] {
            let answer = request.send();
            answer.assert_body(200, b"");
            assert_eq!(answer.wants("content-length"), SIZE.to_string());
            assert_eq!(answer.wants("etag"), stored.etag());
            assert_eq!(answer.wants("accept-ranges"), "bytes");
            assert_eq!(answer.wants("last-modified"), DATE);
            assert_eq!(answer.header("content-range"), None);
            answer.assert_cache(&["hit"]);
        }
    }
}

#[test]
fn every_range_of_small_body_is_correct() {
    let body = b"0123456789".to_vec();
    let (_origin, gateway, url) = Scene::replying("/x-1.0.iso", Reply::file(&body.clone().into()));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for first in 0..=11 {
        for last in first..=11 {
            let answer = gateway
                .get(&url)
                .range(&format!("bytes={first}-{last}"))
                .send();
            if first < 10 {
                answer.assert_body(206, &body[first..=last.min(9)]);
            } else {
                answer.assert_status(416);
            }
        }
        let suffix = gateway.get(&url).range(&format!("bytes=-{first}")).send();
        if first == 0 {
            suffix.assert_status(416);
        } else {
            suffix.assert_body(206, &body[10_usize.saturating_sub(first)..]);
        }
    }
}

#[test]
fn empty_body_has_no_satisfiable_range() {
    let origin = Origin::start();
    origin.serve("/empty-1.0.txt", Reply::file(&Vec::new().into()));
    let rule = "path_suffix = \".txt\"\nclass = \"immutable\"";
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .rule(rule)
        .start();
    let url = origin.url("/empty-1.0.txt");
    gateway.assert_serves(&url, b"");
    gateway.await_stored(&url);
    gateway.assert_serves(&url, b"").assert_cache(&["hit"]);
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let answer = gateway.get(&url).range(range).send();
        answer.assert_status(416);
        assert_eq!(answer.wants("content-range"), "bytes */0");
    }
}
