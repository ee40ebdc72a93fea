//! Retries of a fetch: resumed where that is safe, restarted otherwise, and never a
//! mixture of two bodies.

use crate::harness::{
    Answer, Builder, Ended, Gateway, Origin, Reply, Stop, archive, assert_same, eventually,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn retrying(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .set("fetch.attempts", "4")
}

/// Asserts that the response is one of the bodies, or a truncated prefix of one.
#[track_caller]
fn assert_no_mixture(answer: &Answer, bodies: &[&[u8]]) {
    if answer.status != 200 {
        return answer.assert_problem(answer.status);
    }
    let fits = |body: &&&[u8]| body.starts_with(&answer.body);
    let body = bodies
        .iter()
        .find(fits)
        .expect("the response begins like one of the bodies");
    if answer.ended == Ended::Whole {
        assert_same(&answer.body, body);
    }
}

#[test]
fn cut_fetch_is_resumed_after_received_bytes() {
    let origin = Origin::start();
    let body = archive(1, 300_000);
    let file = Reply::file(&body);
    let first = file.clone().cut_at(200_000);
    origin.script(PATH, vec![first, file]);
    let gateway = retrying(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    let fetch = gateway.await_stored(&origin.url(PATH));
    assert_eq!(fetch["attempts"], 2);
    let requests = origin.requests(PATH);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("range"), None);
    let range = requests[1]
        .header("range")
        .expect("the second attempt requests a range");
    let from: usize = range
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse()
        .expect("the range has no end");
    assert!(from > 0 && from <= 200_000, "{range}");
    assert!(
        requests[1]
            .header("if-range")
            .is_some_and(|tag| tag.starts_with('"')),
        "If-Range has a strong ETag"
    );
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
}

#[test]
fn repeatedly_cut_fetch_completes() {
    let origin = Origin::start();
    let body = archive(2, 400_000);
    let file = Reply::file(&body);
    let replies = vec![
        file.clone().cut_at(100_000),
        file.clone().stop_at(100_000, Stop::Reset),
        file.clone().stop_before_head(Stop::Cut),
        file,
    ];
    origin.script(PATH, replies);
    let gateway = retrying(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.count(PATH), 4);
}

#[test]
fn cut_chunked_fetch_is_resumed() {
    let origin = Origin::start();
    let body = archive(3, 200_000);
    let file = Reply::file(&body);
    origin.script(PATH, vec![file.clone().chunked().cut_at(120_000), file]);
    let gateway = retrying(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
}

#[test]
fn retry_restarts_if_origin_ignores_range() {
    let origin = Origin::start();
    let body = archive(4, 300_000);
    let file = Reply::file(&body).ranges_ignored();
    origin.script(PATH, vec![file.clone().cut_at(200_000), file]);
    let gateway = retrying(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    gateway.assert_serves(&origin.url(PATH), &body);
}

#[test]
fn retry_restarts_without_strong_etag() {
    let origin = Origin::start();
    let body = archive(5, 300_000);
    for (number, reply) in [
        Reply::ok(&body).ranges(),
        Reply::ok(&body).header("ETag", "W/\"1\"").ranges(),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/x-{number}.tar.gz");
        origin.script(&path, vec![reply.clone().cut_at(200_000), reply]);
        let gateway = retrying(&origin).start();
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
        let requests = origin.requests(&path);
        assert_eq!(requests.len(), 2);
        assert_eq!(
            requests[1].header("range"),
            None,
            "no validator proves that the body is the same"
        );
    }
}

#[test]
fn wrong_content_range_is_not_used() {
    let origin = Origin::start();
    let body = archive(6, 300_000);
    let file = Reply::file(&body);
    for (number, wrong) in [
        "bytes 0-299999/300000",
        "bytes 100-299999/300000",
        "bytes */300000",
        "items 1-2/3",
        "bytes 5-1/9",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/x-{number}.tar.gz");
        let lie = file.clone().wrong_content_range(wrong);
        origin.script(&path, vec![file.clone().cut_at(200_000), lie, file.clone()]);
        let gateway = retrying(&origin).start();
        let answer = gateway.get(&origin.url(&path)).send();
        assert_no_mixture(&answer, &[&body]);
        if gateway.await_fetch(&origin.url(&path))["outcome"] == "stored" {
            gateway.assert_serves(&origin.url(&path), &body);
        }
        for object in gateway.objects() {
            assert_eq!(object, gateway.object_path(&body), "{wrong}");
        }
    }
}

#[test]
fn partial_response_with_other_length_is_discarded() {
    let origin = Origin::start();
    let (old, new) = (archive(7, 300_000), archive(8, 250_000));
    let tag = "\"same\"";
    let first = Reply::ok(&old).header("ETag", tag).ranges().cut_at(100_000);
    origin.script(
        PATH,
        vec![first, Reply::ok(&new).header("ETag", tag).ranges()],
    );
    let gateway = retrying(&origin).start();
    let answer = gateway.get(&origin.url(PATH)).send();
    assert_no_mixture(&answer, &[&old, &new]);
    gateway.await_fetch(&origin.url(PATH));
    for object in gateway.objects() {
        assert_eq!(
            object,
            gateway.object_path(&new),
            "an object equals the old body or the new one"
        );
    }
}

#[test]
fn changed_body_breaks_off_readers() {
    let origin = Origin::start();
    let (old, new) = (archive(9, 300_000), archive(10, 300_000));
    origin.script(
        PATH,
        vec![Reply::file(&old).cut_at(200_000), Reply::file(&new)],
    );
    let gateway = retrying(&origin).start();
    let mut answer = gateway.get(&origin.url(PATH)).open();
    assert_same(&answer.read(100_000), &old[..100_000]);
    let rest = answer.finish();
    assert_eq!(
        rest.ended,
        Ended::Cut,
        "readers of the old body are broken off"
    );
    assert_same(&rest.body, &old[100_000..100_000 + rest.body.len()]);
    gateway.await_fetch(&origin.url(PATH));
    for object in gateway.objects() {
        assert_eq!(
            object,
            gateway.object_path(&new),
            "only the new body is stored"
        );
    }
    // A new client has received nothing of the old body.
    gateway.assert_serves(&origin.url(PATH), &new);
}

#[test]
fn changed_body_without_etag_breaks_off_readers() {
    let origin = Origin::start();
    let (old, new) = (archive(11, 300_000), archive(12, 300_000));
    origin.script(PATH, vec![Reply::ok(&old).cut_at(200_000), Reply::ok(&new)]);
    let gateway = retrying(&origin).start();
    let answer = gateway.get(&origin.url(PATH)).send();
    assert_no_mixture(&answer, &[&old, &new]);
    gateway.await_fetch(&origin.url(PATH));
    for object in gateway.objects() {
        assert_eq!(object, gateway.object_path(&new));
    }
}

#[test]
fn busy_origin_is_retried() {
    let origin = Origin::start();
    let body = archive(13, 20_000);
    origin.script(
        PATH,
        vec![Reply::status(503), Reply::status(500), Reply::file(&body)],
    );
    let gateway = retrying(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.count(PATH), 3);
}

#[test]
fn html_response_is_forgotten_after_negative_ttl() {
    let origin = Origin::start();
    let body = archive(14, 20_000);
    origin.script(PATH, vec![Reply::html(), Reply::file(&body)]);
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.negative_ttl", "300ms")
        .start();
    gateway.get(&origin.url(PATH)).send().assert_problem(502);
    let answer = eventually("the negative cache entry expires", || {
        Some(gateway.get(&origin.url(PATH)).send()).filter(|answer| answer.status != 502)
    });
    answer.assert_body(200, &body);
}

#[test]
fn attempts_are_limited() {
    let origin = Origin::start();
    for (path, reply, status, asked) in [
        ("/busy-1.0.tar.gz", Reply::status(503), 502, 4),
        (
            "/cut-1.0.tar.gz",
            Reply::status(200).stop_before_head(Stop::Cut),
            504,
            4,
        ),
        ("/gone-1.0.tar.gz", Reply::status(410), 410, 1),
        ("/absent-1.0.tar.gz", Reply::status(404), 404, 1),
        ("/forbidden-1.0.tar.gz", Reply::status(403), 502, 1),
    ] {
        origin.serve(path, reply);
        // A gateway of its own: a failure of a reused connection is no attempt.
        let gateway = retrying(&origin).start();
        gateway.get(&origin.url(path)).send().assert_problem(status);
        assert_eq!(origin.count(path), asked, "{path}");
        assert_eq!(
            gateway.await_fetch(&origin.url(path))["attempts"],
            asked,
            "{path}"
        );
    }
}

#[test]
fn stalled_fetch_is_resumed() {
    let origin = Origin::start();
    let body = archive(15, 200_000);
    let file = Reply::file(&body);
    origin.script(PATH, vec![file.clone().stop_at(100_000, Stop::Stall), file]);
    let gateway = retrying(&origin)
        .text("fetch.idle_timeout", "300ms")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn digest_covers_all_attempts() {
    let origin = Origin::start();
    let body = archive(16, 300_000);
    let file = Reply::file(&body);
    origin.script(
        PATH,
        vec![
            file.clone().cut_at(100_000),
            file.clone().cut_at(100_000),
            file,
        ],
    );
    let gateway = retrying(&origin).start();
    let digest = crate::harness::sha256(&body);
    let path = format!("/sha256:{digest}/{}", origin.url(PATH));
    gateway.request("GET", &path).send().assert_body(200, &body);
    assert_eq!(gateway.await_stored(&origin.url(PATH))["sha256"], digest);
}
