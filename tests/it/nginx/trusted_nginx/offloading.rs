//! Hits that nginx sends itself, and hits that Millpond streams instead.

use super::{Front, PATH, SIZE};
use crate::harness::{DAY_AFTER, DAY_BEFORE, is_request_of, sha256};

#[test]
fn hit_is_offloaded_to_nginx_with_its_headers() {
    let front = Front::new();
    let direct = front.gateway.get(&front.origin.url(PATH)).send();
    direct.assert_body(200, &front.body);
    let answer = front.handed_on("GET").send();
    answer.assert_body(200, b"");
    assert_eq!(answer.wants("x-accel-redirect"), front.location());
    answer.assert_cache(&["hit", "detail=disk"]);
    for name in [
        "etag",
        "last-modified",
        "content-type",
        "content-disposition",
        "repr-digest",
    ] {
        assert_eq!(answer.wants(name), direct.wants(name), "{name}");
    }
    assert_eq!(
        answer.header("accept-ranges"),
        None,
        "nginx adds Accept-Ranges itself"
    );
    let object = front.gateway.objects().pop().expect("one object is stored");
    assert!(
        object.ends_with(front.location().trim_start_matches("/_objects/")),
        "{object:?}"
    );
    front
        .gateway
        .log()
        .wait_for("the offloaded request", |event| {
            is_request_of(event, PATH)
                && event["completion"] == "offloaded"
                && event["sent_bytes"] == 0
        });
}

#[test]
fn only_single_ranges_are_offloaded_to_nginx() {
    let front = Front::new();
    let handed = |range: &str| front.handed_on("GET").range(range).send();
    for range in ["bytes=0-9", "bytes=500-", "bytes=-7"] {
        let answer = handed(range);
        answer.assert_body(200, b"");
        assert_eq!(
            answer.wants("x-accel-redirect"),
            front.location(),
            "{range}"
        );
        assert_eq!(
            answer.header("content-range"),
            None,
            "nginx sets Content-Range"
        );
    }
    for range in ["bytes=0-1,4-5", "bytes=9-2", "bytes=x", "pieces=0-1"] {
        let answer = handed(range);
        answer.assert_body(200, &front.body);
        assert_eq!(answer.header("x-accel-redirect"), None, "{range}");
    }
    let stale = front
        .handed_on("GET")
        .range("bytes=0-9")
        .header("If-Range", "\"another\"")
        .send();
    stale.assert_body(200, &front.body);
    assert_eq!(handed(&format!("bytes={SIZE}-")).status, 416);
}

#[test]
fn head_and_preconditions_are_not_offloaded() {
    let front = Front::new();
    let etag = format!("\"{}\"", sha256(&front.body));
    for (name, value, status) in [
        ("If-None-Match", etag.as_str(), 304),
        ("If-Modified-Since", DAY_AFTER, 304),
        ("If-Match", "\"another\"", 412),
        ("If-Unmodified-Since", DAY_BEFORE, 412),
        ("If-Match", etag.as_str(), 200),
        ("If-Unmodified-Since", DAY_AFTER, 200),
    ] {
        let answer = front.handed_on("GET").header(name, value).send();
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.header("x-accel-redirect"), None, "{name}: {value}");
    }
    let head = front.handed_on("HEAD").send();
    head.assert_status(200);
    assert_eq!(head.header("x-accel-redirect"), None);
    assert_eq!(head.wants("content-length"), SIZE.to_string());
    let again = front
        .handed_on("GET")
        .header("If-Modified-Since", DAY_BEFORE)
        .send();
    assert_eq!(
        again.wants("x-accel-redirect"),
        front.location(),
        "the file was modified since"
    );
}

#[test]
fn small_hit_is_not_offloaded() {
    let front = Front::with(1000, |builder| builder);
    let answer = front.handed_on("GET").send();
    answer.assert_body(200, &front.body);
    assert_eq!(answer.header("x-accel-redirect"), None);
}

#[test]
fn file_missing_for_nginx_is_streamed() {
    let front = Front::new();
    let answer = front
        .handed_on("GET")
        .header("X-Millpond-File-Missing", "1")
        .send();
    answer.assert_body(200, &front.body);
    assert_eq!(answer.header("x-accel-redirect"), None);
    assert_eq!(front.origin.count(PATH), 1);
    std::fs::remove_file(&front.gateway.objects()[0]).expect("the object can be removed");
    let answer = front
        .handed_on("GET")
        .header("X-Millpond-File-Missing", "1")
        .send();
    answer.assert_body(200, &front.body);
    assert_eq!(front.origin.count(PATH), 2, "the object is fetched again");
}

#[test]
fn untrusted_proxy_gets_no_accel_redirect() {
    let front = Front::with(SIZE, |builder| {
        builder.set("gateway.trusted_proxies", "[\"192.0.2.1/32\"]")
    });
    let answer = front.handed_on("GET").send();
    answer.assert_body(200, &front.body);
    assert_eq!(answer.header("x-accel-redirect"), None);
    let path = format!("/{}", front.origin.url(PATH));
    let lying = front
        .gateway
        .request("GET", &path)
        .header("X-Millpond-Request-Line", "GET /robots.txt HTTP/1.1");
    lying.send().assert_body(200, &front.body);
}

#[test]
fn bandwidth_limits_disable_offloading() {
    for key in ["limits.bandwidth", "limits.total_bandwidth"] {
        let front = Front::with(SIZE, |builder| builder.text(key, "1GiB"));
        let answer = front.handed_on("GET").send();
        answer.assert_body(200, &front.body);
        assert_eq!(answer.header("x-accel-redirect"), None, "{key}");
    }
}
