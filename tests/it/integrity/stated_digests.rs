//! Digests that clients state decide what these clients get, and not what is fetched or stored for
//! others.

use std::fs::File;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use crate::harness::{
    Body, Ended, Gate, Gateway, Origin, Reply, Request, Scene, archive, assert_same, encoded,
    eventually, sha256,
};

/// Prefix of the path and header field with which a client states a digest.
type Statement = (String, Option<(&'static str, String)>);

/// Returns the ways in which a client states a digest of a body.
fn statements(body: &Body) -> Vec<Statement> {
    let md5 = hex::encode(Md5::digest(body));
    let sha1 = hex::encode(Sha1::digest(body));
    let sha512 = hex::encode(Sha512::digest(body));
    vec![
        (format!("/sha256:{}", sha256(body)), None),
        (String::new(), Some(("X-Expected-Sha256", sha256(body)))),
        (format!("/sha512:{sha512}"), None),
        (format!("/md5:{md5}"), None),
        (String::new(), Some(("X-Expected-Sha1", sha1))),
    ]
}

/// Requests a target with a stated digest.
fn state(gateway: &Gateway, url: &str, (prefix, field): &Statement) -> Request {
    let request = gateway.request("GET", &format!("{prefix}/{url}"));
    match field {
        Some((name, value)) => request.header(name, value),
        None => request,
    }
}

#[test]
fn new_digest_gets_new_release() {
    let origin = Origin::start();
    let (old, new) = (archive(1, 40_000), archive(2, 300_000));
    let gateway = Gateway::relaying(&origin);
    let (by_old, by_new) = (statements(&old), statements(&new));
    for (number, (stated_old, stated_new)) in by_old.iter().zip(&by_new).enumerate() {
        let path = format!("/x-{number}.0.tar.gz");
        let url = origin.url(&path);
        origin.serve(&path, Reply::file(&old));
        gateway.assert_serves(&url, &old);
        gateway.await_stored(&url);
        origin.serve(&path, Reply::file(&new));
        state(&gateway, &url, stated_new)
            .send()
            .assert_body(200, &new);
        eventually("both releases are stored", || {
            (gateway.records_of(&url).len() == 2).then_some(())
        });
        gateway.assert_serves(&url, &old).assert_cache(&["hit"]);
        state(&gateway, &url, stated_old)
            .send()
            .assert_body(200, &old);
        let again = state(&gateway, &url, stated_new).send();
        again.assert_body(200, &new);
        again.assert_cache(&["hit"]);
        let part = state(&gateway, &url, stated_new)
            .range("bytes=10-99")
            .send();
        part.assert_body(206, &new[10..100]);
        assert_eq!(origin.count(&path), 2, "{path}");
    }
}

#[test]
fn new_digest_gets_range_and_proxy_response() {
    let origin = Origin::start();
    let (old, new) = (archive(1, 40_000), archive(2, 300_000));
    let gateway = Gateway::relaying(&origin);
    for path in ["/range-1.0.tar.gz", "/proxy-1.0.tar.gz"] {
        let url = origin.url(path);
        origin.serve(path, Reply::file(&old));
        gateway.assert_serves(&url, &old);
        gateway.await_stored(&url);
        origin.serve(path, Reply::file(&new));
        let request = gateway.proxied("GET", &url);
        let request = request.header("X-Expected-Sha256", &sha256(&new));
        if path.starts_with("/range") {
            let part = request.range("bytes=299000-").send();
            part.assert_body(206, &new[299_000..]);
        } else {
            request.send().assert_body(200, &new);
        }
        gateway.assert_serves(&url, &old);
    }
}

#[test]
fn new_digest_gets_new_release_after_eviction() {
    let origin = Origin::start();
    let (old, new) = (archive(1, 200_000), archive(2, 200_000));
    let path = "/x-1.0.tar.gz";
    origin.serve(path, Reply::file(&old));
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.text("cache.negative_ttl", "1ms").start();
    let url = origin.url(path);
    gateway.assert_serves(&url, &old);
    gateway.await_stored(&url);
    origin.serve(path, Reply::file(&new));
    let object = format!("/api/v1/objects/sha256/{}", sha256(&old));
    gateway.operate("DELETE", &object).send().json();
    for stated in statements(&new) {
        state(&gateway, &url, &stated).send().assert_body(200, &new);
    }
    let plain = gateway.get(&url).send();
    assert_ne!(plain.body, new.to_vec(), "the new bytes are not the answer");
    let shown = format!("/api/v1/targets?url={}", encoded(&url));
    let shown = gateway.request("GET", &shown).send().json();
    assert_eq!(shown["records"][0]["sha256"], sha256(&old));
}

#[test]
fn wrong_digests_cost_origin_little() {
    let origin = Origin::start();
    let body = archive(1, 400_000);
    let gateway = Gateway::relaying(&origin);
    let path = "/x-1.0.tar.gz";
    origin.serve(path, Reply::file(&body));
    let url = origin.url(path);
    let wrong = |number: usize| {
        let digest = sha256(&number.to_le_bytes());
        gateway.request("GET", &format!("/sha256:{digest}/{url}"))
    };
    // These clients go away before the first byte.
    for number in 0..20 {
        drop(wrong(number).start());
    }
    gateway.await_stored(&url);
    for number in 0..20 {
        let answer = wrong(number).send();
        assert!(answer.status == 409 || answer.ended == Ended::Cut);
    }
    wrong(0).send().assert_problem(409);
    assert!(
        origin.count(path) <= 3,
        "asked {} times",
        origin.count(path)
    );
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
}

#[test]
fn one_fetch_serves_every_statement() {
    let (body, other) = (archive(1, 300_000), archive(2, 300_000));
    let gate = Gate::new();
    let path = "/x-1.0.tar.gz";
    let (origin, gateway, url) = Scene::replying(path, Reply::file(&body).gate_at(100_000, &gate));
    let plain = gateway.get(&url).start();
    let ask = |stated: &Statement| state(&gateway, &url, stated).start();
    let right: Vec<_> = statements(&body).iter().map(ask).collect();
    let wrong: Vec<_> = statements(&other).iter().map(ask).collect();
    eventually("the origin is asked", || {
        (origin.count(path) > 0).then_some(())
    });
    gate.open();
    plain.head().finish().assert_body(200, &body);
    for waiting in right {
        waiting.head().finish().assert_body(200, &body);
    }
    for waiting in wrong {
        let answer = waiting.head().finish();
        if answer.status == 409 {
            answer.assert_problem(409);
        } else {
            answer.assert_broken();
            assert_same(&answer.body, &body[..answer.body.len()]);
        }
    }
    gateway.await_stored(&url);
    assert!(origin.count(path) <= 3, "late requests may ask again");
}

#[test]
fn uncomputed_digest_is_not_refused() {
    let origin = Origin::start();
    let (old, new) = (archive(1, 40_000), archive(2, 300_000));
    let gateway = Gateway::relaying(&origin);
    let by_sha256 = statements(&new).remove(0);
    for (number, stated) in statements(&new).iter().enumerate().skip(2) {
        let path = format!("/x-{number}.0.tar.gz");
        let (url, gate) = (origin.url(&path), Gate::new());
        origin.serve(&path, Reply::file(&old));
        gateway.assert_serves(&url, &old);
        gateway.await_stored(&url);
        origin.serve(&path, Reply::file(&new).gate_at(100_000, &gate));
        let first = state(&gateway, &url, &by_sha256).start();
        gate.await_reached(1);
        // The fetch computes SHA-256 only.
        let joined = state(&gateway, &url, stated).start();
        gateway.assert_serves(&url, &old);
        gate.open();
        for waiting in [first, joined] {
            waiting.head().finish().assert_body(200, &new);
        }
        eventually("both releases are stored", || {
            (gateway.records_of(&url).len() == 2).then_some(())
        });
        let object = format!("/api/v1/objects/sha256/{}", sha256(&new));
        gateway.operate("DELETE", &object).send().json();
        state(&gateway, &url, stated).send().assert_body(200, &new);
    }
}

#[test]
fn first_body_is_answer_whatever_is_stated() {
    let origin = Origin::start();
    let (body, other) = (archive(1, 50_000), archive(2, 50_000));
    let gateway = Gateway::relaying(&origin);
    for (number, stated) in statements(&other).iter().enumerate() {
        let path = format!("/x-{number}.0.tar.gz");
        let url = origin.url(&path);
        origin.serve(&path, Reply::file(&body));
        let refused = state(&gateway, &url, stated).send();
        assert!(refused.status == 409 || refused.ended == Ended::Cut);
        gateway.await_stored(&url);
        gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
        state(&gateway, &url, stated).send().assert_problem(409);
        assert_eq!(origin.count(&path), 1, "{path}");
    }
}

#[test]
fn mirror_is_no_source_of_stated_digest() {
    let origin = Origin::start();
    let (body, other) = (archive(1, 50_000), archive(2, 50_000));
    let mirror = Origin::start_at("127.0.0.2");
    let path = "/x-1.0.tar.gz";
    origin.serve(path, Reply::file(&body));
    mirror.serve(path, Reply::file(&other));
    let mirrors = mirror.url("/{path}");
    let rule = format!("host = \"127.0.0.1\"\npath_prefix = \"/\"\nmirrors = [{mirrors:?}]");
    let builder = Gateway::builder().origin(&origin).origin(&mirror).relay();
    let gateway = builder.rule(&rule).start();
    let url = origin.url(path);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let stated = gateway
        .get(&url)
        .header("X-Expected-Sha256", &sha256(&other));
    let answer = stated.send();
    assert!(answer.status == 409 || answer.ended == Ended::Cut);
    assert_eq!(mirror.total(), 0);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
}

#[test]
fn computed_digests_are_kept_with_object() {
    let path = "/x-1.0.tar.gz";
    let (_origin, mut gateway, body, url) = Scene::relaying(path, archive(1, 50_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let name = sha256(&body);
    let file = gateway.cache().join("digests").join(&name[..2]);
    let file = file.join(format!("{name}.json"));
    assert!(!file.exists(), "no client has stated a digest");
    let md5 = statements(&body).remove(3);
    state(&gateway, &url, &md5).send().assert_body(200, &body);
    let stored: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("the digests are stored"))
            .expect("the file is JSON");
    assert_eq!(stored["digests"]["md5"], hex::encode(Md5::digest(&body)));
    assert_eq!(stored["digests"]["sha1"], hex::encode(Sha1::digest(&body)));
    assert_eq!(
        stored["digests"]["sha512"],
        hex::encode(Sha512::digest(&body))
    );
    for damage in ["{}", "{\"version\":1,\"digests\":{\"md5\":\"00\"}}", ""] {
        gateway.stop();
        std::fs::write(&file, damage).expect("the file can be written");
        gateway.restart();
        state(&gateway, &url, &md5).send().assert_body(200, &body);
    }
    let object = format!("/api/v1/objects/sha256/{name}");
    gateway.operate("DELETE", &object).send().json();
    assert!(!file.exists(), "the digests go with the object");
}

#[test]
fn checked_body_is_stored_without_readers() {
    // A shorter body is checked before the client gets its head.
    let (old, new) = (archive(1, 40_000), archive(2, 17 << 20));
    let path = "/x-1.0.tar.gz";
    let (origin, gateway, url) = Scene::replying(path, Reply::file(&old));
    gateway.assert_serves(&url, &old);
    gateway.await_stored(&url);
    origin.serve(path, Reply::file(&new));
    let lock = gateway.cache().join("locks").join(&sha256(&new)[..2]);
    let lock = File::create(lock).expect("the lock file can be opened");
    lock.lock().expect("no process holds the lock");
    // The client gets the end while the body waits for the lock.
    let stated = statements(&new).remove(1);
    state(&gateway, &url, &stated).send().assert_body(200, &new);
    assert_eq!(
        gateway.records_of(&url).len(),
        1,
        "nothing is published yet"
    );
    drop(lock);
    let new = sha256(&new);
    let is_stored = |line: &str| line.contains("\"stored\"") && line.contains(&new);
    gateway
        .log()
        .wait_for_line("the new body is stored", is_stored);
    eventually("both releases are stored", || {
        (gateway.records_of(&url).len() == 2).then_some(())
    });
    assert_eq!(origin.count(path), 2);
}
