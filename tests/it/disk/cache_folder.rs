//! The cache folder: its files, and the responses when they are damaged.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::harness::{
    Body, DATE, Gate, Gateway, Origin, Reply, Scene, archive, assert_same, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Returns a gateway with one stored object, its origin, and the body.
fn stored(size: usize) -> (Origin, Gateway, Body) {
    let body = archive(1, size);
    let reply = Reply::file(&body).header("Content-Type", "application/gzip");
    let (origin, gateway, url) = Scene::replying(
        PATH,
        reply.header(
            "Content-Disposition",
            "attachment; filename=\"x-7.0.tar.gz\"",
        ),
    );
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    (origin, gateway, body)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a record can be read"))
        .expect("a record is JSON")
}

/// Changes an object, which is read-only before and after.
fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("the object exists");
    change(&mut bytes);
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("a mode can be set");
    fs::write(path, bytes).expect("the object can be written");
    fs::set_permissions(path, Permissions::from_mode(0o444)).expect("a mode can be set");
}

#[test]
fn object_file_is_named_by_its_digest() {
    let (_origin, gateway, body) = stored(50_000);
    assert_eq!(gateway.objects(), [gateway.object_path(&body)]);
    assert_same(
        &fs::read(gateway.object_path(&body)).expect("the object can be read"),
        &body,
    );
    let mode = fs::metadata(gateway.object_path(&body))
        .expect("the object exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o440, "an object is read-only");
    assert!(
        gateway.cache().join("index.sqlite").is_file(),
        "the index is in the cache folder"
    );
}

#[test]
fn record_describes_content_of_target() {
    let (origin, gateway, body) = stored(50_000);
    let records = gateway.records_of(&origin.url(PATH));
    assert_eq!(
        records,
        gateway.records(),
        "the only record is under the target's key"
    );
    let name = format!("{}.json", sha256(&body));
    assert_eq!(
        records[0].file_name().and_then(|name| name.to_str()),
        Some(name.as_str())
    );
    let record = read_json(&records[0]);
    assert_eq!(record["uri"], origin.url(PATH));
    assert_eq!(record["sha256"], sha256(&body));
    assert_eq!(record["size_bytes"], 50_000);
    assert!(
        record["first_seen"]
            .as_str()
            .is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
        "{record}"
    );
    assert_eq!(record["headers"]["last_modified"], DATE);
    assert_eq!(record["headers"]["content_type"], "application/gzip");
    assert_eq!(
        record["headers"]["content_disposition"],
        "attachment; filename=\"x-7.0.tar.gz\""
    );
}

#[test]
fn restart_keeps_objects_and_headers() {
    let (origin, mut gateway, body) = stored(50_000);
    let url = origin.url(PATH);
    let before = gateway.assert_serves(&url, &body);
    origin.stop();
    gateway.restart();
    let after = gateway.assert_serves(&url, &body);
    after.assert_cache(&["hit", "detail=disk"]);
    for name in [
        "etag",
        "last-modified",
        "content-type",
        "content-disposition",
        "repr-digest",
    ] {
        assert_eq!(after.wants(name), before.wants(name));
    }
}

#[test]
fn index_is_rebuilt_after_damage() {
    let (origin, mut gateway, body) = stored(50_000);
    let (url, index) = (origin.url(PATH), gateway.cache().join("index.sqlite"));
    origin.stop();
    let damages: [&dyn Fn(&Path); 4] = [
        &|index| fs::remove_file(index).expect("the index exists"),
        &|index| fs::write(index, b"this is no database").expect("the index can be written"),
        &|index| fs::write(index, b"").expect("the index can be written"),
        &|index| {
            let bytes = fs::read(index).expect("the index exists");
            fs::write(index, &bytes[..bytes.len() / 2]).expect("the index can be written");
        },
    ];
    for damage in damages {
        gateway.stop();
        for side in ["index.sqlite-wal", "index.sqlite-shm"] {
            // A clean stop may have removed these files.
            drop(fs::remove_file(gateway.cache().join(side)));
        }
        damage(&index);
        gateway.restart();
        gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    }
}

#[test]
fn truncated_object_is_fetched_again() {
    let (origin, mut gateway, body) = stored(50_000);
    let url = origin.url(PATH);
    gateway.stop();
    damage(&gateway.object_path(&body), |bytes| bytes.truncate(20_000));
    gateway.restart();
    gateway.assert_serves(&url, &body);
    assert_eq!(origin.count(PATH), 2, "the object is fetched again");
    gateway
        .log()
        .wait_for("the second fetch", |event| event["message"] == "fetch");
    assert_same(
        &fs::read(gateway.object_path(&body)).expect("the object can be read"),
        &body,
    );
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
}

#[test]
fn truncated_object_is_never_served_without_origin() {
    let (origin, mut gateway, body) = stored(50_000);
    let url = origin.url(PATH);
    gateway.stop();
    damage(&gateway.object_path(&body), |bytes| bytes.truncate(20_000));
    origin.stop();
    gateway.restart();
    for request in [
        gateway.get(&url),
        gateway.get(&url).range("bytes=30000-"),
        gateway.proxied("GET", &url),
    ] {
        let answer = request.send();
        assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    }
}

#[test]
fn deleted_object_is_fetched_again() {
    let (origin, gateway, body) = stored(50_000);
    fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.count(PATH), 2);
    gateway
        .log()
        .wait_for_many("the second fetch", 2, |event| event["message"] == "fetch");
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
    assert_eq!(
        gateway.records_of(&origin.url(PATH)).len(),
        1,
        "the same content adds no record"
    );
}

#[test]
fn evicted_target_accepts_only_same_content() {
    let (origin, gateway, body) = stored(50_000);
    let url = origin.url(PATH);
    fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    let other = archive(99, 50_000);
    origin.serve(PATH, Reply::file(&other));
    let answer = gateway.get(&url).send();
    if answer.status == 200 {
        answer.assert_broken();
    } else {
        answer.assert_problem(409);
    }
    let fetch = gateway
        .log()
        .wait_for_many("the second fetch", 2, |event| event["message"] == "fetch")
        .remove(1);
    assert_ne!(fetch["outcome"], "stored", "{fetch}");
    assert_eq!(
        gateway.objects(),
        [gateway.object_path(&other)],
        "the changed content is stored for the operator"
    );
    assert_eq!(
        gateway.records_of(&url).len(),
        2,
        "both contents have a record"
    );
    gateway.get(&url).send().assert_problem(409);
}

#[test]
fn earliest_record_is_served() {
    let (origin, mut gateway, newer) = stored(50_000);
    let url = origin.url(PATH);
    gateway.stop();
    // Simulates an older record of version 0.1.0 that another instance brings later.
    let older = archive(77, 30_000);
    let record = gateway.records_of(&url).remove(0);
    let mut value = read_json(&record);
    value["sha256"] = sha256(&older).into();
    value["size_bytes"] = older.len().into();
    value["first_seen"] = "2001-02-03T04:05:06.000Z".into();
    value
        .as_object_mut()
        .expect("a record is an object")
        .remove("generation");
    let beside = record.with_file_name(format!("{}.json", sha256(&older)));
    fs::write(beside, value.to_string()).expect("a record can be added");
    let object = gateway.object_path(&older);
    fs::create_dir_all(object.parent().expect("an object has a folder"))
        .expect("a folder can be made");
    fs::write(&object, &older).expect("an object can be added");
    gateway.restart();
    gateway.assert_serves(&url, &older).assert_cache(&["hit"]);
    // The newer content is served only to requests that expect its digest.
    fs::remove_file(gateway.object_path(&newer)).expect("the object exists");
    gateway.assert_serves(&url, &older);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn damaged_record_does_not_fail_requests() {
    let (origin, mut gateway, body) = stored(5000);
    let url = origin.url(PATH);
    let huge = vec![0; 100_000];
    for junk in [&b"{"[..], b"", b"[]", b"{\"version\":99}", &huge] {
        gateway.stop();
        let record = gateway.records_of(&url).remove(0);
        fs::remove_file(&record).expect("the record exists");
        fs::write(&record, junk).expect("a record can be written");
        gateway.restart();
        gateway.assert_serves(&url, &body);
    }
}

#[test]
fn record_of_other_target_is_ignored() {
    let (origin, mut gateway, body) = stored(5000);
    gateway.stop();
    let record = gateway.records_of(&origin.url(PATH)).remove(0);
    let key = sha256(origin.url("/other-1.0.tar.gz").as_bytes());
    let folder = gateway.cache().join("records").join(&key[..2]).join(key);
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::copy(
        &record,
        folder.join(record.file_name().expect("a file has a name")),
    )
    .expect("a record can be copied");
    gateway.restart();
    gateway
        .get(&origin.url("/other-1.0.tar.gz"))
        .send()
        .assert_status(404);
    gateway.assert_serves(&origin.url(PATH), &body);
}

#[test]
fn unusable_cache_folder_does_not_fail_requests() {
    let (origin, mut gateway, body) = stored(50_000);
    let aside = gateway.cache().with_file_name("aside");
    fs::rename(gateway.cache(), &aside).expect("a folder can be moved");
    fs::write(gateway.cache(), "no folder").expect("a file can be made");
    for path in [PATH, "/y-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
        gateway
            .get(&origin.url(path))
            .send()
            .assert_body(200, &body);
        gateway
            .proxied("GET", &origin.url(path))
            .send()
            .assert_body(200, &body);
    }
    fs::remove_file(gateway.cache()).expect("the file exists");
    fs::rename(&aside, gateway.cache()).expect("a folder can be moved back");
    gateway.stop();
}

#[test]
fn unknown_files_among_records_are_ignored() {
    let (origin, mut gateway, body) = stored(5000);
    let record = gateway.records_of(&origin.url(PATH)).remove(0);
    for name in ["notes.txt", ".hidden.json", "zz.json", "0.json.tmp"] {
        fs::write(record.with_file_name(name), "{}").expect("a file can be made");
    }
    fs::create_dir(record.with_file_name("folder.json")).expect("a folder can be made");
    gateway.restart();
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn extended_object_is_never_served() {
    let (origin, mut gateway, body) = stored(50_000);
    gateway.stop();
    damage(&gateway.object_path(&body), |bytes| {
        bytes.extend_from_slice(b"more");
    });
    gateway.restart();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.assert_serves(&origin.url(PATH), &body);
}

#[test]
fn deleted_staged_file_harms_no_client() {
    let origin = Origin::start();
    let body = archive(6, 200_000);
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&body).gate_at(100_000, &gate),
            Reply::file(&body),
        ],
    );
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.negative_ttl", "100ms")
        .start();
    let mut answer = gateway.get(&origin.url(PATH)).open();
    assert_same(&answer.read(100_000), &body[..100_000]);
    for file in gateway.staged() {
        fs::remove_file(file).expect("a staged file can be removed");
    }
    gate.open();
    let rest = answer.finish();
    assert_same(&rest.body, &body[100_000..100_000 + rest.body.len()]);
    gateway.await_fetch(&origin.url(PATH));
    let again = eventually("the target is fetched again", || {
        Some(gateway.get(&origin.url(PATH)).send()).filter(|answer| answer.status == 200)
    });
    again.assert_body(200, &body);
    gateway.request("GET", "/readyz").send().assert_status(200);
}
