//! Records, names and index, held against each other by `millpond verify`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{
    Body, Bucket, Builder, Gateway, Origin, Reply, archive, assert_same, files_under, rot, sha256, verify,
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
    gateway.records_of(&origin.url(&path(number))).pop().expect("it has one")
}

/// Changes a record in place, as nobody else does.
fn change(path: &Path, key: &str, value: Value) {
    let mut record: Value = serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("it is JSON");
    record[key] = value;
    std::fs::write(path, record.to_string()).expect("it can be written");
}

/// Damages the records of the first four targets in as many ways.
fn damage_four(gateway: &Gateway, origin: &Origin) {
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|number| record(gateway, origin, number));
    std::fs::write(&first, b"{\"version\": 1, \"uri\": \"https://exam").expect("it can be written");
    change(&second, "uri", "https://example.org/other-1.0.tar.gz".into());
    change(&third, "sha256", sha256(b"other").into());
    change(&fourth, "size_bytes", (SIZE + 1).into());
}

const FOUR_LOST: [(&str, &str); 4] = [("damaged_record", "lost"); 4];

#[test]
fn damaged_records_are_set_aside_and_their_targets_fetched_anew_by_the_next_who_ask() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let bodies: Vec<_> = (0..5).map(|number| stored(&gateway, &origin, number)).collect();
    damage_four(&gateway, &origin);
    verify(&gateway, &["--dry-run"]).assert(4, &[("damaged_record", "left_alone"); 4]);
    assert_eq!(gateway.records().len(), 5);
    verify(&gateway, &[]).assert(4, &FOUR_LOST);
    assert_eq!(gateway.records(), [record(&gateway, &origin, 4)]);
    assert_eq!(files_under(&gateway.cache().join("quarantine")).len(), 4);
    // What the process remembered of them it need not forget.
    gateway.restart();
    for (number, body) in bodies.iter().enumerate() {
        gateway.assert_serves(&origin.url(&path(number as u64)), body);
        assert_eq!(origin.count(&path(number as u64)), if number < 4 { 2 } else { 1 });
    }
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn a_record_that_cannot_be_read_keeps_nobody_from_what_else_is_wrong() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let bodies: Vec<_> = (0..2).map(|number| stored(&gateway, &origin, number)).collect();
    let unreadable = record(&gateway, &origin, 0);
    std::fs::remove_file(&unreadable).expect("it is there");
    std::fs::create_dir(&unreadable).expect("the folder can be written");
    rot(&gateway, &bodies[1]);
    verify(&gateway, &[]).assert(4, &[("rotten", "refetched"), ("unreadable", "left_alone")]);
    assert_eq!(std::fs::read(gateway.object_path(&bodies[1])).expect("it is here again"), *bodies[1]);
    assert!(gateway.object_path(&bodies[0]).exists(), "what cannot be read says nothing against an object");
}

#[test]
fn damaged_records_come_back_from_the_bucket() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = bucket.configure(builder(&origin), "").start();
    let bodies: Vec<_> = (0..5).map(|number| stored(&gateway, &origin, number)).collect();
    (0..5).for_each(|number| gateway.await_uploaded(&origin.url(&path(number))));
    let before: Vec<_> = (0..4).map(|number| std::fs::read(record(&gateway, &origin, number)).unwrap()).collect();
    damage_four(&gateway, &origin);
    verify(&gateway, &[]).assert(0, &[("damaged_record", "restored"); 4]);
    for (number, before) in before.iter().enumerate() {
        assert_same(&std::fs::read(record(&gateway, &origin, number as u64)).unwrap(), before);
    }
    for (number, body) in bodies.iter().enumerate() {
        gateway.assert_serves(&origin.url(&path(number as u64)), body).assert_cache(&["hit", "detail=disk"]);
    }
    assert_eq!(origin.total(), bodies.len());
}

#[test]
fn a_record_of_a_later_version_is_left_to_those_who_know_it() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    change(&record(&gateway, &origin, 0), "version", 2.into());
    verify(&gateway, &[]).assert(0, &[]);
    assert!(gateway.object_path(&body).exists(), "its object is no orphan");
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn an_object_that_no_record_names_is_set_aside_and_its_space_given_back() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let kept = stored(&gateway, &origin, 0);
    let orphan = stored(&gateway, &origin, 1);
    std::fs::remove_file(record(&gateway, &origin, 1)).expect("it is there");
    verify(&gateway, &["--dry-run"]).assert(0, &[("orphan", "left_alone")]);
    assert!(gateway.object_path(&orphan).exists());
    verify(&gateway, &[]).assert(0, &[("orphan", "set_aside")]);
    assert_eq!(gateway.objects(), [gateway.object_path(&kept)]);
    let [set_aside] = &files_under(&gateway.cache().join("quarantine"))[..] else { panic!("it is in quarantine") };
    assert_same(&std::fs::read(set_aside).unwrap(), &orphan);
    verify(&gateway, &[]).assert(0, &[]);
}

#[test]
fn what_an_operator_keeps_is_no_orphan() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    let pin = format!("/api/v1/pins?url={}", crate::harness::encoded(&origin.url(&path(0))));
    gateway.operate("PUT", &pin).send().json();
    std::fs::remove_file(record(&gateway, &origin, 0)).expect("it is there");
    verify(&gateway, &[]).assert(0, &[("orphan", "left_alone")]);
    assert!(gateway.object_path(&body).exists());
}

#[test]
fn what_the_index_lists_and_is_gone_is_struck() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    std::fs::remove_file(gateway.object_path(&body)).expect("it is there");
    verify(&gateway, &["--dry-run"]).assert(0, &[("missing", "left_alone")]);
    verify(&gateway, &[]).assert(0, &[("missing", "struck")]);
    // Evicted or lost, it is a record without its object, which is nothing to complain of.
    verify(&gateway, &[]).assert(0, &[]);
    gateway.assert_serves(&origin.url(&path(0)), &body);
}

#[test]
fn what_is_not_known_here_is_told_and_left_alone() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = stored(&gateway, &origin, 0);
    let (objects, records) = (gateway.cache().join("objects"), gateway.cache().join("records"));
    let name = sha256(&body);
    let wrong_folder = if name.starts_with("00") { "01" } else { "00" };
    std::fs::create_dir_all(objects.join(wrong_folder)).expect("it can be made");
    let foreign = [
        objects.join("README"),
        objects.join(wrong_folder).join(&name),
        objects.join(&name[..2]).join("notes.txt"),
        records.join("notes.txt"),
        record(&gateway, &origin, 0).with_file_name("notes.txt"),
    ];
    for path in &foreign {
        std::fs::write(path, b"somebody's own").expect("it can be written");
    }
    std::fs::set_permissions(gateway.object_path(&body), Permissions::from_mode(0o644)).expect("it is ours");
    let verdict = verify(&gateway, &[]);
    let mut expected = vec![("foreign", "left_alone"); foreign.len()];
    expected.push(("writable", "left_alone"));
    verdict.assert(0, &expected);
    assert_eq!(verdict.verified["noted"], 6);
    for path in &foreign {
        assert!(path.exists(), "{} is left alone", path.display());
        let name = path.strip_prefix(gateway.cache()).unwrap().to_str().unwrap();
        assert!(verdict.findings.iter().any(|finding| finding["name"] == name), "{name} is told");
    }
    gateway.assert_serves(&origin.url(&path(0)), &body).assert_cache(&["hit", "detail=disk"]);
}
