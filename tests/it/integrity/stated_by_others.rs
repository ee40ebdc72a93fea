//! Digests that one client states: what the other clients of a target get meanwhile and later.

use sha2::{Digest as _, Sha512};

use crate::harness::{
    Body, Ended, Gate, Gateway, Origin, Reply, archive, encoded, eventually, files_under, gzip,
    sha256,
};

const PATH: &str = "/x-1.0.tar.gz";

/// Starts a parent whose answer is `answer` and that also has `other`, and a child of it. The
/// origin is away.
fn family(origin: &Origin, answer: &Body, other: &Body) -> (Gateway, Gateway) {
    let parent = Gateway::builder().origin(origin).relay();
    let parent = parent.text("gateway.name", "parent").start();
    let url = origin.url(PATH);
    origin.serve(PATH, Reply::file(answer));
    parent.assert_serves(&url, answer);
    parent.await_stored(&url);
    origin.serve(PATH, Reply::file(other));
    let stated = parent.get(&url).header("X-Expected-Sha256", &sha256(other));
    stated.send().assert_body(200, other);
    origin.serve(PATH, Reply::status(503));
    let child = Gateway::builder().origin(origin).relay().one_attempt();
    let address = parent.addr();
    let child = child
        .parent(&format!("url = \"http://{address}\"\ntrusted = true"))
        .start();
    (parent, child)
}

#[test]
fn stated_digest_does_not_choose_answer_of_parent() {
    let origin = Origin::start();
    let (answer, other) = (archive(1, 50_000), archive(2, 50_000));
    let wrong = archive(3, 50_000);
    for stated in [&other, &wrong] {
        let (_parent, child) = family(&origin, &answer, &other);
        let url = origin.url(PATH);
        let request = child.get(&url).header("X-Expected-Sha256", &sha256(stated));
        let refused = request.send();
        assert!(refused.status >= 400 || refused.ended == Ended::Cut);
        // Neither the answer nor a failure of the other client's digest is left to others.
        child.assert_serves(&url, &answer);
        child.await_stored(&url);
        child.assert_serves(&url, &answer).assert_cache(&["hit"]);
    }
}

#[test]
fn stated_digest_does_not_choose_lost_bytes() {
    let origin = Origin::start();
    let (answer, other) = (archive(4, 50_000), archive(5, 50_000));
    let (parent, _child) = family(&origin, &answer, &other);
    let url = origin.url(PATH);
    for body in [&answer, &other] {
        let object = format!("/api/v1/objects/sha256/{}", sha256(body));
        parent.operate("DELETE", &object).send().assert_status(200);
    }
    origin.serve(PATH, Reply::file(&answer));
    let request = parent.get(&url);
    let request = request.header("X-Expected-Sha256", &sha256(&other));
    let refused = request.send();
    assert!(refused.status == 409 || refused.ended == Ended::Cut);
    // The fetch has brought the answer back, and left no failure.
    let asked = origin.count(PATH);
    parent.assert_serves(&url, &answer);
    assert_eq!(origin.count(PATH), asked);
}

#[test]
fn reader_without_digest_gets_no_other_bytes() {
    let origin = Origin::start();
    let (answer, other) = (archive(6, 300_000), archive(7, 300_000));
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(PATH);
    let gate = Gate::new();
    let released = Reply::file(&other).gate_at(100_000, &gate);
    let replies = vec![Reply::file(&answer), released, Reply::file(&answer)];
    origin.script(PATH, replies);
    gateway.assert_serves(&url, &answer);
    gateway.await_stored(&url);
    let stating = gateway
        .get(&url)
        .header("X-Expected-Sha256", &sha256(&other))
        .start();
    gate.await_reached(1);
    // The answer is evicted while the other bytes arrive.
    let object = format!("/api/v1/objects/sha256/{}", sha256(&answer));
    gateway.operate("DELETE", &object).send().assert_status(200);
    let plain = gateway.get(&url).start();
    eventually("the plain request has a fetch of its own", || {
        let stats = gateway.request("GET", "/api/v1/stats").send().json();
        (stats["in_flight"] == 2).then_some(())
    });
    gate.open();
    stating.head().finish().assert_body(200, &other);
    plain.head().finish().assert_body(200, &answer);
    let stated = format!("/api/v1/targets?url={}", encoded(&url));
    let records = gateway.request("GET", &stated).send().json();
    assert_eq!(records["records"][0]["sha256"], sha256(&answer));
}

#[test]
fn wrong_digest_does_not_confirm_truncated_body() {
    let origin = Origin::start();
    let body = Body::from(gzip(&archive(8, 400_000)));
    let gateway = Gateway::relaying(&origin);
    for (number, stated) in [sha256(&body), "0".repeat(64)].iter().enumerate() {
        let path = format!("/cut-{number}.0.tar.gz");
        let (url, gate) = (origin.url(&path), Gate::new());
        let cut = Reply::ok(&body).until_close().cut_at(200_000);
        let cut = cut.gate_at(100_000, &gate);
        origin.script(&path, vec![cut, Reply::status(503)]);
        let stating = gateway.get(&url).header("X-Expected-Sha256", stated).open();
        let plain = gateway.get(&url).open();
        gate.await_reached(1);
        gate.open();
        plain.finish().assert_broken();
        stating.finish().assert_broken();
        assert_eq!(gateway.await_fetch(&url)["outcome"], "failed", "{path}");
    }
    gateway.assert_nothing_stored();
}

#[test]
fn digests_in_one_path_are_bounded() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let many = (0..9).fold(String::new(), |all, number| {
        all + &format!("/md5:{number:032}")
    });
    let refused = gateway.request("GET", &format!("{many}/{}", origin.url(PATH)));
    refused.send().assert_problem(404);
    assert_eq!(origin.total(), 0);
}

#[test]
fn digests_of_unstored_bodies_are_not_kept() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let mut text = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n".to_vec();
    text.extend(b"+line\n".repeat(20_000));
    let (body, gate) = (Body::from(text), Gate::new());
    let path = "/x-1.0.patch";
    let first = Reply::ok(&body).until_close().gate_at(60_000, &gate);
    origin.script(path, vec![first, Reply::status(403)]);
    let url = origin.url(path);
    let plain = gateway.get(&url).open();
    let sha512 = hex::encode(Sha512::digest(&body));
    let stating = gateway
        .get(&url)
        .header("X-Expected-Sha512", &sha512)
        .open();
    gate.await_reached(1);
    gate.open();
    plain.finish().assert_body(200, &body);
    stating.finish().assert_body(200, &body);
    assert_eq!(gateway.await_fetch(&url)["outcome"], "failed");
    gateway.assert_nothing_stored();
    let kept = files_under(&gateway.cache().join("digests"));
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn doubtful_resumed_body_is_no_change() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("fetch.attempts", "3")
        .text("fetch.backoff", "1ms")
        .start();
    let url = origin.url(PATH);
    let (answer, other) = (archive(9, 300_000), archive(10, 300_000));
    // One tag stands for two versions, so the parts do not belong together.
    let tagged = |body: &Body| Reply::ok(body).header("ETag", "\"one\"").ranges();
    let replies = vec![
        Reply::file(&answer),
        tagged(&answer).cut_at(150_000),
        tagged(&other),
        Reply::status(503),
        Reply::status(404),
    ];
    origin.script(PATH, replies);
    gateway.assert_serves(&url, &answer);
    gateway.await_stored(&url);
    let object = format!("/api/v1/objects/sha256/{}", sha256(&answer));
    gateway.operate("DELETE", &object).send().assert_status(200);
    gateway.get(&url).send().assert_broken();
    gateway.log().wait_for("the failed fetch", |event| {
        event["message"] == "fetch" && event["outcome"] == "failed"
    });
    let objects = gateway.objects();
    assert!(objects.is_empty(), "{objects:?}");
}
