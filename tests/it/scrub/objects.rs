//! `millpond verify`: corrupt objects are quarantined, then restored from the
//! bucket or fetched again.

use std::fs::File;
use std::path::PathBuf;

use crate::harness::{
    Body, Bucket, Ended, Gateway, Origin, Reply, archive, assert_same, encoded, eventually,
    files_under, millpond, object_key, rot, sha256, verify,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 150_000;

/// Returns a gateway that has stored one body.
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
fn corrupt_object_is_quarantined_and_refetched() {
    let (origin, body) = (Origin::start(), archive(1, SIZE));
    let gateway = with_one(&origin, &body);
    verify(&gateway, &[]).assert(0, &[]);
    rot(&gateway, &body);
    let verdict = verify(&gateway, &[]);
    verdict.assert(0, &[("corrupt", "refetched")]);
    assert_eq!(
        verdict.findings[0]["targets"],
        serde_json::json!([origin.url(PATH)])
    );
    assert_eq!(verdict.verified["repaired"], 1);
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 2);
    let [set_aside] = &quarantined(&gateway)[..] else {
        panic!("one file is in quarantine")
    };
    assert!(
        set_aside
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(&sha256(&body))
    );
    assert_ne!(sha256(&std::fs::read(set_aside).unwrap()), sha256(&body));
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn unrecoverable_object_is_refetched_on_next_request() {
    let (origin, body) = (Origin::start(), archive(2, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    origin.serve(PATH, Reply::status(404));
    let verdict = verify(&gateway, &[]);
    verdict.assert(4, &[("corrupt", "unrecoverable")]);
    assert!(
        verdict.findings[0]["detail"]
            .as_str()
            .unwrap()
            .contains("404"),
        "{:?}",
        verdict.findings
    );
    assert!(gateway.objects().is_empty());
    origin.serve(PATH, Reply::file(&body));
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn missing_object_is_reported_until_it_is_restored() {
    let (origin, body) = (Origin::start(), archive(12, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    origin.serve(PATH, Reply::status(404));
    for args in [&[][..], &["--dry-run"], &["--share", "0.000001"]] {
        let outcome = if args == ["--dry-run"] {
            "unchanged"
        } else {
            "unrecoverable"
        };
        verify(&gateway, args).assert(4, &[("corrupt", outcome)]);
    }
    origin.serve(PATH, Reply::file(&body));
    verify(&gateway, &["--share", "0.000001"]).assert(0, &[("corrupt", "refetched")]);
    assert_same(
        &std::fs::read(gateway.object_path(&body)).expect("the object is restored"),
        &body,
    );
    verify(&gateway, &[]).assert(0, &[]);
    assert_eq!(
        quarantined(&gateway).len(),
        1,
        "only the corrupt bytes are in quarantine"
    );
}

#[test]
fn different_upstream_bytes_do_not_replace_corrupt_object() {
    let (origin, body) = (Origin::start(), archive(3, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    origin.serve(PATH, Reply::file(&archive(4, SIZE)));
    verify(&gateway, &[]).assert(4, &[("corrupt", "unrecoverable")]);
    let answer = gateway.get(&origin.url(PATH)).send();
    // The response head may have been sent before the digest was known.
    assert!(
        answer.status == 409 || answer.ended == Ended::Cut,
        "{} with {} bytes",
        answer.status,
        answer.body.len()
    );
    assert_eq!(
        gateway
            .records_of(&origin.url(PATH))
            .iter()
            .filter(|path| path.ends_with(record_name(&body)))
            .count(),
        1
    );
}

fn record_name(body: &[u8]) -> String {
    format!("{}.json", sha256(body))
}

#[test]
fn corrupt_object_is_restored_from_bucket_first() {
    let (bucket, origin, body) = (Bucket::start(), Origin::start(), archive(5, SIZE));
    let gateway = bucket
        .configure(Gateway::builder().origin(&origin).relay().one_attempt(), "")
        .start();
    store(&gateway, &origin, PATH, &body);
    gateway.await_uploaded(&origin.url(PATH));
    rot(&gateway, &body);
    verify(&gateway, &[]).assert(0, &[("corrupt", "restored")]);
    assert_same(
        &std::fs::read(gateway.object_path(&body)).expect("the object is restored"),
        &body,
    );
    assert_eq!(origin.count(PATH), 1);
    // If the bucket's copy is corrupt too, the object is fetched from upstream.
    rot(&gateway, &body);
    bucket.damage(&object_key(&body));
    verify(&gateway, &[]).assert(0, &[("corrupt", "refetched")]);
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn truncated_object_is_found_at_any_share() {
    let (origin, body) = (Origin::start(), archive(6, SIZE));
    let gateway = with_one(&origin, &body);
    let truncate = || {
        let path = gateway.object_path(&body);
        std::fs::remove_file(&path).expect("the object exists");
        std::fs::write(&path, &body[..SIZE / 3]).expect("the object can be written");
    };
    truncate();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
    let size_bytes =
        || std::fs::metadata(gateway.object_path(&body)).map(|metadata| metadata.len());
    eventually("the object is stored again", || {
        (size_bytes().ok()? == body.len() as u64).then_some(())
    });
    truncate();
    verify(&gateway, &["--dry-run"]).assert(
        4,
        &[("corrupt", "unchanged"), ("writable_object", "unchanged")],
    );
    verify(&gateway, &["--share", "0.000001"]).assert(0, &[("corrupt", "refetched")]);
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 3);
}

#[test]
fn dry_run_reports_and_changes_nothing() {
    let (origin, body) = (Origin::start(), archive(7, SIZE));
    let gateway = with_one(&origin, &body);
    rot(&gateway, &body);
    let before = std::fs::read(gateway.object_path(&body)).unwrap();
    for _ in 0..2 {
        verify(&gateway, &["--dry-run"]).assert(4, &[("corrupt", "unchanged")]);
    }
    assert_same(&std::fs::read(gateway.object_path(&body)).unwrap(), &before);
    assert!(quarantined(&gateway).is_empty());
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn shares_cover_each_object_once() {
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
    let read: u64 = (0..4)
        .map(|_| {
            verify(&gateway, &["--share", "0.25"]).verified["objects"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert_eq!(read, COUNT);
    assert_eq!(origin.total(), 2 * bodies.len());
}

#[test]
fn concurrent_fetches_and_evictions_cause_no_findings() {
    let origin = Origin::start();
    let small = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.max_size", "1MiB")
        .start();
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
fn missing_pinned_object_is_refetched() {
    let (origin, body) = (Origin::start(), archive(8, SIZE));
    let gateway = with_one(&origin, &body);
    gateway
        .operate(
            "PUT",
            &format!("/api/v1/pins?url={}", encoded(&origin.url(PATH))),
        )
        .send()
        .json();
    std::fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    verify(&gateway, &[]).assert(
        0,
        &[
            ("missing", "removed_from_index"),
            ("pinned_missing", "refetched"),
        ],
    );
    assert_same(
        &std::fs::read(gateway.object_path(&body)).expect("the object is restored"),
        &body,
    );
}

#[test]
fn quarantine_is_limited_to_twentieth_of_cache() {
    let (origin, body, second) = (Origin::start(), archive(9, SIZE), archive(10, SIZE));
    let mut gateway = with_one(&origin, &body);
    // A twentieth of this size is one and a half objects.
    gateway.restart_with(|builder| builder.text("cache.max_size", "4500KB"));
    store(&gateway, &origin, "/pub/y-1.0.tar.gz", &second);
    rot(&gateway, &body);
    verify(&gateway, &[]).assert(0, &[("corrupt", "refetched")]);
    rot(&gateway, &second);
    verify(&gateway, &[]).assert(0, &[("corrupt", "refetched")]);
    let [left] = &quarantined(&gateway)[..] else {
        panic!("one file is in quarantine")
    };
    assert!(
        left.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(&sha256(&second)),
        "the older file is removed"
    );
}

#[test]
fn one_process_verifies_folder_at_a_time() {
    let (origin, body) = (Origin::start(), archive(11, SIZE));
    let gateway = with_one(&origin, &body);
    let lock =
        File::create(gateway.cache().join("locks/scrub")).expect("the lock file can be created");
    lock.lock().expect("the lock is free");
    let file = gateway.file();
    let args = [
        "scrub",
        "--config",
        file.to_str().expect("the path is text"),
    ];
    let run = millpond(gateway.cache(), &args);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(
        run.stderr.contains("another process scrubs"),
        "{}",
        run.stderr
    );
    drop(lock);
    let run = millpond(gateway.cache(), &args);
    run.assert_success();
    assert!(
        run.stdout.starts_with(
            "1 objects of 150000 bytes are intact; 1 records; 0 repaired, 0 unrepaired, 0 warnings"
        ),
        "{}",
        run.stdout
    );
}

#[test]
fn invalid_arguments_and_missing_folder_are_reported() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for share in ["0", "1.5", "-1", "x", "NaN"] {
        let run = millpond(folder.path(), &["scrub", &format!("--share={share}")]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
    }
    let run = millpond(folder.path(), &["scrub", "--set", "cache.dir=nowhere"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("nowhere"), "{}", run.stderr);
    assert!(!folder.path().join("nowhere").exists());
}
