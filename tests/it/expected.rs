//! Digests that clients expect: always checked, and never a clean end of wrong bytes.

use sha2::{Digest as _, Sha512};

use crate::harness::{Answer, Ended, Gateway, Origin, Reply, archive, assert_same, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";
const WRONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Other bytes than expected: told before the head, or by a broken transfer.
#[track_caller]
fn assert_refused(answer: &Answer, body: &[u8]) {
    if answer.status == 409 {
        answer.assert_problem(409);
    } else {
        answer.assert_status(200);
        assert_eq!(answer.ended, Ended::Cut, "the transfer is broken off");
        assert!(answer.body.len() < body.len(), "at least the last byte is withheld");
    }
}

#[test]
fn wrong_bytes_never_end_cleanly_with_a_length() {
    let origin = Origin::start();
    let body = archive(1, 300_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let answer = gateway.get(&origin.url(PATH)).header("X-Expected-Sha256", WRONG).send();
    assert_refused(&answer, &body);
    assert_ne!(gateway.await_fetch(&origin.url(PATH))["outcome"], "stored");
    gateway.assert_nothing_stored();
}

#[test]
fn wrong_bytes_never_end_cleanly_in_chunks() {
    let origin = Origin::start();
    let body = archive(2, 300_000);
    origin.serve(PATH, Reply::file(&body).chunked());
    let gateway = Gateway::relaying(&origin);
    let path = format!("/sha256:{WRONG}/{}", origin.url(PATH));
    let answer = gateway.request("GET", &path).send();
    if answer.status == 409 {
        answer.assert_problem(409);
    } else {
        answer.assert_broken();
    }
    assert_ne!(gateway.await_fetch(&origin.url(PATH))["outcome"], "stored");
    gateway.assert_nothing_stored();
}

#[test]
fn a_small_body_that_is_wrong_is_never_shown_whole() {
    let origin = Origin::start();
    let body = archive(3, 40);
    origin.serve(PATH, Reply::file(&body));
    origin.serve("/x.patch", Reply::ok(&b"-\n".to_vec().into()));
    origin.serve("/y.patch", Reply::ok(&b"+".to_vec().into()));
    let gateway = Gateway::relaying(&origin);
    let wrong = |path: &str| gateway.get(&origin.url(path)).header("X-Expected-Sha256", WRONG).send();
    assert_refused(&wrong(PATH), &body);
    assert_refused(&wrong("/x.patch"), b"-\n");
    assert_refused(&wrong("/y.patch"), b"+");
    gateway.assert_nothing_stored();
}

#[test]
fn one_clients_wrong_expectation_is_no_other_clients_loss() {
    let origin = Origin::start();
    let body = archive(4, 200_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(PATH);
    let wrong = gateway.get(&url).header("X-Expected-Sha256", WRONG).send();
    assert_refused(&wrong, &body);
    gateway.assert_serves(&url, &body);
    let right = gateway.get(&url).header("X-Expected-Sha256", &sha256(&body)).send();
    right.assert_body(200, &body);
}

#[test]
fn a_stored_object_of_another_digest_is_409() {
    let origin = Origin::start();
    let body = archive(5, 10_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.get(&url).header("X-Expected-Sha256", WRONG).send().assert_problem(409);
    gateway.request("GET", &format!("/sha256:{WRONG}/{url}")).send().assert_problem(409);
    gateway.request("HEAD", &format!("/sha256:{WRONG}/{url}")).send().assert_status(409);
    gateway.get(&url).header("X-Expected-Md5", "00000000000000000000000000000000").send().assert_problem(409);
    gateway.proxied("GET", &url).header("X-Expected-Sha256", WRONG).send().assert_problem(409);
    gateway.assert_serves(&url, &body);
    assert_eq!(origin.count(PATH), 1, "what is stored is stored");
}

#[test]
fn every_algorithm_is_checked_on_a_miss_and_on_a_hit() {
    let origin = Origin::start();
    // The bytes are fixed, so that the md5 and sha1 of them can stand here.
    let body = b"What the mill has ground it keeps.\n".to_vec();
    let sha512 = hex::encode(Sha512::digest(&body));
    let right = [
        ("md5", MD5_OF_THE_PATCH.to_owned()),
        ("sha1", SHA1_OF_THE_PATCH.to_owned()),
        ("sha256", sha256(&body)),
        ("sha512", sha512),
    ];
    let gateway = Gateway::relaying(&origin);
    for (name, digest) in right {
        let path = format!("/{name}.patch");
        let url = origin.url(&path);
        origin.serve(&path, Reply::file(&body.clone().into()));
        let wrong: String = digest.chars().map(|c| if c == 'a' { 'b' } else { 'a' }).collect();
        assert_refused(&gateway.request("GET", &format!("/{name}:{wrong}/{url}")).send(), &body);
        assert_eq!(gateway.records_of(&url).len(), 0, "{name}: nothing is stored");
        gateway.request("GET", &format!("/{name}:{digest}/{url}")).send().assert_body(200, &body);
        gateway.request("GET", &format!("/{name}:{wrong}/{url}")).send().assert_problem(409);
        let upper = digest.to_uppercase();
        let hit = gateway.request("GET", &format!("/{name}:{upper}/{url}")).send();
        hit.assert_body(200, &body);
        assert_eq!(origin.count(&path), 2, "{name}");
    }
}

const MD5_OF_THE_PATCH: &str = "d3babecf567788c8cdeee31982a472f7";
const SHA1_OF_THE_PATCH: &str = "b8aec0db0a930581d688350bd1b610a54de0aa9a";

#[test]
fn the_headers_name_what_the_path_can() {
    let origin = Origin::start();
    let body = b"What the mill has ground it keeps.\n".to_vec();
    let gateway = Gateway::relaying(&origin);
    let headers = [
        ("X-Expected-Md5", MD5_OF_THE_PATCH.to_owned()),
        ("X-Expected-Sha256", sha256(&body)),
        ("X-Expected-Sha512", hex::encode(Sha512::digest(&body))),
    ];
    for (name, digest) in headers {
        let path = format!("/{name}.patch");
        origin.serve(&path, Reply::file(&body.clone().into()));
        let get = |digest: &str| gateway.get(&origin.url(&path)).header(name, digest).send();
        get(&digest).assert_body(200, &body);
        gateway.await_stored(&origin.url(&path));
        get(&digest).assert_cache(&["hit"]);
        get(&digest.replace(|_| true, "a")).assert_problem(409);
    }
}

#[test]
fn an_expectation_that_is_none_is_refused() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (name, value) in [
        ("X-Expected-Sha256", "abc"),
        ("X-Expected-Sha256", ""),
        ("X-Expected-Md5", WRONG),
        ("X-Expected-Sha512", "yes"),
    ] {
        gateway.get(&origin.url(PATH)).header(name, value).send().assert_problem(400);
    }
    assert_eq!(origin.total(), 0, "a digest that cannot be checked is an error, not a wish");
}

#[test]
fn two_expectations_that_disagree_are_never_met() {
    let origin = Origin::start();
    let body = archive(6, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let path = format!("/sha256:{}/{}", sha256(&body), origin.url(PATH));
    let answer = gateway.request("GET", &path).header("X-Expected-Sha256", WRONG).send();
    if answer.status == 400 {
        answer.assert_problem(400);
    } else {
        assert_refused(&answer, &body);
    }
}

#[test]
fn a_range_of_wrong_bytes_never_ends_cleanly_at_the_end_of_the_body() {
    let origin = Origin::start();
    let body = archive(7, 200_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let answer = gateway.get(&origin.url(PATH)).header("X-Expected-Sha256", WRONG).range("bytes=199000-").send();
    if answer.status == 206 {
        answer.assert_broken();
        assert_same(&answer.body, &body[199_000..199_000 + answer.body.len()]);
    } else {
        answer.assert_problem(409);
    }
}

#[test]
fn a_digest_is_checked_on_what_is_passed_too() {
    let origin = Origin::start();
    let body = archive(8, 50_000);
    for path in ["/length.bin", "/x.tar.gz?token=a"] {
        origin.serve(path, Reply::file(&body));
    }
    origin.serve("/chunks.bin", Reply::file(&body).chunked());
    let gateway = Gateway::relaying(&origin);
    for path in ["/length.bin", "/chunks.bin", "/x.tar.gz?token=a"] {
        let url = origin.url(path);
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            let expecting = |digest: &str| request.clone().header("X-Expected-Sha256", digest).send();
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
