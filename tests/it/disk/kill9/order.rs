//! Checks of the cache folder and the bucket after the last process had time to settle.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::targets::Target;
use super::{MAX_BYTES, Run, bytes_in, object_path};
use crate::harness::{Bucket, Gateway, Origin, assert_same, eventually, files_under, sha256};

/// Returns one value from the index, which the test reads while the process runs.
fn queried<T: rusqlite::types::FromSql>(cache: &Path, sql: &str) -> T {
    let index =
        Connection::open_with_flags(cache.join("index.sqlite"), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let index = index.expect("the index can be opened");
    index
        .busy_timeout(Duration::from_secs(10))
        .expect("a wait can be set");
    index
        .query_row(sql, [], |row| row.get(0))
        .expect("the index answers")
}

/// Returns the keys and digests of all records, in files of their own and in the logs of compacted
/// ones.
fn recorded(gateway: &Gateway) -> BTreeSet<(String, String)> {
    let name = |path: Option<&Path>| {
        let stem = path.and_then(Path::file_stem);
        stem.unwrap_or_default().to_string_lossy().into_owned()
    };
    let files = gateway.records();
    let own = files
        .iter()
        .map(|file| (name(file.parent()), name(Some(file))));
    let compacted = files_under(&gateway.cache().join("compact"))
        .into_iter()
        .flat_map(|log| {
            let text = fs::read_to_string(log).expect("a log can be read");
            let of_line = |line: &str| {
                let mut words = line.split(' ').map(str::to_owned);
                Some((words.next()?, words.next()?))
            };
            text.lines().filter_map(of_line).collect::<Vec<_>>()
        });
    own.chain(compacted).collect()
}

/// Asserts that the folder and the bucket agree, once the last process had time to settle.
pub fn assert_all_in_order(run: &Run, gateway: &Gateway, bucket: &Bucket) {
    let cache = gateway.cache();
    eventually("staging is swept", || {
        gateway.staged().is_empty().then_some(())
    });
    let is_empty = |sql| queried::<i64>(cache, sql) == 0;
    eventually("the queue is empty", || {
        is_empty("SELECT count(*) FROM pending").then_some(())
    });
    eventually("nothing is reserved", || {
        is_empty("SELECT count(*) FROM reservations").then_some(())
    });
    let folders = fs::read_dir(cache.join("staging")).expect("there is a folder");
    assert_eq!(
        folders
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count(),
        1,
        "only the running process has a staging folder"
    );
    let is_lease = |file: &PathBuf| file.file_name().is_some_and(|name| name.len() == 64);
    // The last requests of the clients may still be in progress.
    eventually("no lease is left", || {
        (!files_under(&cache.join("leases")).iter().any(is_lease)).then_some(())
    });
    let in_bucket = |name: &str| bucket.read(&format!("objects/{}/{name}", &name[..2]));
    let recorded = recorded(gateway);
    let named: BTreeSet<_> = recorded.iter().map(|(_, digest)| digest.clone()).collect();
    for object in gateway.objects() {
        let name = object
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        let bytes = fs::read(&object).expect("an object can be read");
        assert_eq!(sha256(&bytes), name);
        // An object without a record was placed just before a process was killed.
        if !named.contains(&name) {
            assert!(in_bucket(&name).is_none_or(|copy| copy == bytes));
            continue;
        }
        let copy = in_bucket(&name).unwrap_or_else(|| panic!("{name} is on the disk alone"));
        assert_same(&copy, &bytes);
    }
    let seen = run.seen();
    for (url, digest) in &seen.published {
        let key = sha256(url.as_bytes());
        assert!(
            recorded.contains(&(key, digest.clone())),
            "{url} has no record"
        );
        let bytes = fs::read(object_path(cache, digest))
            .ok()
            .or_else(|| in_bucket(digest));
        assert_eq!(
            sha256(&bytes.unwrap_or_else(|| panic!("{url} is lost"))),
            *digest
        );
    }
    for digest in &seen.kept {
        assert!(
            object_path(cache, digest).is_file(),
            "{digest} was to be kept"
        );
    }
    eventually("the ledger is right", || {
        let on_disk = gateway.objects();
        let (held, counted) = (
            "SELECT cached_bytes FROM ledger",
            "SELECT count(*) FROM objects",
        );
        let is_right = queried::<i64>(cache, held)
            == i64::try_from(bytes_in(&on_disk)).expect("it is small")
            && queried::<i64>(cache, counted) == i64::try_from(on_disk.len()).expect("it is small");
        is_right.then_some(())
    });
    assert!(bytes_in(&gateway.objects()) <= MAX_BYTES);
}

/// Asserts that every target is served, and a stored target without a request to the origin.
pub fn assert_all_served(run: &Run, gateway: &Gateway, origin: &Origin) {
    let (targets, imported) = {
        let seen = run.seen();
        (seen.targets.clone(), seen.imported.clone())
    };
    for (url, body) in &imported {
        gateway.assert_serves(url, body).assert_cache(&["hit"]);
    }
    for target in targets {
        let is_stored = run
            .seen()
            .published
            .contains(&(target.url.clone(), sha256(&target.body)));
        if is_stored {
            await_healthy_bucket(gateway, &target);
        }
        let asked = origin.total();
        gateway
            .proxied("GET", &target.url)
            .send()
            .assert_body(200, &target.body);
        assert!(
            !is_stored || origin.total() == asked,
            "{} was fetched again",
            target.url
        );
    }
}

/// Waits until a stored target is served by the node alone. The bucket shares the processor with
/// the test. If it answers late, its circuit is open for a while, and the origin would be asked.
fn await_healthy_bucket(gateway: &Gateway, target: &Target) {
    eventually("a stored target is served without its origin", || {
        let stored = gateway
            .proxied("GET", &target.url)
            .header("Cache-Control", "only-if-cached")
            .send();
        if stored.status == 504 {
            return None;
        }
        stored.assert_body(200, &target.body);
        Some(())
    });
}
