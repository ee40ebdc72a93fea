//! `millpond verify`: consistency of records, file names and the index.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{
    Body, Bucket, Builder, Gateway, Origin, Reply, archive, assert_same, files_under, rot, sha256,
    verify,
};

const SIZE: usize = 20_000;

fn builder(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

fn path(number: u64) -> String {
    format!("/pub/x-{number}.tar.gz")
}

fn stored(gateway: &Gateway, origin: &Origin, number: u64) -> Body {
    let (path, body) = (path(number), archive(number, SIZE));
    origin.serve(&path, Reply::file(&body));
    gateway.assert_serves(&origin.url(&path), &body);
    gateway.await_stored(&origin.url(&path));
    body
}

fn record(gateway: &Gateway, origin: &Origin, number: u64) -> PathBuf {
    gateway
        .records_of(&origin.url(&path(number)))
        .pop()
        .expect("the target has a record")
}

/// Changes a record in place, which no process does.
fn change(path: &Path, key: &str, value: Value) {
    let mut record: Value =
        serde_json::from_slice(&std::fs::read(path).expect("the record exists"))
            .expect("the record is JSON");
    record[key] = value;
    std::fs::write(path, record.to_string()).expect("the record can be written");
}

/// Damages the records of the first four targets, each in a different way.
fn damage_four(gateway: &Gateway, origin: &Origin) {
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|number| record(gateway, origin, number));
    std::fs::write(&first, b"{\"version\": 1, \"uri\": \"https://exam")
        .expect("the record can be written");
    change(
        &second,
        "uri",
        "https://example.org/other-1.0.tar.gz".into(),
    );
    change(&third, "sha256", sha256(b"other").into());
    change(&fourth, "size_bytes", (SIZE + 1).into());
}

/// The first record does not show its target, and the second one shows another target.
const TWO_REPAIRED: [(&str, &str); 4] = [
    ("damaged_record", "restored"),
    ("damaged_record", "restored"),
    ("damaged_record", "unchanged"),
    ("damaged_record", "unchanged"),
];

#[test]
fn damaged_records_are_rebuilt_from_objects() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let bodies: Vec<_> = (0..5)
        .map(|number| stored(&gateway, &origin, number))
        .collect();
    damage_four(&gateway, &origin);
    verify(&gateway, &["--dry-run"]).assert(4, &[("damaged_record", "unchanged"); 4]);
    assert_eq!(gateway.records().len(), 5);
    verify(&gateway, &[]).assert(4, &TWO_REPAIRED);
    assert_eq!(gateway.records().len(), 5, "no record is lost");
    assert_eq!(files_under(&gateway.cache().join("quarantine")).len(), 2);
    // The restart clears the lookup cache, which may still contain the records.
    gateway.restart();
    for (number, body) in bodies.iter().enumerate() {
        gateway.assert_serves(&origin.url(&path(number as u64)), body);
        assert_eq!(
            origin.count(&path(number as u64)),
            if number == 1 { 2 } else { 1 },
            "{number}"
        );
    }
    gateway.await_fetch(&origin.url(&path(1)));
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn unreadable_record_does_not_stop_verification() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let bodies: Vec<_> = (0..2)
        .map(|number| stored(&gateway, &origin, number))
        .collect();
    let unreadable = record(&gateway, &origin, 0);
    std::fs::remove_file(&unreadable).expect("the record exists");
    std::fs::create_dir(&unreadable).expect("the folder can be written");
    rot(&gateway, &bodies[1]);
    verify(&gateway, &[]).assert(4, &[("corrupt", "refetched"), ("unreadable", "unchanged")]);
    assert_eq!(
        std::fs::read(gateway.object_path(&bodies[1])).expect("the object is restored"),
        *bodies[1]
    );
    assert!(
        gateway.object_path(&bodies[0]).exists(),
        "an unreadable record does not make its object an orphan"
    );
}

#[test]
fn damaged_records_are_restored_from_bucket() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = bucket.configure(builder(&origin), "").start();
    let bodies: Vec<_> = (0..5)
        .map(|number| stored(&gateway, &origin, number))
        .collect();
    (0..5).for_each(|number| gateway.await_uploaded(&origin.url(&path(number))));
    let before: Vec<_> = (0..4)
        .map(|number| std::fs::read(record(&gateway, &origin, number)).unwrap())
        .collect();
    damage_four(&gateway, &origin);
    verify(&gateway, &[]).assert(0, &[("damaged_record", "restored"); 4]);
    for (number, before) in before.iter().enumerate() {
        assert_same(
            &std::fs::read(record(&gateway, &origin, number as u64)).unwrap(),
            before,
        );
    }
    for (number, body) in bodies.iter().enumerate() {
        gateway
            .assert_serves(&origin.url(&path(number as u64)), body)
            .assert_cache(&["hit", "detail=disk"]);
    }
    assert_eq!(origin.total(), bodies.len());
}

#[test]
fn record_of_later_version_is_kept() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    change(&record(&gateway, &origin, 0), "version", 2.into());
    verify(&gateway, &[]).assert(0, &[]);
    assert!(
        gateway.object_path(&body).exists(),
        "the object of the record is no orphan"
    );
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn orphan_object_is_quarantined_and_its_space_freed() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let kept = stored(&gateway, &origin, 0);
    let orphan = stored(&gateway, &origin, 1);
    std::fs::remove_file(record(&gateway, &origin, 1)).expect("the record exists");
    verify(&gateway, &["--dry-run"]).assert(0, &[("orphan", "unchanged")]);
    assert!(gateway.object_path(&orphan).exists());
    verify(&gateway, &[]).assert(0, &[("orphan", "quarantined")]);
    assert_eq!(gateway.objects(), [gateway.object_path(&kept)]);
    let [set_aside] = &files_under(&gateway.cache().join("quarantine"))[..] else {
        panic!("one file is in quarantine")
    };
    assert_same(&std::fs::read(set_aside).unwrap(), &orphan);
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn pinned_object_is_no_orphan() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    let pin = format!(
        "/api/v1/pins?url={}",
        crate::harness::encoded(&origin.url(&path(0)))
    );
    gateway.operate("PUT", &pin).send().json();
    std::fs::remove_file(record(&gateway, &origin, 0)).expect("the record exists");
    verify(&gateway, &[]).assert(0, &[("orphan", "unchanged")]);
    assert!(gateway.object_path(&body).exists());
}

#[test]
fn missing_object_is_removed_from_index() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    std::fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    verify(&gateway, &["--dry-run"]).assert(0, &[("missing", "unchanged")]);
    verify(&gateway, &[]).assert(0, &[("missing", "removed_from_index")]);
    // A record without its object is valid, as after an eviction.
    verify(&gateway, &[]).assert(0, &[]);
    gateway.assert_serves(&origin.url(&path(0)), &body);
}

#[test]
fn unknown_files_are_reported_and_kept() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    let (objects, records) = (
        gateway.cache().join("objects"),
        gateway.cache().join("records"),
    );
    let name = sha256(&body);
    let wrong_folder = if name.starts_with("00") { "01" } else { "00" };
    std::fs::create_dir_all(objects.join(wrong_folder)).expect("the folder can be created");
    let foreign = [
        objects.join("README"),
        objects.join(wrong_folder).join(&name),
        objects.join(&name[..2]).join("notes.txt"),
        records.join("notes.txt"),
        record(&gateway, &origin, 0).with_file_name("notes.txt"),
    ];
    for path in &foreign {
        std::fs::write(path, b"unknown content").expect("the file can be written");
    }
    std::fs::set_permissions(gateway.object_path(&body), Permissions::from_mode(0o644))
        .expect("the mode can be changed");
    let verdict = verify(&gateway, &[]);
    let mut expected = vec![("unknown_file", "unchanged"); foreign.len()];
    expected.push(("writable_object", "unchanged"));
    verdict.assert(0, &expected);
    assert_eq!(verdict.verified["warnings"], 6);
    for path in &foreign {
        assert!(path.exists(), "{} is kept", path.display());
        let name = path
            .strip_prefix(gateway.cache())
            .unwrap()
            .to_str()
            .unwrap();
        assert!(
            verdict
                .findings
                .iter()
                .any(|finding| finding["name"] == name),
            "{name} is reported"
        );
    }
    gateway
        .assert_serves(&origin.url(&path(0)), &body)
        .assert_cache(&["hit", "detail=disk"]);
}
