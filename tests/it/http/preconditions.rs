//! Tests of conditional requests on a hit (RFC 9110, section 13).

use crate::harness::{
    Answer, Body, DATE, DAY_AFTER, DAY_BEFORE, Ended, Gateway, Origin, Reply, Scene, archive,
    sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

struct Stored {
    gateway: Gateway,
    url: String,
    body: Body,
    _origin: Origin,
}

impl Stored {
    fn new() -> Self {
        let origin = Origin::start();
        let body = archive(1, 10_000);
        origin.serve(PATH, Reply::file(&body));
        let gateway = Gateway::relaying(&origin);
        let url = origin.url(PATH);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        Self {
            gateway,
            url,
            body,
            _origin: origin,
        }
    }

    fn etag(&self) -> String {
        format!("\"{}\"", sha256(&self.body))
    }

    /// Sends a request with these headers to both endpoints, as GET and as HEAD, and asserts the
    /// status of each response.
    #[track_caller]
    fn assert_all(&self, status: u16, headers: &[(&str, &str)]) {
        for method in ["GET", "HEAD"] {
            let requests_at_both_ports = [
                self.gateway.request(method, &format!("/{}", self.url)),
                self.gateway.proxied(method, &self.url),
            ];
            for bare in requests_at_both_ports {
                let request = headers
                    .iter()
                    .fold(bare, |request, (name, value)| request.header(name, value));
                let answer = request.send();
                assert_eq!(answer.status, status, "{method} with {headers:?}");
                self.assert_shape(method, &answer);
            }
        }
    }

    #[track_caller]
    fn assert_shape(&self, method: &str, answer: &Answer) {
        match answer.status {
            200 if method == "GET" => answer.assert_body(200, &self.body),
            200 => answer.assert_body(200, b""),
            304 => {
                assert!(answer.body.is_empty(), "304 has no body");
                assert_eq!(answer.ended, Ended::Whole);
                assert_eq!(answer.wants("etag"), self.etag());
                answer.assert_cache(&["hit"]);
            }
            412 => assert!(answer.body.len() < 1000, "nothing of the object is sent"),
            other => panic!("{other} is not a valid status for a precondition"),
        }
    }
}

#[test]
fn matching_if_none_match_is_304() {
    let stored = Stored::new();
    let etag = stored.etag();
    for same in [
        &etag,
        &format!("W/{etag}"),
        "*",
        &format!("\"a\", {etag}"),
        &format!("\"a,b\",W/\"c\",{etag},\"d\""),
    ] {
        stored.assert_all(304, &[("If-None-Match", same)]);
    }
    for other in [
        "\"other\"",
        "W/\"other\"",
        &sha256(&stored.body),
        "\"\"",
        &format!("\"{}\"", &etag[1..10]),
    ] {
        stored.assert_all(200, &[("If-None-Match", other)]);
    }
    stored.assert_all(
        304,
        &[("If-None-Match", "\"other\""), ("If-None-Match", &etag)],
    );
}

#[test]
fn if_modified_since_is_304_unless_modified() {
    let stored = Stored::new();
    for same in [
        DATE,
        DAY_AFTER,
        "Monday, 01-Jan-24 00:00:00 GMT",
        "Mon Jan  1 00:00:00 2024",
    ] {
        stored.assert_all(304, &[("If-Modified-Since", same)]);
    }
    for other in [DAY_BEFORE, "yesterday", "", "1704067200"] {
        stored.assert_all(200, &[("If-Modified-Since", other)]);
    }
}

#[test]
fn if_none_match_precedes_if_modified_since() {
    let stored = Stored::new();
    let etag = stored.etag();
    stored.assert_all(
        200,
        &[
            ("If-None-Match", "\"other\""),
            ("If-Modified-Since", DAY_AFTER),
        ],
    );
    stored.assert_all(
        304,
        &[("If-None-Match", &etag), ("If-Modified-Since", DAY_BEFORE)],
    );
}

#[test]
fn mismatching_if_match_is_412() {
    let stored = Stored::new();
    let etag = stored.etag();
    for same in [&etag, "*", &format!("\"a\", {etag}")] {
        stored.assert_all(200, &[("If-Match", same)]);
    }
    for other in ["\"other\"", &format!("W/{etag}")] {
        stored.assert_all(412, &[("If-Match", other)]);
    }
}

#[test]
fn if_unmodified_since_is_412_if_modified() {
    let stored = Stored::new();
    for same in [DATE, DAY_AFTER, "yesterday"] {
        stored.assert_all(200, &[("If-Unmodified-Since", same)]);
    }
    stored.assert_all(412, &[("If-Unmodified-Since", DAY_BEFORE)]);
}

#[test]
fn if_match_precedes_all_other_preconditions() {
    let stored = Stored::new();
    let etag = stored.etag();
    stored.assert_all(
        200,
        &[("If-Match", &etag), ("If-Unmodified-Since", DAY_BEFORE)],
    );
    stored.assert_all(412, &[("If-Match", "\"other\""), ("If-None-Match", &etag)]);
    stored.assert_all(304, &[("If-Match", &etag), ("If-None-Match", &etag)]);
    stored.assert_all(
        412,
        &[
            ("If-Unmodified-Since", DAY_BEFORE),
            ("If-None-Match", &etag),
        ],
    );
}

#[test]
fn preconditions_precede_ranges() {
    let stored = Stored::new();
    let etag = stored.etag();
    let get = || stored.gateway.get(&stored.url);
    get()
        .range("bytes=0-9")
        .header("If-None-Match", &etag)
        .send()
        .assert_status(304);
    get()
        .range("bytes=99999-")
        .header("If-None-Match", &etag)
        .send()
        .assert_status(304);
    get()
        .range("bytes=0-9")
        .header("If-Modified-Since", DATE)
        .send()
        .assert_status(304);
    get()
        .range("bytes=0-9")
        .header("If-Match", "\"other\"")
        .send()
        .assert_status(412);
    get()
        .range("bytes=0-9")
        .header("If-Match", &etag)
        .send()
        .assert_body(206, &stored.body[..10]);
    get()
        .range("bytes=0-9")
        .header("If-None-Match", "\"other\"")
        .send()
        .assert_body(206, &stored.body[..10]);
    get()
        .range("bytes=99999-")
        .header("If-None-Match", "\"other\"")
        .send()
        .assert_status(416);
    let part = get()
        .range("bytes=0-9")
        .header("If-Range", &etag)
        .header("If-Unmodified-Since", DATE);
    part.send().assert_body(206, &stored.body[..10]);
}

#[test]
fn body_without_date_counts_as_modified() {
    let body = archive(2, 5000);
    let (_origin, gateway, url) = Scene::replying(PATH, Reply::ok(&body));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let answer = gateway.get(&url).header("If-Modified-Since", DATE).send();
    answer.assert_body(200, &body);
    assert_eq!(
        answer.header("last-modified"),
        None,
        "Millpond invents no date"
    );
    gateway
        .get(&url)
        .range("bytes=0-9")
        .header("If-Range", DATE)
        .send()
        .assert_body(200, &body);
    gateway
        .get(&url)
        .header("If-None-Match", answer.wants("etag"))
        .send()
        .assert_status(304);
}

#[test]
fn origin_etag_is_replaced_by_digest() {
    let body = archive(3, 5000);
    let (_origin, gateway, url) =
        Scene::replying(PATH, Reply::ok(&body).header("ETag", "\"theirs\""));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let answer = gateway
        .get(&url)
        .header("If-None-Match", "\"theirs\"")
        .send();
    answer.assert_body(200, &body);
    assert_eq!(answer.wants("etag"), format!("\"{}\"", sha256(&body)));
}

#[test]
fn preconditions_on_miss_do_not_prevent_storing() {
    let origin = Origin::start();
    let body = archive(4, 5000);
    let gateway = Gateway::relaying(&origin);
    for (number, (name, value)) in [
        ("If-None-Match", "\"x\""),
        ("If-Modified-Since", DAY_BEFORE),
        ("If-Range", "\"x\""),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body));
        gateway
            .get(&origin.url(&path))
            .header(name, value)
            .send()
            .assert_body(200, &body);
        gateway.await_stored(&origin.url(&path));
    }
}
