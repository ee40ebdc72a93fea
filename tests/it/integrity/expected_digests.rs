//! Tests of digests that clients expect. They are always checked, and wrong bytes never end
//! cleanly.

use sha2::{Digest as _, Sha512};

use crate::harness::{Answer, Ended, Gateway, Origin, Reply, Scene, archive, assert_same, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";
const WRONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Asserts that a digest mismatch gave 409, or a transfer that was cut before the last byte.
#[track_caller]
fn assert_refused(answer: &Answer, body: &[u8]) {
    if answer.status == 409 {
        answer.assert_problem(409);
    } else {
        answer.assert_status(200);
        assert_eq!(answer.ended, Ended::Cut, "the transfer is cut");
        assert!(
            answer.body.len() < body.len(),
            "at least the last byte is withheld"
        );
    }
}

#[test]
fn wrong_bytes_never_end_cleanly_with_a_length() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(1, 300_000));
    let answer = gateway.get(&url).header("X-Expected-Sha256", WRONG).send();
    assert_refused(&answer, &body);
    // The digest decides what this client gets, and not what the target means.
    gateway.await_stored(&url);
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
}

#[test]
fn wrong_bytes_never_end_cleanly_in_chunks() {
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(2, 300_000))
        .reply(Reply::chunked)
        .start();
    let path = format!("/sha256:{WRONG}/{url}");
    let answer = gateway.request("GET", &path).send();
    if answer.status == 409 {
        answer.assert_problem(409);
    } else {
        answer.assert_broken();
    }
    gateway.await_stored(&url);
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
}

#[test]
fn small_wrong_body_is_never_sent_completely() {
    let (origin, gateway, body, _) = Scene::relaying(PATH, archive(3, 40));
    origin.serve("/x-1.0.iso", Reply::ok(&b"-\n".to_vec().into()));
    origin.serve("/y-1.0.iso", Reply::ok(&b"+".to_vec().into()));
    let wrong = |path: &str| {
        gateway
            .get(&origin.url(path))
            .header("X-Expected-Sha256", WRONG)
            .send()
    };
    assert_refused(&wrong(PATH), &body);
    assert_refused(&wrong("/x-1.0.iso"), b"-\n");
    assert_refused(&wrong("/y-1.0.iso"), b"+");
    for path in [PATH, "/x-1.0.iso", "/y-1.0.iso"] {
        gateway.await_stored(&origin.url(path));
        assert_eq!(origin.count(path), 1, "{path}");
    }
}

#[test]
fn wrong_client_digest_does_not_affect_other_clients() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(4, 200_000));
    let wrong = gateway.get(&url).header("X-Expected-Sha256", WRONG).send();
    assert_refused(&wrong, &body);
    gateway.assert_serves(&url, &body);
    let right = gateway
        .get(&url)
        .header("X-Expected-Sha256", &sha256(&body))
        .send();
    right.assert_body(200, &body);
}

#[test]
fn hit_with_other_digest_is_409() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(5, 10_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway
        .get(&url)
        .header("X-Expected-Sha256", WRONG)
        .send()
        .assert_problem(409);
    gateway
        .request("GET", &format!("/sha256:{WRONG}/{url}"))
        .send()
        .assert_problem(409);
    gateway
        .request("HEAD", &format!("/sha256:{WRONG}/{url}"))
        .send()
        .assert_status(409);
    gateway
        .get(&url)
        .header("X-Expected-Md5", "00000000000000000000000000000000")
        .send()
        .assert_problem(409);
    gateway
        .proxied("GET", &url)
        .header("X-Expected-Sha256", WRONG)
        .send()
        .assert_problem(409);
    gateway.assert_serves(&url, &body);
    assert_eq!(
        origin.count(PATH),
        3,
        "the origin is asked once for each digest that no stored object has"
    );
}

#[test]
fn every_algorithm_is_checked_on_miss_and_hit() {
    let origin = Origin::start();
    // The bytes are fixed, so that their md5 and sha1 can be constants.
    let body = b"What the mill has ground it keeps.\n".to_vec();
    let sha512 = hex::encode(Sha512::digest(&body));
    let right = [
        ("md5", MD5_OF_THE_IMAGE.to_owned()),
        ("sha1", SHA1_OF_THE_IMAGE.to_owned()),
        ("sha256", sha256(&body)),
        ("sha512", sha512),
    ];
    let gateway = Gateway::relaying(&origin);
    for (name, digest) in right {
        let path = format!("/{name}-1.0.iso");
        let url = origin.url(&path);
        origin.serve(&path, Reply::file(&body.clone().into()));
        let wrong: String = digest
            .chars()
            .map(|c| if c == 'a' { 'b' } else { 'a' })
            .collect();
        assert_refused(
            &gateway
                .request("GET", &format!("/{name}:{wrong}/{url}"))
                .send(),
            &body,
        );
        gateway.await_stored(&url);
        gateway
            .request("GET", &format!("/{name}:{digest}/{url}"))
            .send()
            .assert_body(200, &body);
        gateway
            .request("GET", &format!("/{name}:{wrong}/{url}"))
            .send()
            .assert_problem(409);
        let upper = digest.to_uppercase();
        let hit = gateway
            .request("GET", &format!("/{name}:{upper}/{url}"))
            .send();
        hit.assert_body(200, &body);
        assert_eq!(origin.count(&path), 1, "{name}");
    }
}

const MD5_OF_THE_IMAGE: &str = "d3babecf567788c8cdeee31982a472f7";
const SHA1_OF_THE_IMAGE: &str = "b8aec0db0a930581d688350bd1b610a54de0aa9a";

#[test]
fn header_digests_are_checked_like_path_digests() {
    let origin = Origin::start();
    let body = b"What the mill has ground it keeps.\n".to_vec();
    let gateway = Gateway::relaying(&origin);
    let headers = [
        ("X-Expected-Md5", MD5_OF_THE_IMAGE.to_owned()),
        ("X-Expected-Sha256", sha256(&body)),
        ("X-Expected-Sha512", hex::encode(Sha512::digest(&body))),
    ];
    for (name, digest) in headers {
        let path = format!("/{name}-1.0.iso");
        origin.serve(&path, Reply::file(&body.clone().into()));
        let get = |digest: &str| gateway.get(&origin.url(&path)).header(name, digest).send();
        get(&digest).assert_body(200, &body);
        gateway.await_stored(&origin.url(&path));
        get(&digest).assert_cache(&["hit"]);
        get(&digest.replace(|_| true, "a")).assert_problem(409);
    }
}

#[test]
fn malformed_expected_digest_is_400() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (name, value) in [
        ("X-Expected-Sha256", "abc"),
        ("X-Expected-Sha256", ""),
        ("X-Expected-Md5", WRONG),
        ("X-Expected-Sha512", "yes"),
    ] {
        gateway
            .get(&origin.url(PATH))
            .header(name, value)
            .send()
            .assert_problem(400);
    }
    assert_eq!(
        origin.total(),
        0,
        "a digest that cannot be checked is an error, and is not ignored"
    );
}

#[test]
fn conflicting_expected_digests_never_succeed() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(6, 20_000));
    let path = format!("/sha256:{}/{url}", sha256(&body));
    let answer = gateway
        .request("GET", &path)
        .header("X-Expected-Sha256", WRONG)
        .send();
    if answer.status == 400 {
        answer.assert_problem(400);
    } else {
        assert_refused(&answer, &body);
    }
}

#[test]
fn range_at_end_of_wrong_body_is_cut() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(7, 200_000));
    let answer = gateway
        .get(&url)
        .header("X-Expected-Sha256", WRONG)
        .range("bytes=199000-")
        .send();
    if answer.status == 206 {
        answer.assert_broken();
        assert_same(&answer.body, &body[199_000..199_000 + answer.body.len()]);
    } else {
        answer.assert_problem(409);
    }
}

#[test]
fn digest_is_checked_on_pass_through_responses() {
    let origin = Origin::start();
    let body = archive(8, 50_000);
    for path in ["/length.bin", "/x-7.0.tar.gz?token=a"] {
        origin.serve(path, Reply::file(&body));
    }
    origin.serve("/chunks.bin", Reply::file(&body).chunked());
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.rule("class = \"pass\"").start();
    for path in ["/length.bin", "/chunks.bin", "/x-7.0.tar.gz?token=a"] {
        let url = origin.url(path);
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            let expecting =
                |digest: &str| request.clone().header("X-Expected-Sha256", digest).send();
            expecting(&sha256(&body)).assert_body(200, &body);
            let wrong = expecting(WRONG);
            if wrong.status == 200 {
                wrong.assert_broken();
            } else {
                wrong.assert_problem(409);
            }
        }
    }
    gateway.assert_nothing_stored();
}
