//! `millpond migrate` into a folder or bucket that has targets of its own: its answers stay.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{
    Body, Bucket, Gateway, Origin, Reply, archive, encoded, eventually, millpond, sha256,
};

fn path(number: usize) -> String {
    format!("/pub/x-{number}.0.tar.gz")
}

/// Two bodies, with the smaller digest first.
fn pair() -> [Body; 2] {
    let mut bodies = [archive(1, 5_000), archive(2, 5_000)];
    bodies.sort_by_key(|body| sha256(body));
    bodies
}

fn store(gateway: &Gateway, origin: &Origin, number: usize, body: &Body) {
    origin.serve(&path(number), Reply::file(body));
    gateway.assert_serves(&origin.url(&path(number)), body);
    gateway.await_stored(&origin.url(&path(number)));
}

/// Stores a body beside the answer.
fn store_variant(gateway: &Gateway, origin: &Origin, number: usize, body: &Body) {
    let url = origin.url(&path(number));
    origin.serve(&path(number), Reply::file(body));
    let stated = gateway.get(&url).header("X-Expected-Sha256", &sha256(body));
    stated.send().assert_body(200, body);
    eventually("both bodies are stored", || {
        (gateway.records_of(&url).len() == 2).then_some(())
    });
}

fn pin(gateway: &Gateway, origin: &Origin, number: usize) {
    let url = encoded(&origin.url(&path(number)));
    let pin = gateway.operate("PUT", &format!("/api/v1/pins?url={url}"));
    pin.send().assert_status(200);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

#[track_caller]
fn migrate(from: &Path, to: &Path) -> Value {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(folder.path(), &["migrate", text(from), text(to), "--json"]);
    run.assert_success();
    serde_json::from_str(&run.stdout).expect("the summary is JSON")
}

/// Asserts the answers of a cache folder, by a new look at the disk. The origin is not asked.
#[track_caller]
fn assert_answers(gateway: &mut Gateway, origin: &Origin, answers: &[&Body]) {
    gateway.restart();
    let asked = origin.total();
    for (number, body) in answers.iter().enumerate() {
        let answer = gateway.assert_serves(&origin.url(&path(number)), body);
        answer.assert_cache(&["hit"]);
    }
    assert_eq!(origin.total(), asked);
}

#[test]
fn copied_pins_change_no_answer() {
    let origin = Origin::start();
    let (from, mut to) = (Gateway::relaying(&origin), Gateway::relaying(&origin));
    let [one, two] = pair();
    // Bodies of the source and of the destination.
    let stored = [
        (&one, Some(&two)),
        (&two, Some(&one)),
        (&one, Some(&one)),
        (&two, None),
        (&one, Some(&two)),
    ];
    for (number, (source, destination)) in stored.into_iter().enumerate() {
        store(&from, &origin, number, source);
        pin(&from, &origin, number);
        if let Some(destination) = destination {
            store(&to, &origin, number, destination);
        }
    }
    pin(&to, &origin, 4);
    for (round, not_copied) in [("first", 3), ("again", 3)] {
        let summary = migrate(from.cache(), to.cache());
        assert_eq!(summary["pins_not_copied"], not_copied, "{round}");
        assert_answers(&mut to, &origin, &[&two, &one, &one, &two, &two]);
    }
    for (number, is_pinned) in [false, false, true, true, true].into_iter().enumerate() {
        let url = encoded(&origin.url(&path(number)));
        let shown = to.request("GET", &format!("/api/v1/targets?url={url}"));
        let pinned = &shown.send().json()["records"][0]["pinned"];
        assert_eq!(pinned.is_string(), is_pinned, "{number}");
    }
}

#[test]
fn same_bytes_in_other_place_stay_answer() {
    let origin = Origin::start();
    let [one, two] = pair();
    let (from, mut to) = (Gateway::relaying(&origin), Gateway::relaying(&origin));
    for (number, bodies) in [[&one, &two], [&two, &one]].into_iter().enumerate() {
        store(&from, &origin, number, bodies[0]);
        store_variant(&from, &origin, number, bodies[1]);
        store(&to, &origin, number, bodies[1]);
    }
    migrate(from.cache(), to.cache());
    assert_answers(&mut to, &origin, &[&two, &one]);
}

/// Writes a configuration file that names a bucket.
fn file_of(bucket: &Bucket, folder: &Path) -> PathBuf {
    let file = folder.join("bucket.toml");
    std::fs::write(&file, bucket.section("")).expect("the file can be written");
    file
}

#[test]
fn merged_bucket_keeps_its_answers() {
    let origin = Origin::start();
    let [one, two] = pair();
    for is_from_bucket in [false, true] {
        let (from, to) = (Gateway::relaying(&origin), Gateway::relaying(&origin));
        for (number, bodies) in [[&one, &two], [&two, &one], [&one, &one]]
            .into_iter()
            .enumerate()
        {
            store(&from, &origin, number, bodies[0]);
            store(&to, &origin, number, bodies[1]);
        }
        store(&from, &origin, 3, &two);
        let [source, destination] = [Bucket::start(), Bucket::start()];
        let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder can be made"));
        let [source, destination] = [
            file_of(&source, folders[0].path()),
            file_of(&destination, folders[1].path()),
        ];
        migrate(to.cache(), &destination);
        let source = if is_from_bucket {
            migrate(from.cache(), &source);
            source
        } else {
            from.cache().to_owned()
        };
        for (round, other_bytes, present) in [("first", 2, 1), ("again", 0, 4)] {
            let summary = migrate(&source, &destination);
            let counts = (&summary["other_bytes"], &summary["present"]);
            assert_eq!(counts, (&other_bytes.into(), &present.into()), "{round}");
        }
        let merged = folders[2].path().join("cache");
        std::fs::create_dir(&merged).expect("a folder can be made");
        migrate(&destination, &merged);
        let merged = Gateway::builder().origin(&origin).relay();
        let merged = merged.text("cache.dir", text(&folders[2].path().join("cache")));
        assert_answers(&mut merged.start(), &origin, &[&two, &one, &one, &two]);
    }
}
