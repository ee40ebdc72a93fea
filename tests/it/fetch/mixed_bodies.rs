//! Resumed bodies after a change at the origin: no response and no object mixes two files.

use crate::harness::{Answer, Body, Ended, Gateway, Origin, Reply, archive, assert_same};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 400_000;
const CUT: usize = 200_000;

/// Returns two files of equal length whose first 12 bytes are equal.
fn alike() -> (Body, Body) {
    let (one, other) = (archive(1, SIZE), archive(2, SIZE));
    let other = [&one[..12], &other[12..]].concat();
    assert_ne!(
        one[12], other[12],
        "the files differ after the first 12 bytes"
    );
    (one, other.into())
}

fn retrying(origin: &Origin, attempts: &str) -> Gateway {
    Gateway::builder()
        .origin(origin)
        .relay()
        .set("fetch.attempts", attempts)
        .start()
}

/// Asserts that the response is one of the bodies, or has no clean end.
#[track_caller]
fn assert_no_mixture(answer: &Answer, bodies: &[&[u8]]) {
    if answer.status != 200 {
        return answer.assert_problem(answer.status);
    }
    let body = bodies.iter().find(|body| body.starts_with(&answer.body));
    let body = body.expect("the response begins like one of the bodies");
    if answer.ended == Ended::Whole {
        assert_same(&answer.body, body);
    }
}

/// Waits for the end of the fetch, and asserts that every stored object is one of the bodies.
#[track_caller]
fn assert_no_mixture_stored(gateway: &Gateway, origin: &Origin, bodies: &[&[u8]]) {
    gateway.await_fetch(&origin.url(PATH));
    for object in gateway.objects() {
        assert!(
            bodies
                .iter()
                .any(|body| gateway.object_path(body) == object),
            "an object equals none of the bodies"
        );
    }
}

#[test]
fn restarted_body_is_not_spliced_onto_other() {
    let origin = Origin::start();
    let (old, new) = alike();
    let file = |body: &Body, tag: &str| Reply::ok(body).header("ETag", tag).ranges();
    let (first, second) = (
        file(&old, "\"e1\"").cut_at(CUT),
        file(&new, "\"e2\"").cut_at(12),
    );
    origin.script(PATH, vec![first, second, file(&new, "\"e2\"")]);
    let gateway = retrying(&origin, "4");
    let answer = gateway.get(&origin.url(PATH)).send();
    assert_no_mixture(&answer, &[&old, &new]);
    assert_no_mixture_stored(&gateway, &origin, &[&new]);
    let requests = origin.requests(PATH);
    assert_eq!(requests[1].header("if-range"), Some("\"e1\""));
}

#[test]
fn restarted_identical_body_is_resumed() {
    let origin = Origin::start();
    let body = archive(3, SIZE);
    let file = |tag: &str| Reply::ok(&body).header("ETag", tag).ranges();
    // The second server sends the same file with a different ETag.
    let replies = vec![
        file("\"e1\"").cut_at(CUT),
        file("\"e2\"").cut_at(CUT + 50_000),
        file("\"e2\""),
    ];
    origin.script(PATH, replies);
    let gateway = retrying(&origin, "4");
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
}

#[test]
fn range_with_other_etag_is_not_spliced() {
    let origin = Origin::start();
    let (old, new) = alike();
    let first = Reply::ok(&old)
        .header("ETag", "\"e1\"")
        .ranges()
        .cut_at(CUT);
    for other_tag in ["\"e2\"", "W/\"e1\"", "\"\""] {
        let other = Reply::ok(&new)
            .header("ETag", other_tag)
            .ranges_without_condition();
        origin.script(PATH, vec![first.clone(), other]);
        let gateway = retrying(&origin, "4");
        let before = origin.count(PATH);
        let answer = gateway.get(&origin.url(PATH)).send();
        assert_no_mixture(&answer, &[&old, &new]);
        assert_no_mixture_stored(&gateway, &origin, &[&new]);
        let asked = &origin.requests(PATH)[before..];
        assert!(
            asked
                .iter()
                .all(|asked| asked.header("range").is_none() || asked.header("if-range").is_some())
        );
    }
}

#[test]
fn short_range_does_not_complete_body() {
    let origin = Origin::start();
    let body = archive(4, SIZE);
    let first = Reply::ok(&body)
        .header("ETag", "\"e1\"")
        .chunked()
        .cut_at(100_000);
    let part: Body = body[100_000..150_000].into();
    let part = Reply::ok(&part).header("ETag", "\"e1\"").chunked();
    let range = format!("bytes 100000-{}/{SIZE}", SIZE - 1);
    origin.script(PATH, vec![first, part.wrong_content_range(&range)]);
    let gateway = retrying(&origin, "2");
    gateway.get(&origin.url(PATH)).send().assert_broken();
    assert_ne!(gateway.await_fetch(&origin.url(PATH))["outcome"], "stored");
    gateway.assert_nothing_stored();
    assert_eq!(
        origin.requests(PATH)[1].header("range"),
        Some("bytes=100000-")
    );
}
