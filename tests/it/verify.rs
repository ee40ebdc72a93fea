//! `millpond verify`: what is kept is held against its digests, set aside where it is wrong, and brought again.

use std::fs::File;
use std::path::PathBuf;

use crate::harness::{
    Body, Bucket, Ended, Gateway, Origin, Reply, archive, assert_same, encoded, files_under, millpond, object_key, rot,
    sha256, verify,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 150_000;

/// A gateway that has stored one body.
fn with_one(origin: &Origin, body: &Body) -> Gateway {
    let gateway = Gateway::relaying(origin);
    store(&gateway, origin, PATH, body);
    gateway
}

fn store(gateway: &Gateway, origin: &Origin, path: &str, body: &Body) {
    origin.serve(path, Reply::file(body));
    gateway.assert_serves(&origin.url(path), body);
    gateway.await_stored(&origin.url(path));
}

fn quarantined(gateway: &Gateway) -> Vec<PathBuf> {
    files_under(&gateway.cache().join("quarantine"))
}

#[test]
fn a_rotten_object_is_set_aside_and_fetched_again_while_the_folder_is_served() {
    let (origin, body) = (Origin::start(), archive(1, SIZE));
    let gateway = with_one(&origin, &body);
    verify(&gateway, &[]).assert(0, &[]);
    rot(&gateway, &body);
    let verdict = verify(&gateway, &[]);
    verdict.assert(0, &[("rotten", "refetched")]);
    assert_eq!(verdict.findings[0]["targets"], serde_json::json!([origin.url(PATH)]));
    assert_eq!(verdict.verified["mended"], 1);
    gateway.assert_serves(&origin.url(PATH), &body).assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 2);
    let [set_aside] = &quarantined(&gateway)[..] else { panic!("one file is in quarantine") };
    assert!(set_aside.file_name().unwrap().to_str().unwrap().starts_with(&sha256(&body)));
    assert_ne!(sha256(&std::fs::read(set_aside).unwrap()), sha256(&body));
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn a_rotten_object_that_nobody_has_is_served_no_more_and_tried_again_when_it_is_asked_for() {
    let (origin, body) = (Origin::start(), archive(2, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    origin.serve(PATH, Reply::status(404));
    let verdict = verify(&gateway, &[]);
    verdict.assert(4, &[("rotten", "lost")]);
    assert!(verdict.findings[0]["detail"].as_str().unwrap().contains("404"), "{:?}", verdict.findings);
    assert!(gateway.objects().is_empty());
    origin.serve(PATH, Reply::file(&body));
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn what_was_lost_is_wrong_until_it_is_had_again() {
    let (origin, body) = (Origin::start(), archive(12, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    origin.serve(PATH, Reply::status(404));
    for args in [&[][..], &["--dry-run"], &["--share", "0.000001"]] {
        let outcome = if args == ["--dry-run"] { "left_alone" } else { "lost" };
        verify(&gateway, args).assert(4, &[("rotten", outcome)]);
    }
    origin.serve(PATH, Reply::file(&body));
    verify(&gateway, &["--share", "0.000001"]).assert(0, &[("rotten", "refetched")]);
    assert_same(&std::fs::read(gateway.object_path(&body)).expect("it is back"), &body);
    verify(&gateway, &[]).assert(0, &[]);
    assert_eq!(quarantined(&gateway).len(), 1, "the rotten bytes alone");
}

#[test]
fn other_bytes_of_upstream_do_not_take_the_place_of_a_rotten_object() {
    let (origin, body) = (Origin::start(), archive(3, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    origin.serve(PATH, Reply::file(&archive(4, SIZE)));
    verify(&gateway, &[]).assert(4, &[("rotten", "lost")]);
    let answer = gateway.get(&origin.url(PATH)).send();
    // It depends on how the bytes come whether the head was on its way before they were known to be others.
    assert!(answer.status == 409 || answer.ended == Ended::Cut, "{} with {} bytes", answer.status, answer.body.len());
    assert_eq!(
        gateway.records_of(&origin.url(PATH)).iter().filter(|path| path.ends_with(record_name(&body))).count(),
        1
    );
}

fn record_name(body: &[u8]) -> String {
    format!("{}.json", sha256(body))
}

#[test]
fn what_the_bucket_has_is_restored_from_there_and_upstream_is_not_asked() {
    let (bucket, origin, body) = (Bucket::start(), Origin::start(), archive(5, SIZE));
    let gateway = bucket.configure(Gateway::builder().origin(&origin).relay().one_attempt(), "").start();
    store(&gateway, &origin, PATH, &body);
    gateway.await_uploaded(&origin.url(PATH));
    rot(&gateway, &body);
    verify(&gateway, &[]).assert(0, &[("rotten", "restored")]);
    assert_same(&std::fs::read(gateway.object_path(&body)).expect("it is back"), &body);
    assert_eq!(origin.count(PATH), 1);
    // Where the bucket is wrong too, upstream is asked.
    rot(&gateway, &body);
    bucket.damage(&object_key(&body));
    verify(&gateway, &[]).assert(0, &[("rotten", "refetched")]);
    gateway.assert_serves(&origin.url(PATH), &body).assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn a_truncated_object_is_never_served_and_found_whatever_share_is_read() {
    let (origin, body) = (Origin::start(), archive(6, SIZE));
    let gateway = with_one(&origin, &body);
    let truncate = || {
        let path = gateway.object_path(&body);
        std::fs::remove_file(&path).expect("it is there");
        std::fs::write(&path, &body[..SIZE / 3]).expect("it can be written");
    };
    truncate();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.proxied("GET", &origin.url(PATH)).send().assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
    truncate();
    verify(&gateway, &["--dry-run"]).assert(4, &[("rotten", "left_alone"), ("writable", "left_alone")]);
    verify(&gateway, &["--share", "0.000001"]).assert(0, &[("rotten", "refetched")]);
    gateway.assert_serves(&origin.url(PATH), &body).assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 3);
}

#[test]
fn a_rehearsal_says_what_is_wrong_and_changes_nothing() {
    let (origin, body) = (Origin::start(), archive(7, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    let before = std::fs::read(gateway.object_path(&body)).unwrap();
    for _ in 0..2 {
        verify(&gateway, &["--dry-run"]).assert(4, &[("rotten", "left_alone")]);
    }
    assert_same(&std::fs::read(gateway.object_path(&body)).unwrap(), &before);
    assert!(quarantined(&gateway).is_empty());
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn shares_come_to_the_whole_and_no_object_is_read_twice() {
    const COUNT: u64 = 24;
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let bodies: Vec<_> = (0..COUNT).map(|seed| archive(100 + seed, 5000)).collect();
    for (number, body) in bodies.iter().enumerate() {
        store(&gateway, &origin, &format!("/pub/y-{number}.tar.gz"), body);
        rot(&gateway, body);
    }
    let mut found = 0;
    for _ in 0..4 {
        let verdict = verify(&gateway, &["--share", "0.25"]);
        assert_eq!(verdict.code, Some(0));
        found += verdict.findings.len();
    }
    assert_eq!(found, bodies.len());
    let read: u64 = (0..4).map(|_| verify(&gateway, &["--share", "0.25"]).verified["objects"].as_u64().unwrap()).sum();
    assert_eq!(read, COUNT);
    assert_eq!(origin.total(), 2 * bodies.len());
}

#[test]
fn what_comes_and_goes_meanwhile_is_no_finding() {
    let origin = Origin::start();
    let small = Gateway::builder().origin(&origin).relay().one_attempt().text("cache.max_size", "1MiB").start();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            for seed in 0..60 {
                let path = format!("/pub/z-{seed}.tar.gz");
                let body = archive(200 + seed, SIZE);
                origin.serve(&path, Reply::file(&body));
                small.assert_serves(&origin.url(&path), &body);
            }
        });
        while !fetching.is_finished() {
            verify(&small, &[]).assert(0, &[]);
        }
    });
    assert!(quarantined(&small).is_empty());
}

#[test]
fn what_is_pinned_and_gone_is_brought_again() {
    let (origin, body) = (Origin::start(), archive(8, SIZE));
    let gateway = with_one(&origin, &body);
    gateway.operate("PUT", &format!("/api/v1/pins?url={}", encoded(&origin.url(PATH)))).send().json();
    std::fs::remove_file(gateway.object_path(&body)).expect("it is there");
    verify(&gateway, &[]).assert(0, &[("missing", "struck"), ("missing_pinned", "refetched")]);
    assert_same(&std::fs::read(gateway.object_path(&body)).expect("it is back"), &body);
}

#[test]
fn the_quarantine_holds_a_twentieth_of_the_cache_and_no_more() {
    let (origin, body, second) = (Origin::start(), archive(9, SIZE), archive(10, SIZE));
    let mut gateway = with_one(&origin, &body);
    // A twentieth of this is one object and a half.
    gateway.restart_with(|builder| builder.text("cache.max_size", "4500KB"));
    store(&gateway, &origin, "/pub/y-1.0.tar.gz", &second);
    rot(&gateway, &body);
    verify(&gateway, &[]).assert(0, &[("rotten", "refetched")]);
    rot(&gateway, &second);
    verify(&gateway, &[]).assert(0, &[("rotten", "refetched")]);
    let [left] = &quarantined(&gateway)[..] else { panic!("one file is in quarantine") };
    assert!(left.file_name().unwrap().to_str().unwrap().starts_with(&sha256(&second)), "the older one went");
}

#[test]
fn one_process_verifies_a_folder_at_a_time() {
    let (origin, body) = (Origin::start(), archive(11, SIZE));
    let gateway = with_one(&origin, &body);
    let lock = File::create(gateway.cache().join("locks/verify")).expect("it can be made");
    lock.lock().expect("nobody has it");
    let file = gateway.file();
    let args = ["verify", "--config", file.to_str().expect("the path is text")];
    let run = millpond(gateway.cache(), &args);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(run.stderr.contains("another process verifies"), "{}", run.stderr);
    drop(lock);
    let run = millpond(gateway.cache(), &args);
    run.assert_success();
    assert!(
        run.stdout.starts_with("1 objects of 150000 bytes are right; 1 records; 0 mended, 0 not, 0 odd"),
        "{}",
        run.stdout
    );
}

#[test]
fn wrong_arguments_and_a_folder_that_is_not_there_are_said_so() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for share in ["0", "1.5", "-1", "x", "NaN"] {
        let run = millpond(folder.path(), &["verify", &format!("--share={share}")]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
    }
    let run = millpond(folder.path(), &["verify", "--set", "cache.dir=nowhere"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("nowhere"), "{}", run.stderr);
    assert!(!folder.path().join("nowhere").exists());
}
