//! Tests of digest checks where the body cannot be stored, came over plain HTTP, or is requested in
//! part. No response with other bytes ends cleanly.

use crate::harness::{
    Answer, Authority, Body, Ended, Gate, Gateway, Origin, Reply, Scene, archive, assert_same,
    eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const WRONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Asserts that the response is an error, or a transfer that was cut.
#[track_caller]
fn assert_not_clean(answer: &Answer) {
    if matches!(answer.status, 200 | 206) {
        assert_eq!(
            answer.ended,
            Ended::Cut,
            "{} bytes came with {}",
            answer.body.len(),
            answer.status
        );
    } else {
        answer.assert_problem(answer.status);
    }
}

/// Returns a gateway with a cache of 1 MiB that has stored `body` once and no longer has the
/// object.
fn with_evicted(origin: &Origin, body: &Body) -> Gateway {
    origin.serve(PATH, Reply::file(body));
    let mut gateway = Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.max_size", "1MiB")
        .start();
    gateway.assert_serves(&origin.url(PATH), body);
    gateway.await_stored(&origin.url(PATH));
    gateway.restart_with(|builder| builder.text("cache.negative_ttl", "1ms"));
    std::fs::remove_file(gateway.object_path(body)).expect("the object exists");
    gateway
}

#[test]
fn oversized_changed_evicted_target_is_not_passed_through() {
    let origin = Origin::start();
    let gateway = with_evicted(&origin, &archive(1, 300_000));
    let other = archive(2, 3 << 20);
    let url = origin.url(PATH);
    for reply in [
        Reply::file(&other),
        Reply::file(&other).chunked(),
        Reply::html(),
    ] {
        origin.serve(PATH, reply);
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            assert_not_clean(&request.send());
        }
    }
    assert!(gateway.objects().is_empty());
}

#[test]
fn full_disk_does_not_pass_changed_evicted_target() {
    let origin = Origin::start();
    let mut gateway = with_evicted(&origin, &archive(3, 300_000));
    gateway.restart_with(|builder| builder.text("cache.min_free", "1000TiB"));
    let other = archive(4, 300_000);
    let url = origin.url(PATH);
    for reply in [Reply::file(&other), Reply::file(&other).chunked()] {
        origin.serve(PATH, reply);
        for request in [
            gateway.get(&url),
            gateway.proxied("GET", &url),
            gateway.get(&url).range("bytes=0-99"),
        ] {
            assert_not_clean(&request.send());
        }
        // The digest vouches for the other bytes for this client only.
        gateway
            .get(&url)
            .header("X-Expected-Sha256", &sha256(&other))
            .send()
            .assert_body(200, &other);
    }
}

#[test]
fn full_disk_passes_unchanged_evicted_target_through() {
    let origin = Origin::start();
    let body = archive(5, 300_000);
    let mut gateway = with_evicted(&origin, &body);
    gateway.restart_with(|builder| builder.text("cache.min_free", "1000TiB"));
    for _ in 0..2 {
        gateway.assert_serves(&origin.url(PATH), &body);
    }
    assert!(gateway.objects().is_empty());
}

#[test]
fn full_disk_does_not_pass_html_as_archive() {
    let origin = Origin::start();
    let body = archive(6, 50_000);
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.min_free", "1000TiB");
    let gateway = builder.start();
    for (path, reply) in [
        ("/length-1.0.tar.gz", Reply::html()),
        ("/chunks-1.0.tar.gz", Reply::html().chunked()),
    ] {
        origin.serve(path, reply);
        let url = origin.url(path);
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            assert_not_clean(&request.send());
        }
    }
    origin.serve(PATH, Reply::file(&body));
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.assert_nothing_stored();
}

#[test]
fn client_digest_does_not_make_plaintext_body_storable() {
    let authority = Authority::new();
    let (secure, plain) = (Origin::start_tls(&authority), Origin::start());
    let body = archive(7, 20_000);
    plain.serve("/y-1.0.tar.gz", Reply::file(&body));
    secure.serve(PATH, Reply::redirect(302, &plain.url("/y-1.0.tar.gz")));
    let builder = Gateway::builder()
        .origin(&secure)
        .origin(&plain)
        .relay()
        .one_attempt();
    let mut gateway = builder.authority(&authority).start();
    let url = secure.named_url(PATH);
    for expecting in [
        gateway.request("GET", &format!("/sha256:{}/{url}", sha256(&body))),
        gateway
            .get(&url)
            .header("X-Expected-Sha256", &sha256(&body)),
    ] {
        let answer = expecting.send();
        match answer.status {
            200 => answer.assert_body(200, &body),
            _ => answer.assert_problem(403),
        }
    }
    // A stop waits until running publishes end.
    gateway.restart();
    gateway.assert_nothing_stored();
    for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
        request.send().assert_problem(403);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn range_is_sent_after_whole_body_is_verified() {
    let origin = Origin::start();
    let body = archive(8, 200_000);
    let gateway = Gateway::relaying(&origin);
    for (number, reply) in [Reply::file(&body), Reply::file(&body).chunked()]
        .into_iter()
        .enumerate()
    {
        for (range, first, last) in [
            ("bytes=0-999", 0, 999),
            ("bytes=1000-1999", 1000, 1999),
            ("bytes=-1", 199_999, 199_999),
        ] {
            let path = format!("/{number}/{first}/x-7.0.tar.gz");
            origin.serve(&path, reply.clone());
            let url = origin.url(&path);
            let by_path = |digest: &str| {
                gateway
                    .request("GET", &format!("/sha256:{digest}/{url}"))
                    .range(range)
                    .send()
            };
            by_path(WRONG).assert_problem(409);
            let by_header = gateway
                .proxied("GET", &url)
                .header("X-Expected-Sha256", WRONG)
                .range(range);
            by_header.send().assert_problem(409);
            assert_eq!(
                gateway.records_of(&url).len(),
                1,
                "the origin's body is stored"
            );
            by_path(&sha256(&body)).assert_body(206, &body[first..=last]);
        }
    }
}

#[test]
fn range_of_running_fetch_waits_for_verification() {
    let gate = Gate::new();
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(9, 200_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .start();
    let mut plain = gateway.get(&url).open();
    assert_same(&plain.read(50_000), &body[..50_000]);
    let part = |digest: &str| {
        gateway
            .get(&url)
            .header("X-Expected-Sha256", digest)
            .range("bytes=0-999")
            .start()
    };
    let (wrong, right) = (part(WRONG), part(&sha256(&body)));
    gate.open();
    assert_same(&plain.finish().body, &body[50_000..]);
    wrong.head().finish().assert_problem(409);
    right.head().finish().assert_body(206, &body[..1000]);
    eventually("the object is stored", || {
        (gateway.records_of(&url).len() == 1).then_some(())
    });
}
