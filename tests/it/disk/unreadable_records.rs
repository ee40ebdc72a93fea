//! Records that cannot be read. Their names still say which bytes a target has.

use std::fs;
use std::path::Path;

use crate::disk::record_order::{
    PATH, assert_refused, builder, change, in_bucket, path, read, record, refresh,
};
use crate::harness::{
    Body, Bucket, Gateway, Origin, Reply, archive, assert_same, encoded, eventually, sha256,
};

/// Makes a record unreadable.
type Damage = fn(&Path);

fn overwrite(record: &Path, content: &[u8]) {
    fs::remove_file(record).expect("the record exists");
    fs::write(record, content).expect("a record can be written");
}

/// Kinds of damage, and whether Millpond replaces the file.
const DAMAGES: [(Damage, bool); 9] = [
    (|record| overwrite(record, b""), true),
    (|record| overwrite(record, b"{"), true),
    (|record| overwrite(record, b"[]"), true),
    (|record| overwrite(record, &vec![0; 100_000]), true),
    (
        |record| {
            let bytes = fs::read(record).expect("the record exists");
            overwrite(record, &bytes[..bytes.len() / 2]);
        },
        true,
    ),
    (
        |record| change(record, |value| value["version"] = 0.into()),
        true,
    ),
    (
        |record| change(record, |value| value["sha256"] = sha256(b"other").into()),
        true,
    ),
    (
        |record| change(record, |value| value["version"] = 99.into()),
        false,
    ),
    (
        |record| {
            fs::remove_file(record).expect("the record exists");
            fs::create_dir(record).expect("a folder can be made");
        },
        false,
    ),
];

/// Returns a gateway with one target for each kind of damage, and their bodies. The origin has
/// other bytes now, and the gateway is stopped.
fn damaged(origin: &Origin) -> (Gateway, Vec<Body>) {
    let mut gateway = builder(origin).start();
    let bodies: Vec<_> = (0..DAMAGES.len() as u64)
        .map(|seed| archive(seed, 9_000))
        .collect();
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&path(number), Reply::file(body));
        gateway.assert_serves(&origin.url(&path(number)), body);
        gateway.await_stored(&origin.url(&path(number)));
    }
    gateway.stop();
    for (number, (damage, _)) in DAMAGES.iter().enumerate() {
        damage(&record(
            &gateway,
            &origin.url(&path(number)),
            &bodies[number],
        ));
        origin.serve(
            &path(number),
            Reply::file(&archive(50 + number as u64, 9_000)),
        );
    }
    (gateway, bodies)
}

#[test]
fn unreadable_record_is_replaced_from_its_object() {
    let origin = Origin::start();
    let (mut gateway, bodies) = damaged(&origin);
    gateway.restart();
    for (number, body) in bodies.iter().enumerate() {
        let url = origin.url(&path(number));
        gateway.assert_serves(&url, body).assert_cache(&["hit"]);
        gateway.proxied("GET", &url).send().assert_body(200, body);
        assert_eq!(origin.count(&path(number)), 1, "{number}");
        let (_, is_replaced) = DAMAGES[number];
        let record = record(&gateway, &url, body);
        if is_replaced {
            let value = read(&record);
            assert_eq!(value["uri"], url);
            assert_eq!(value["sha256"], sha256(body));
            assert_eq!(value["size_bytes"], body.len());
            assert_eq!(value["generation"], 1);
        } else {
            assert!(record.is_dir() || read(&record)["version"] == 99);
        }
    }
    gateway.restart();
    for (number, body) in bodies.iter().enumerate() {
        gateway.assert_serves(&origin.url(&path(number)), body);
    }
}

#[test]
fn unreadable_record_without_object_accepts_same_bytes_only() {
    let origin = Origin::start();
    let (mut gateway, bodies) = damaged(&origin);
    for (number, body) in bodies.iter().enumerate() {
        let object = gateway.object_path(body);
        if number % 2 == 0 {
            fs::remove_file(object).expect("the object exists");
        } else {
            // An object that does not have its digest is not served.
            fs::remove_file(&object).expect("the object exists");
            fs::write(&object, archive(77, 9_000)).expect("an object can be written");
        }
    }
    gateway.restart();
    for (number, body) in bodies.iter().enumerate() {
        let url = origin.url(&path(number));
        assert_refused(&gateway, &url);
        origin.serve(&path(number), Reply::file(body));
        let same = eventually("the same bytes are accepted", || {
            Some(gateway.get(&url).send()).filter(|answer| answer.status == 200)
        });
        same.assert_body(200, body);
    }
}

#[test]
fn record_of_other_target_still_forbids_other_bytes() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let (url, [old, new]) = (origin.url(PATH), [1, 2].map(|seed| archive(seed, 20_000)));
    origin.serve(PATH, Reply::file(&old));
    gateway.assert_serves(&url, &old);
    gateway.await_stored(&url);
    gateway.stop();
    change(&record(&gateway, &url, &old), |record| {
        record["uri"] = "https://example.org/other-1.0.tar.gz".into();
    });
    origin.serve(PATH, Reply::file(&new));
    gateway.restart();
    assert_refused(&gateway, &url);
    origin.serve(PATH, Reply::file(&old));
    let same = eventually("the same bytes are accepted", || {
        Some(gateway.get(&url).send()).filter(|answer| answer.status == 200)
    });
    same.assert_body(200, &old);
    gateway.await_fetch(&url);
    assert_eq!(read(&record(&gateway, &url, &old))["uri"], url);
}

#[test]
fn record_of_wrong_length_is_replaced_by_fetch() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let (url, body) = (origin.url(PATH), archive(1, 20_000));
    origin.serve(PATH, Reply::file(&body));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.stop();
    change(&record(&gateway, &url, &body), |value| {
        value["size_bytes"] = 20_001.into();
    });
    gateway.restart();
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    let value = read(&record(&gateway, &url, &body));
    assert_eq!(
        (&value["size_bytes"], &value["generation"]),
        (&20_000.into(), &1.into())
    );
}

#[test]
fn unreadable_record_keeps_its_place_beside_others() {
    let origin = Origin::start();
    let mut gateway = builder(&origin).start();
    let (url, [old, new]) = (origin.url(PATH), [1, 2].map(|seed| archive(seed, 20_000)));
    for body in [&old, &new] {
        origin.serve(PATH, Reply::file(body));
        refresh(&gateway, &url);
    }
    let (first, second) = (record(&gateway, &url, &old), record(&gateway, &url, &new));
    for unreadable in [&first, &second, &first] {
        gateway.stop();
        overwrite(unreadable, b"");
        gateway.restart();
        gateway.assert_serves(&url, &old).assert_cache(&["hit"]);
    }
    // An operator's decision stays valid too.
    let path = format!("/api/v1/pins?url={}&sha256={}", encoded(&url), sha256(&new));
    gateway.operate("PUT", &path).send().json();
    gateway.stop();
    overwrite(&second, b"");
    gateway.restart();
    gateway.assert_serves(&url, &new).assert_cache(&["hit"]);
}

#[test]
fn unreadable_record_in_bucket_forbids_other_bytes() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let (url, [old, new]) = (origin.url(PATH), [1, 2].map(|seed| archive(seed, 20_000)));
    origin.serve(PATH, Reply::file(&old));
    let one = in_bucket(&bucket, &origin).start();
    one.assert_serves(&url, &old);
    one.await_uploaded(&url);
    let key = bucket.keys("shared/records/").remove(0);
    let intact = bucket.read(&key).expect("the record exists");
    // A damaged record of this node comes back from the bucket with its headers.
    let local = record(&one, &url, &old);
    let before = fs::read(&local).expect("the record exists");
    let mut one = one;
    one.stop();
    overwrite(&local, b"{");
    one.restart();
    one.assert_serves(&url, &old).assert_cache(&["hit"]);
    assert_same(&fs::read(&local).expect("the record exists"), &before);
    one.stop();
    origin.serve(PATH, Reply::file(&new));
    for damaged in [&b""[..], b"{\"version\":1", b"{\"version\":99}"] {
        bucket.write(&key, damaged);
        let builder = in_bucket(&bucket, &origin).text("gateway.miss", "redirect");
        let two = builder.text("cache.negative_ttl", "30s").start();
        assert_refused(&two, &url);
        two.get(&url).wget_agent().send().assert_problem(409);
    }
    bucket.write(&key, &intact);
    let two = in_bucket(&bucket, &origin).start();
    two.proxied("GET", &url).send().assert_body(200, &old);
}
