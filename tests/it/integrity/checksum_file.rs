//! Checksum file (`policy.checksums_file`): a required digest applies to every client and
//! follows edits of the file.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Body, Builder, Gateway, Origin, Reply, archive, encoded, eventually, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// An origin with one file, and a checksum file.
struct Stated {
    origin: Origin,
    url: String,
    file: PathBuf,
    builder: Builder,
}

impl Stated {
    fn new(body: &Body) -> Self {
        let origin = Origin::start();
        origin.serve(PATH, Reply::file(body));
        let builder = Gateway::builder()
            .origin(&origin)
            .one_attempt()
            .text("cache.negative_ttl", "1ms");
        let file = builder.folder().join("pins");
        let builder = builder.text(
            "policy.checksums_file",
            file.to_str().expect("the path is text"),
        );
        let url = origin.url(PATH);
        fs::write(&file, "# nothing yet\n").expect("the folder can be written");
        Self {
            origin,
            url,
            file,
            builder,
        }
    }

    fn state(&self, body: &Body) {
        let text = format!("# what must be\n\n{} *{}\n", sha256(body), self.url);
        // Replaces the file atomically, as editors do: a reader sees the old file or the new one.
        let draft = self.file.with_extension("new");
        fs::write(&draft, text).expect("the folder can be written");
        fs::rename(draft, &self.file).expect("the folder can be written");
    }

    fn start(&self) -> Gateway {
        self.builder.clone().start()
    }
}

fn await_reread(gateway: &Gateway, times: usize) {
    let is_reread =
        |event: &serde_json::Value| event["message"] == "reloaded policy.checksums_file";
    gateway
        .log()
        .wait_for_many("the checksum file is reloaded", times, is_reread);
}

#[track_caller]
fn await_alert(gateway: &Gateway) {
    eventually("the mismatch is an alert", || {
        let listed = gateway.operate("GET", "/api/v1/incidents").send().json();
        let incidents = listed["incidents"]
            .as_array()
            .expect("`incidents` is an array")
            .clone();
        incidents
            .into_iter()
            .find(|one| one["cause"] == "checksum_mismatch" && one["severity"] == "alert")
            .map(drop)
    });
}

#[test]
fn checksum_violation_is_refused_and_not_stored() {
    let (body, wanted) = (archive(1, 300), archive(2, 300));
    let stated = Stated::new(&body);
    stated.state(&wanted);
    let gateway = stated.start();
    gateway
        .get(&stated.url)
        .wget_agent()
        .send()
        .assert_problem(409);
    gateway
        .proxied("GET", &stated.url)
        .send()
        .assert_problem(409);
    let before = stated.origin.count(PATH);
    let expecting = gateway
        .get(&stated.url)
        .header("X-Expected-Sha256", &sha256(&body));
    expecting.send().assert_problem(409);
    assert_eq!(
        stated.origin.count(PATH),
        before,
        "no body can match both digests"
    );
    await_alert(&gateway);
    gateway.assert_nothing_stored();
    stated.origin.serve(PATH, Reply::file(&wanted));
    let served = eventually("the negative cache entry expires", || {
        let answer = gateway.get(&stated.url).wget_agent().send();
        (answer.status == 200).then_some(answer)
    });
    served.assert_body(200, &wanted);
    gateway
        .proxied("GET", &stated.url)
        .send()
        .assert_body(200, &wanted);
}

#[test]
fn last_byte_is_withheld_on_checksum_violation() {
    let (body, wanted) = (archive(3, 200_000), archive(4, 200_000));
    let stated = Stated::new(&body);
    stated.state(&wanted);
    let gateway = stated.start();
    gateway.get(&stated.url).wget_agent().send().assert_broken();
    gateway.assert_nothing_stored();
}

#[test]
fn stored_checksum_violation_is_refused_until_file_changes() {
    let body = archive(5, 20_000);
    let stated = Stated::new(&body);
    let gateway = stated.start();
    let get = || {
        gateway
            .get(&stated.url)
            .header("User-Agent", "curl/8")
            .send()
    };
    get().assert_body(200, &body);
    gateway.await_stored(&stated.url);
    stated.state(&archive(6, 10));
    await_reread(&gateway, 1);
    get().assert_problem(409);
    gateway
        .proxied("HEAD", &stated.url)
        .send()
        .assert_status(409);
    await_alert(&gateway);
    assert_eq!(
        gateway.records_of(&stated.url).len(),
        1,
        "the record is kept"
    );
    stated.state(&body);
    await_reread(&gateway, 2);
    get().assert_body(200, &body);
    assert_eq!(stated.origin.count(PATH), 1);
}

#[test]
fn refresh_and_refetch_obey_required_digest() {
    let (body, wanted) = (archive(7, 20_000), archive(8, 20_000));
    let stated = Stated::new(&body);
    let gateway = stated.start();
    gateway
        .get(&stated.url)
        .header("User-Agent", "curl/8")
        .send()
        .assert_body(200, &body);
    gateway.await_stored(&stated.url);
    stated.origin.serve(PATH, Reply::file(&wanted));
    stated.state(&wanted);
    await_reread(&gateway, 1);
    gateway.get(&stated.url).send().assert_problem(409);
    let refresh = format!("/api/v1/refresh?url={}", encoded(&stated.url));
    gateway.operate("POST", &refresh).send().json();
    gateway
        .assert_serves(&stated.url, &wanted)
        .assert_cache(&["hit"]);
    let shown = gateway
        .request(
            "GET",
            &format!("/api/v1/targets?url={}", encoded(&stated.url)),
        )
        .send()
        .json();
    assert_eq!(shown["required_sha256"], sha256(&wanted));
    for object in gateway.objects() {
        fs::remove_file(object).expect("the object exists");
    }
    gateway.assert_serves(&stated.url, &wanted);
    let fetches = gateway
        .log()
        .wait_for_many("three fetches", 3, |event| event["message"] == "fetch");
    assert_eq!(fetches[2]["sha256"], sha256(&wanted), "{}", fetches[2]);
    stated.origin.serve(PATH, Reply::file(&body));
    gateway.operate("POST", &refresh).send().assert_problem(409);
}

#[test]
fn import_must_match_required_digest() {
    let (body, wanted) = (archive(9, 20_000), archive(10, 20_000));
    let stated = Stated::new(&body);
    stated.state(&wanted);
    let gateway = stated.start();
    let path = format!("/api/v1/objects?url={}", encoded(&stated.url));
    gateway
        .operate("PUT", &path)
        .body(&body)
        .send()
        .assert_problem(409);
    gateway.assert_nothing_stored();
    gateway
        .operate("PUT", &path)
        .body(&wanted)
        .send()
        .assert_status(201);
}

#[test]
fn processes_fetch_target_with_required_digest_once() {
    let body = archive(11, 200_000);
    let stated = Stated::new(&body);
    stated.state(&body);
    let gate = crate::harness::Gate::new();
    stated
        .origin
        .serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = stated.start();
    let second = first.sibling().start();
    let mut answers = [
        first.get(&stated.url).open(),
        second.get(&stated.url).open(),
    ];
    for answer in &mut answers {
        crate::harness::assert_same(&answer.read(50_000), &body[..50_000]);
    }
    gate.open();
    for answer in answers {
        crate::harness::assert_same(&answer.finish().body, &body[50_000..]);
    }
    assert_eq!(stated.origin.count(PATH), 1);
}

#[test]
fn invalid_checksum_file_keeps_previous_one() {
    let (body, other) = (archive(12, 300), archive(13, 300));
    let stated = Stated::new(&body);
    stated.state(&other);
    let mut gateway = stated.start();
    let secret = format!(
        "{}  https://user:S3CRET@example.org/x\nnonsense\n",
        sha256(&body)
    );
    fs::write(&stated.file, &secret).expect("the folder can be written");
    let complaint = gateway.log().wait_for("the warning", |event| {
        event["message"] == "reload of policy.checksums_file failed; keeping the old checksums"
    });
    assert!(
        complaint["error"]
            .as_str()
            .is_some_and(|text| text.contains("pins:1: ")),
        "{complaint}"
    );
    gateway.get(&stated.url).send().assert_problem(409);
    gateway.reload(|builder| builder);
    gateway.log().wait_for("the reload", |event| {
        event["message"] == "the configuration was not reloaded; the old one stays in force"
    });
    gateway.get(&stated.url).send().assert_problem(409);
    assert!(!gateway.log().text().contains("S3CRET"));
    let other_file = stated.file.with_extension("other");
    fs::write(&other_file, "").expect("the folder can be written");
    gateway.reload(|builder| {
        builder.text(
            "policy.checksums_file",
            other_file.to_str().expect("the path is text"),
        )
    });
    gateway.log().wait_for("the reload", |event| {
        event["message"] == "the configuration was reloaded"
    });
    gateway
        .proxied("GET", &stated.url)
        .send()
        .assert_body(200, &body);
}
