//! Compaction of records: a target that is seldom used is one line of a log, and still known with
//! its bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::disk::record_order::assert_refused;
use crate::harness::{
    Body, Builder, Gateway, Origin, Reply, archive, encoded, eventually, files_under, millpond,
    sha256,
};

/// Targets of each test. Their records exceed a tenth of the cache, and their objects all of it.
const COUNT: u64 = 40;

/// A tenth of the cache holds fewer records than this.
const MAX_FILES: usize = 27;

fn path(number: u64) -> String {
    format!("/x-{number}.0.tar.gz")
}

fn body(number: u64) -> Body {
    archive(number, 60_000)
}

fn small_cache(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    let builder = builder.text("cache.max_size", "1MiB");
    builder.text("cache.negative_ttl", "1ms")
}

/// Stores all targets, and waits until records were compacted.
fn compacted(origin: &Origin) -> Gateway {
    let gateway = small_cache(origin).start();
    store_all(&gateway, origin);
    eventually("records are compacted", || {
        (gateway.records().len() < MAX_FILES).then_some(())
    });
    gateway
}

fn store_all(gateway: &Gateway, origin: &Origin) {
    for number in 0..COUNT {
        let (body, url) = (body(number), origin.url(&path(number)));
        origin.serve(&path(number), Reply::file(&body));
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
    }
}

fn listed(gateway: &Gateway) -> BTreeSet<String> {
    let list = gateway.operate("GET", "/api/v1/objects?limit=1000");
    let list = list.send().json();
    let objects = list["objects"].as_array().expect("there is a list");
    let url = |object: &serde_json::Value| object["url"].as_str().map(str::to_owned);
    objects.iter().filter_map(url).collect()
}

fn assert_all_listed(gateway: &Gateway, origin: &Origin) {
    let all: BTreeSet<_> = (0..COUNT).map(|number| origin.url(&path(number))).collect();
    assert_eq!(listed(gateway), all);
}

/// Returns the numbers of the targets without a record file.
fn without_files(gateway: &Gateway, origin: &Origin) -> Vec<u64> {
    let has_no_file = |number: &u64| gateway.records_of(&origin.url(&path(*number))).is_empty();
    (0..COUNT).filter(has_no_file).collect()
}

fn log_of(gateway: &Gateway, url: &str) -> PathBuf {
    let key = sha256(url.as_bytes());
    gateway
        .cache()
        .join("compact")
        .join(format!("{}.log", &key[..2]))
}

#[test]
fn compacted_targets_keep_their_bytes() {
    let origin = Origin::start();
    let mut gateway = compacted(&origin);
    for is_restarted in [false, true] {
        assert_all_listed(&gateway, &origin);
        let compacted = without_files(&gateway, &origin);
        assert!(compacted.len() > 3, "{compacted:?}");
        let [same, changed, ..] = compacted[..] else {
            panic!("{compacted:?}");
        };
        // The least recently used targets are compacted first.
        assert!(
            compacted.iter().all(|number| *number < COUNT - 5),
            "{compacted:?}"
        );
        let url = origin.url(&path(changed));
        origin.serve(&path(changed), Reply::file(&archive(100 + changed, 60_000)));
        assert_refused(&gateway, &url);
        origin.serve(&path(changed), Reply::file(&body(changed)));
        let url = origin.url(&path(same));
        gateway.assert_serves(&url, &body(same));
        eventually("the record is a file again", || {
            (!gateway.records_of(&url).is_empty()).then_some(())
        });
        gateway
            .assert_serves(&url, &body(same))
            .assert_cache(&["hit"]);
        if !is_restarted {
            gateway.restart();
        }
    }
}

#[test]
fn damaged_log_lines_keep_targets_known() {
    let origin = Origin::start();
    let mut gateway = compacted(&origin);
    gateway.stop();
    let compacted = without_files(&gateway, &origin);
    let [first, second, third, ..] = compacted[..] else {
        panic!("{compacted:?}");
    };
    // The record of a line is damaged or cut, lines say nothing, and the last one is incomplete.
    let damage = |number: u64, change: &dyn Fn(&str) -> String| {
        let url = origin.url(&path(number));
        let (log, key) = (log_of(&gateway, &url), sha256(url.as_bytes()));
        let text = fs::read_to_string(&log).expect("there is a log");
        let change = |line: &str| {
            if line.starts_with(&key) {
                change(line) + "\n"
            } else {
                format!("{line}\n")
            }
        };
        let mut changed: String = text.lines().map(change).collect();
        changed.push_str(&key[..40]);
        fs::write(&log, changed).expect("the log can be written");
    };
    damage(first, &|line| format!("{}#{}", &line[..200], &line[201..]));
    damage(second, &|line| line[..170].to_owned());
    damage(third, &|line| {
        format!("\0\u{fffd}\n{line}\n{}", &line[..70])
    });
    gateway.restart();
    for number in [first, second, third] {
        let url = origin.url(&path(number));
        origin.serve(&path(number), Reply::file(&archive(200 + number, 60_000)));
        assert_refused(&gateway, &url);
        origin.serve(&path(number), Reply::file(&body(number)));
        gateway.assert_serves(&url, &body(number));
    }
}

#[test]
fn removed_target_is_no_longer_known() {
    let origin = Origin::start();
    let gateway = compacted(&origin);
    let compacted = without_files(&gateway, &origin);
    let url = origin.url(&path(compacted[0]));
    let shown = format!("/api/v1/targets?url={}", encoded(&url));
    gateway.request("GET", &shown).send().assert_status(200);
    let removal = format!("/api/v1/objects?url={}", encoded(&url));
    let removal = gateway.operate("DELETE", &removal).send().json();
    assert_eq!(removal["records"], 1, "{removal}");
    gateway.request("GET", &shown).send().assert_status(404);
    let other = archive(300, 60_000);
    origin.serve(&path(compacted[0]), Reply::file(&other));
    gateway.assert_serves(&url, &other);
    assert_eq!(listed(&gateway).len() as u64, COUNT);
}

#[test]
fn kill_during_compaction_loses_no_target() {
    let origin = Origin::start();
    let mut gateway = small_cache(&origin).start();
    for number in 0..COUNT {
        let (body, url) = (body(number), origin.url(&path(number)));
        origin.serve(&path(number), Reply::file(&body));
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        // Each further record makes a compaction due.
        if number > 20 && number % 3 == 0 {
            gateway.kill9();
            gateway.restart();
        }
    }
    assert_all_listed(&gateway, &origin);
    for number in without_files(&gateway, &origin).into_iter().take(3) {
        origin.serve(&path(number), Reply::file(&archive(400 + number, 60_000)));
        assert_refused(&gateway, &origin.url(&path(number)));
    }
}

#[test]
fn migration_and_scrub_know_compacted_records() {
    let origin = Origin::start();
    let gateway = compacted(&origin);
    crate::harness::verify(&gateway, &[]).assert(0, &[]);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).expect("a folder can be made");
    let (from, to) = (gateway.cache().to_str(), copy.to_str());
    let args = [from, to].map(|path| path.expect("the path is text"));
    millpond(folder.path(), &["migrate", args[0], args[1]]).assert_success();
    let records = files_under(&copy.join("records"));
    assert_eq!(
        records.len() as u64,
        COUNT,
        "each record is a file in the copy"
    );
}

#[test]
fn pinned_records_are_not_compacted() {
    let origin = Origin::start();
    let mut gateway = small_cache(&origin).start();
    let (body, url) = (archive(500, 60_000), origin.url("/pinned-1.0.tar.gz"));
    origin.serve("/pinned-1.0.tar.gz", Reply::file(&body));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let pin = format!("/api/v1/pins?url={}", encoded(&url));
    gateway.operate("PUT", &pin).send().json();
    // The object is lost, as after a failure of the disk.
    fs::remove_file(gateway.object_path(&body)).expect("the object is there");
    gateway.kill9();
    gateway.restart();
    store_all(&gateway, &origin);
    eventually("records are compacted", || {
        (gateway.records().len() < MAX_FILES).then_some(())
    });
    assert_eq!(gateway.records_of(&url).len(), 1);
}

#[test]
fn records_of_one_tiny_object_are_bounded() {
    let origin = Origin::start();
    let gateway = small_cache(&origin).start();
    let body = archive(600, 300);
    let url = |number: u64| origin.url(&format!("/same-1.0.tar.gz?{number}"));
    for number in 0..COUNT {
        let path = format!("/same-1.0.tar.gz?{number}");
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&url(number), &body);
        gateway.await_stored(&url(number));
    }
    eventually("records are compacted", || {
        (gateway.records().len() < MAX_FILES).then_some(())
    });
    let asked = origin.total();
    for number in 0..COUNT {
        let answer = gateway.assert_serves(&url(number), &body);
        answer.assert_cache(&["hit"]);
    }
    assert_eq!(origin.total(), asked);
}
