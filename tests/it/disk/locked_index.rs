//! Tests of eviction while another process holds the lock of the index. Evicted objects are
//! counted, although the index still has them.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::harness::{Gateway, Origin, Reply, archive, eventually};

/// Objects in the cache, of 1 MiB each.
const LARGE: u64 = 30;

/// Size of an object that the account has and the disk does not, in bytes. With it, the cache is
/// above its high watermark of 32 MiB.
const PHANTOM_BYTES: i64 = 3 << 20;

/// Number of objects to evict, from 33 MiB down to the low watermark of 28 MiB. One more is for the
/// small files.
const SURPLUS: usize = 6;

#[test]
fn locked_index_does_not_empty_cache() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder.text("cache.max_size", "40MiB").start();
    let store = |number: u64, size: usize| {
        let (path, body) = (format!("/{number}-1.0.tar.gz"), archive(number, size));
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    };
    for number in 0..LARGE {
        store(number, 1 << 20);
    }
    assert_eq!(gateway.objects().len(), 30, "nothing was evicted yet");
    let index = gateway.cache().join("index.sqlite");
    let mut holder = Connection::open(index).expect("the index can be opened");
    let sql =
        "INSERT INTO objects VALUES (randomblob(32), ?1, ?1, unixepoch() * 1000, FALSE, NULL)";
    holder
        .execute(sql, params![PHANTOM_BYTES])
        .expect("the lock is free");
    let transaction = holder
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("the lock is free");
    let large = || {
        let is_large = |path: &std::path::PathBuf| {
            path.metadata()
                .is_ok_and(|metadata| metadata.len() == 1 << 20)
        };
        gateway
            .objects()
            .iter()
            .filter(|path| is_large(path))
            .count()
    };
    let floor = 30 - SURPLUS;
    store(100, 1000);
    eventually("the surplus is evicted", || (large() < 30).then_some(()));
    // Each new object wakes the eviction, and the cache is still above the mark in the file.
    let mut number = 100;
    eventually("the lock has been held for several evictions", || {
        number += 1;
        store(number, 1000);
        assert!(large() >= floor, "{} objects are left", large());
        let readiness = gateway.request("GET", "/readyz").send().text();
        let is_long = |held_s| readiness.contains(&format!("of the index for {held_s} s"));
        (6..20).any(is_long).then_some(())
    });
    drop(transaction);
    eventually("the index has what is on the disk", || {
        let sql = "SELECT objects - 1 FROM ledger";
        let count: i64 = holder.query_row(sql, [], |row| row.get(0)).ok()?;
        (usize::try_from(count) == Ok(gateway.objects().len())).then_some(())
    });
    assert!(large() >= floor, "{} objects are left", large());
}
