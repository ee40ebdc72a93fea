//! `millpond migrate`: copies a cache between folders and buckets, completely, and resumes
//! after an interruption.

use std::path::Path;

use serde_json::Value;

use crate::harness::{
    Body, Bucket, Fault, Gateway, Origin, Reply, Run, archive, assert_same, encoded, millpond,
    object_key, sha256,
};

const COUNT: u64 = 5;

fn path(number: u64) -> String {
    format!("/pub/x-{number}.tar.gz")
}

/// Starts a gateway without a bucket and stores `COUNT` targets.
fn filled(origin: &Origin) -> (Gateway, Vec<Body>) {
    let gateway = Gateway::relaying(origin);
    let bodies = (0..COUNT).map(|number| {
        let body = archive(number, 150_000);
        origin.serve(&path(number), Reply::file(&body));
        gateway.assert_serves(&origin.url(&path(number)), &body);
        gateway.await_stored(&origin.url(&path(number)));
        body
    });
    let bodies = bodies.collect();
    (gateway, bodies)
}

/// Writes a configuration file with the settings of a bucket.
fn file_of(bucket: &Bucket, folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bucket.section("")).expect("the file can be written");
    path.to_str().expect("the path is text").to_owned()
}

fn migrate(folder: &Path, from: &str, to: &str) -> (Run, Value) {
    let run = millpond(folder, &["migrate", from, to, "--json"]);
    let told = serde_json::from_str(&run.stdout).unwrap_or(Value::Null);
    (run, told)
}

#[test]
fn migrate_copies_folder_to_buckets_and_back() {
    let origin = Origin::start();
    let (gateway, bodies) = filled(&origin);
    let (one, two) = (Bucket::start(), Bucket::start());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let [first, second] =
        [(&one, "one.toml"), (&two, "two.toml")].map(|(b, name)| file_of(b, folder.path(), name));
    let cache = gateway.cache().to_str().expect("the path is text");
    let (run, told) = migrate(folder.path(), cache, &first);
    run.assert_success();
    assert_eq!(
        (&told["records"], &told["copied"], &told["damaged"]),
        (&5.into(), &5.into(), &0.into())
    );
    for (number, body) in bodies.iter().enumerate() {
        assert_same(
            &one.read(&object_key(body)).expect("the object exists"),
            body,
        );
        gateway.assert_serves(&origin.url(&path(number as u64)), body);
    }
    migrate(folder.path(), &first, &second).0.assert_success();
    assert_eq!(one.objects(), two.objects());
    // The destination is a new folder: its gateway must not ask the origin.
    let elsewhere = folder.path().join("cache");
    std::fs::create_dir(&elsewhere).expect("a folder can be made");
    migrate(
        folder.path(),
        &second,
        elsewhere.to_str().expect("the path is text"),
    )
    .0
    .assert_success();
    let asked = origin.total();
    let other = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.dir", elsewhere.to_str().unwrap())
        .start();
    for (number, body) in bodies.iter().enumerate() {
        other
            .assert_serves(&origin.url(&path(number as u64)), body)
            .assert_cache(&["hit", "detail=disk"]);
    }
    assert_eq!(origin.total(), asked);
    one.assert_nothing_refused();
    two.assert_nothing_refused();
}

#[test]
fn merged_folder_keeps_its_answers() {
    let origin = Origin::start();
    let (from, to) = (Gateway::relaying(&origin), Gateway::relaying(&origin));
    let folder = tempfile::tempdir().expect("a folder can be made");
    // One of the two orders would change the answer if the smaller digest won.
    for (number, seeds) in [(0, [1, 2]), (1, [2, 1]), (2, [3, 3])] {
        for (gateway, seed) in [&from, &to].into_iter().zip(seeds) {
            let body = archive(seed, 5_000);
            origin.serve(&path(number), Reply::file(&body));
            gateway.assert_serves(&origin.url(&path(number)), &body);
            gateway.await_stored(&origin.url(&path(number)));
        }
    }
    let [source, destination] =
        [&from, &to].map(|gateway| gateway.cache().to_str().expect("the path is text"));
    let (run, told) = migrate(folder.path(), source, destination);
    run.assert_success();
    assert_eq!(
        (&told["copied"], &told["other_bytes"], &told["present"]),
        (&2.into(), &2.into(), &1.into())
    );
    let asked = origin.total();
    for (number, seed) in [(0, 2), (1, 1), (2, 3)] {
        let url = origin.url(&path(number));
        to.assert_serves(&url, &archive(seed, 5_000))
            .assert_cache(&["hit"]);
    }
    // The bytes of the source are found by their digest.
    let other = archive(1, 5_000);
    let request = to.get(&origin.url(&path(0)));
    let answer = request.header("X-Expected-Sha256", &sha256(&other)).send();
    answer.assert_body(200, &other);
    assert_eq!(origin.total(), asked);
}

#[test]
fn interrupted_migration_resumes() {
    let origin = Origin::start();
    let (gateway, bodies) = filled(&origin);
    let bucket = Bucket::start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = file_of(&bucket, folder.path(), "one.toml");
    let cache = gateway.cache().to_str().expect("the path is text");
    let broken = object_key(&bodies[2]);
    bucket.fault(
        move |seen| seen.method == "PUT" && seen.key == broken,
        Fault::SLOW_DOWN,
    );
    let (run, _) = migrate(folder.path(), cache, &file);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stdout.contains("SlowDown"), "{}", run.stdout);
    bucket.heal();
    let before = bucket.keys("records/").len() as u64;
    let (run, told) = migrate(folder.path(), cache, &file);
    run.assert_success();
    assert_eq!(
        (&told["present"], &told["copied"]),
        (&before.into(), &(COUNT - before).into())
    );
    let (run, told) = migrate(folder.path(), cache, &file);
    run.assert_success();
    assert_eq!(
        (&told["present"], &told["copied"]),
        (&COUNT.into(), &0.into())
    );
}

#[test]
fn migrate_skips_and_reports_corrupt_objects() {
    let origin = Origin::start();
    let (gateway, bodies) = filled(&origin);
    let bucket = Bucket::start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = file_of(&bucket, folder.path(), "one.toml");
    let object_path = gateway.object_path(&bodies[1]);
    let mut bytes = bodies[1].to_vec();
    bytes[70_000] ^= 1;
    std::fs::remove_file(&object_path).expect("the object exists");
    std::fs::write(&object_path, bytes).expect("the object can be written");
    let cache = gateway.cache().to_str().expect("the path is text");
    let (run, told) = migrate(folder.path(), cache, &file);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert_eq!(
        (&told["copied"], &told["damaged"]),
        (&(COUNT - 1).into(), &1.into())
    );
    assert_eq!(bucket.read(&object_key(&bodies[1])), None);
}

#[test]
fn migrate_rejects_unknown_endpoint() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let empty = folder.path().join("empty.toml");
    std::fs::write(&empty, "").expect("the file can be written");
    let run = millpond(folder.path(), &["migrate", "nowhere", "empty.toml"]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains(
            "nowhere is neither a folder nor a configuration file; create an empty folder"
        ),
        "{}",
        run.stderr
    );
    let run = millpond(folder.path(), &["migrate", "empty.toml", "empty.toml"]);
    assert!(run.stderr.contains("names no bucket"), "{}", run.stderr);
}

#[test]
fn folders_without_a_cache_are_refused() {
    let origin = Origin::start();
    let (gateway, _bodies) = filled(&origin);
    let folder = tempfile::tempdir().expect("a folder can be made");
    for name in ["empty/lost+found", "other/sub"] {
        std::fs::create_dir_all(folder.path().join(name)).expect("a folder can be made");
    }
    let cache = gateway.cache().to_str().expect("the path is text");
    let inside = format!("{cache}/staging");
    for (from, to, text) in [
        ("empty", cache, "empty holds no cache"),
        ("other", cache, "other holds no cache"),
        (cache, "other", "other holds other files"),
        (cache, &inside, "inside the other"),
        (&inside, cache, "inside the other"),
        (cache, cache, "the same"),
    ] {
        let run = millpond(folder.path(), &["migrate", from, to]);
        assert_eq!(run.code, Some(2), "{from} {to}");
        assert!(run.stderr.contains(text), "{from} {to}: {}", run.stderr);
    }
    for name in ["empty", "other"] {
        let left = std::fs::read_dir(folder.path().join(name)).expect("the folder is there");
        assert_eq!(left.count(), 1, "{name}");
    }
    let (run, told) = migrate(folder.path(), cache, "empty");
    run.assert_success();
    assert_eq!(told["copied"], 5);
}

#[test]
fn migrate_into_full_folder_evicts_nothing() {
    let origin = Origin::start();
    let (gateway, bodies) = filled(&origin);
    let bucket = Bucket::start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = file_of(&bucket, folder.path(), "one.toml");
    migrate(
        folder.path(),
        gateway.cache().to_str().expect("the path is text"),
        &file,
    )
    .0
    .assert_success();
    let other = Gateway::builder().origin(&origin).relay().start();
    let held = archive(99, 150_000);
    origin.serve(&path(99), Reply::file(&held));
    other.assert_serves(&origin.url(&path(99)), &held);
    other.await_stored(&origin.url(&path(99)));
    let cache = other.cache().to_str().expect("the path is text");
    let run = millpond(
        folder.path(),
        &["migrate", &file, cache, "--set", "cache.max_size=500KB"],
    );
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(
        run.stderr.contains("no space is left in the cache"),
        "{}",
        run.stderr
    );
    assert!(other.object_path(&held).exists() && other.objects().len() < bodies.len() + 1);
}

#[test]
fn migrate_copies_every_record_of_a_target() {
    let origin = Origin::start();
    let [one, two] = [Bucket::start(), Bucket::start()];
    let bodies = [archive(1, 3 << 20), archive(2, 3 << 20)];
    origin.script(&path(1), bodies.iter().map(Reply::file).collect());
    for body in &bodies {
        let gateway = one
            .configure(Gateway::builder().origin(&origin).relay(), "")
            .start();
        one.fault(
            |seen| seen.method == "GET" && seen.query.contains("records"),
            Fault::SLOW_DOWN,
        );
        gateway.assert_serves(&origin.url(&path(1)), body);
        one.heal();
        one.wait_for(&object_key(body));
        gateway
            .log()
            .wait_for("the upload", |event| event["message"] == "uploaded");
    }
    assert_eq!(one.keys("records/").len(), 2);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let [first, second] =
        [(&one, "one.toml"), (&two, "two.toml")].map(|(b, name)| file_of(b, folder.path(), name));
    migrate(folder.path(), &first, &second).0.assert_success();
    for body in &bodies {
        assert_same(
            &two.read(&object_key(body)).expect("the object exists"),
            body,
        );
    }
}

#[test]
fn migrate_keeps_records_of_evicted_objects() {
    let origin = Origin::start();
    let (gateway, bodies) = filled(&origin);
    let bucket = Bucket::start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = file_of(&bucket, folder.path(), "one.toml");
    migrate(
        folder.path(),
        gateway.cache().to_str().expect("the path is text"),
        &file,
    )
    .0
    .assert_success();
    bucket.remove(&object_key(&bodies[0]));
    let elsewhere = folder.path().join("cache");
    std::fs::create_dir(&elsewhere).expect("a folder can be made");
    let (run, told) = migrate(
        folder.path(),
        &file,
        elsewhere.to_str().expect("the path is text"),
    );
    run.assert_success();
    assert_eq!(
        (&told["copied"], &told["without_object"]),
        (&(COUNT - 1).into(), &1.into())
    );
    // The record still defines the content: other bytes from the origin are refused.
    origin.serve(&path(0), Reply::file(&archive(77, 150_000)));
    let other = Gateway::builder().origin(&origin).relay().one_attempt();
    let other = other
        .text("cache.dir", elsewhere.to_str().expect("the path is text"))
        .start();
    other.get(&origin.url(&path(0))).send().assert_broken();
}

#[test]
fn migrate_copies_folder_to_folder() {
    let origin = Origin::start();
    let (gateway, bodies) = filled(&origin);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let own = archive(77, 20_000);
    let imported = gateway
        .operate(
            "PUT",
            &format!("/api/v1/objects?url={}", encoded(&origin.url(&path(0)))),
        )
        .body(&own)
        .send();
    imported.assert_status(201);
    let damaged = gateway.object_path(&bodies[1]);
    std::fs::remove_file(&damaged).expect("the object exists");
    std::fs::write(&damaged, vec![0; 150_000]).expect("the folder is writable");
    let to = folder.path().join("copy");
    std::fs::create_dir(&to).expect("a folder can be made");
    let (from, to_name) = (gateway.cache(), to.to_str().expect("the path is text"));
    let from = from.to_str().expect("the path is text");
    let (run, told) = migrate(folder.path(), from, to_name);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert_eq!(
        (&told["records"], &told["copied"]),
        (&6.into(), &5.into()),
        "the damaged object was not copied"
    );
    let (again, _) = migrate(folder.path(), from, to_name);
    assert!(again.stdout.contains("\"present\":5"), "{again:?}");
    // The copy answers as the original does, with the pin, and without the origin.
    let asked = origin.total();
    let copy = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.dir", to_name)
        .start();
    copy.assert_serves(&origin.url(&path(0)), &own);
    for (number, body) in (0..COUNT).zip(&bodies).skip(2) {
        copy.assert_serves(&origin.url(&path(number)), body);
    }
    assert_eq!(origin.total(), asked);
    drop(copy);
    let (run, _) = migrate(folder.path(), from, from);
    assert_eq!(run.code, Some(2), "{run:?}");
}
