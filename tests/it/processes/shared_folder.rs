//! Two gateways on one cache folder.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::harness::{
    Builder, Gate, Gateway, Origin, Reply, all_at_once, archive, assert_same, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

#[test]
fn object_of_one_process_is_served_by_other() {
    let origin = Origin::start();
    let body = archive(1, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let first = with(&origin).start();
    let second = first.sibling().start();
    first.assert_serves(&origin.url(PATH), &body);
    first.await_stored(&origin.url(PATH));
    second.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn fetch_bypasses_negative_lookup_cache() {
    let origin = Origin::start();
    let body = archive(2, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let first = with(&origin).text("cache.negative_ttl", "1h").start();
    let second = first.sibling().start();
    // The first gateway caches the miss for an hour.
    let only_if_cached = || {
        first
            .get(&origin.url(PATH))
            .header("Cache-Control", "only-if-cached")
            .send()
    };
    only_if_cached().assert_status(504);
    second.assert_serves(&origin.url(PATH), &body);
    second.await_stored(&origin.url(PATH));
    first.assert_serves(&origin.url(PATH), &body);
    assert_eq!(
        origin.count(PATH),
        1,
        "a stale lookup cache entry causes no fetch"
    );
}

#[test]
fn negative_lookup_cache_entry_expires() {
    let origin = Origin::start();
    let body = archive(3, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let first = with(&origin).text("cache.negative_ttl", "200ms").start();
    let second = first.sibling().start();
    let only_if_cached = || {
        first
            .get(&origin.url(PATH))
            .header("Cache-Control", "only-if-cached")
            .send()
    };
    only_if_cached().assert_status(504);
    second.assert_serves(&origin.url(PATH), &body);
    second.await_stored(&origin.url(PATH));
    let answer = eventually("the first gateway finds the object", || {
        Some(only_if_cached()).filter(|answer| answer.status == 200)
    });
    answer.assert_body(200, &body);
}

#[test]
fn positive_lookup_cache_entry_is_verified() {
    let origin = Origin::start();
    let body = archive(4, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let first = with(&origin).text("cache.positive_ttl", "1h").start();
    let second = first.sibling().start();
    first.assert_serves(&origin.url(PATH), &body);
    first.await_stored(&origin.url(PATH));
    first
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
    second
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
    fs::remove_file(first.object_path(&body)).expect("the object exists");
    first.assert_serves(&origin.url(PATH), &body);
    first
        .log()
        .wait_for_many("the second fetch", 2, |event| event["message"] == "fetch");
    second.assert_serves(&origin.url(PATH), &body);
    assert_eq!(
        origin.count(PATH),
        2,
        "one process fetches again and the other finds the object"
    );
}

/// Makes each process fetch for itself: a folder in place of the lease file prevents leases.
fn forbid_claims(gateway: &Gateway, url: &str) {
    let claim = gateway.cache().join("leases").join(sha256(url.as_bytes()));
    fs::create_dir(claim).expect("the target has no lease yet");
}

#[test]
fn both_processes_may_fetch_one_target() {
    let origin = Origin::start();
    let body = archive(5, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = with(&origin).start();
    let second = first.sibling().start();
    forbid_claims(&first, &origin.url(PATH));
    let mut answers = [
        first.get(&origin.url(PATH)).open(),
        second.get(&origin.url(PATH)).open(),
    ];
    for answer in &mut answers {
        assert_same(&answer.read(100_000), &body[..100_000]);
    }
    gate.open();
    for answer in answers {
        assert_same(&answer.finish().body, &body[100_000..]);
    }
    first.await_stored(&origin.url(PATH));
    second.await_stored(&origin.url(PATH));
    assert_eq!(first.objects(), [first.object_path(&body)]);
    assert_eq!(first.records_of(&origin.url(PATH)).len(), 1);
    first
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
    second
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
}

#[test]
fn processes_with_different_content_agree_on_one() {
    let origin = Origin::start();
    let (one, other) = (archive(6, 50_000), archive(7, 50_000));
    let gate = Gate::new();
    let reply = |body| Reply::file(body).gate_at(20_000, &gate);
    origin.script(PATH, vec![reply(&one), reply(&other)]);
    let first = with(&origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    forbid_claims(&first, &url);
    let early = first.get(&url).open();
    let late = second.get(&url).open();
    gate.await_reached(2);
    gate.open();
    drop((early.finish(), late.finish()));
    first.await_fetch(&url);
    second.await_fetch(&url);
    // A restart clears the lookup caches of both.
    let (mut first, mut second) = (first, second);
    second.stop();
    first.restart();
    second.restart();
    let answer = first.get(&url).send();
    assert!(
        answer.body == one[..] || answer.body == other[..],
        "one body or the other"
    );
    second.get(&url).send().assert_body(200, &answer.body);
    for record in first.records_of(&url) {
        let name = record
            .file_stem()
            .expect("a record has a name")
            .to_string_lossy()
            .into_owned();
        assert!([sha256(&one), sha256(&other)].contains(&name));
    }
}

#[test]
fn startup_keeps_staging_of_other_process() {
    let origin = Origin::start();
    let body = archive(8, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = with(&origin).start();
    let mut answer = first.get(&origin.url(PATH)).open();
    assert_same(&answer.read(100_000), &body[..100_000]);
    let mut second = first.sibling().start();
    second.request("GET", "/readyz").send().assert_status(200);
    second.kill9();
    second.restart();
    second.request("GET", "/readyz").send().assert_status(200);
    assert!(
        !first.staged().is_empty(),
        "the first process still receives the body"
    );
    gate.open();
    assert_same(&answer.finish().body, &body[100_000..]);
    first.await_stored(&origin.url(PATH));
    second
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
}

#[test]
fn startup_removes_staging_of_dead_process() {
    let origin = Origin::start();
    let body = archive(9, 200_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(100_000, &gate));
    let first = with(&origin).start();
    let mut second = first.sibling().start();
    let mut answer = second.get(&origin.url(PATH)).open();
    assert_same(&answer.read(100_000), &body[..100_000]);
    second.kill9();
    drop(answer);
    assert!(
        !first.staged().is_empty(),
        "the staged file of the killed process is left"
    );
    let third = first.sibling().start();
    eventually("the staging folder of the dead process is removed", || {
        third.staged().is_empty().then_some(())
    });
    gate.open();
    third.assert_serves(&origin.url(PATH), &body);
}

#[test]
fn two_processes_serve_many_targets_correctly() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..24)
        .map(|number| archive(300 + number, 30_000))
        .collect();
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
    }
    let first = with(&origin).start();
    let second = first.sibling().start();
    let gateways = [&first, &second];
    all_at_once(bodies.len() * 2, |number| {
        let (gateway, number) = (gateways[number % 2], number / 2);
        let url = origin.url(&format!("/x-{number}.tar.gz"));
        gateway.get(&url).send().assert_body(200, &bodies[number]);
    });
    for (number, body) in bodies.iter().enumerate() {
        let url = origin.url(&format!("/x-{number}.tar.gz"));
        eventually("the target is published", || {
            (first.records_of(&url).len() == 1).then_some(())
        });
        assert_same(
            &fs::read(first.object_path(body)).expect("the object can be read"),
            body,
        );
    }
    assert_eq!(origin.total(), bodies.len(), "each target is fetched once");
    eventually("the staging folder is empty", || {
        first.staged().is_empty().then_some(())
    });
}

#[test]
fn reservations_of_both_processes_are_summed() {
    let origin = Origin::start();
    let (one, other) = (archive(10, 700_000), archive(11, 700_000));
    let gate = Gate::new();
    origin.serve("/one-1.0.tar.gz", Reply::file(&one).gate_at(350_000, &gate));
    origin.serve(
        "/other-1.0.tar.gz",
        Reply::file(&other).gate_at(350_000, &gate),
    );
    let first = with(&origin).text("cache.max_size", "1MiB").start();
    let second = first.sibling().start();
    let mut kept = first.get(&origin.url("/one-1.0.tar.gz")).open();
    assert_same(&kept.read(350_000), &one[..350_000]);
    let mut passed = second.get(&origin.url("/other-1.0.tar.gz")).open();
    assert_same(&passed.read(350_000), &other[..350_000]);
    gate.open();
    assert_same(&kept.finish().body, &one[350_000..]);
    assert_same(&passed.finish().body, &other[350_000..]);
    first.await_stored(&origin.url("/one-1.0.tar.gz"));
    assert_eq!(
        first.objects(),
        [first.object_path(&one)],
        "the cache has no space for both objects"
    );
}

#[test]
fn lost_index_keeps_queue_of_other_process() {
    let origin = Origin::start();
    let body = archive(30, 20_000);
    origin.serve(PATH, Reply::file(&body));
    // Neither has a bucket, and the first one was alone when it started.
    let first = with(&origin).start();
    let second = first.sibling().start();
    first.assert_serves(&origin.url(PATH), &body);
    first.await_stored(&origin.url(PATH));
    // The index as a third process, which has a bucket, created it anew.
    let index = first.cache().join("index.sqlite");
    let draft = first.cache().with_file_name("draft.sqlite");
    let open = |path: &Path| Connection::open(path).expect("the index can be opened");
    open(&index)
        .execute("VACUUM INTO ?1", [draft.to_str()])
        .expect("the index can be copied");
    let sql = "INSERT INTO bucket VALUES ('bucket');
               INSERT INTO pending SELECT sha256, randomblob(32), 0, NULL, 0 FROM objects";
    open(&draft)
        .execute_batch(sql)
        .expect("the statements are valid");
    for side in ["-wal", "-shm"] {
        fs::remove_file(first.cache().join(format!("index.sqlite{side}"))).expect("it is open");
    }
    fs::rename(&draft, &index).expect("the index can be replaced");
    // The first one filled a new index at its start too.
    for (gateway, count) in [(&first, 2), (&second, 1)] {
        gateway
            .log()
            .wait_for_many("the new index", count, |event| {
                event["message"] == "reconciled index with disk"
            });
    }
    let sql = "SELECT (SELECT count(*) FROM bucket) + (SELECT count(*) FROM pending)";
    let rows: i64 = open(&index)
        .query_row(sql, [], |row| row.get(0))
        .expect("the index can be read");
    assert_eq!(rows, 2, "the bucket and its upload are kept");
}
