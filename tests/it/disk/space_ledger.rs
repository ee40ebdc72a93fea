//! The ledger of the index counts the blocks and inodes that the files have, after each kind of
//! change.

use crate::harness::{
    Builder, DiskUse, Gate, Gateway, Origin, Reply, archive, disk_use, encoded, eventually,
};

/// Bytes by which the ledger may differ: a file system may add a block for the extents of an
/// unfinished body.
const SLACK_BYTES: u64 = 8192;

fn cache(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder.text("cache.max_size", "3MiB")
}

/// Returns the use of the disk that the API states.
fn stated(gateway: &Gateway) -> DiskUse {
    let stats = gateway.request("GET", "/api/v1/stats").send().json();
    let number = |key: &str| stats["disk"][key].as_u64().expect("it is a number");
    assert!(number("metadata_bytes") <= number("used_bytes"), "{stats}");
    DiskUse {
        bytes: number("used_bytes"),
        inodes: number("used_inodes"),
    }
}

#[track_caller]
fn assert_ledger(gateway: &Gateway, after: &str) {
    eventually(&format!("the ledger is right after {after}"), || {
        let (before, stated, after) = (
            disk_use(gateway.cache()),
            stated(gateway),
            disk_use(gateway.cache()),
        );
        let is_near = |used: DiskUse| {
            used.inodes == stated.inodes && used.bytes.abs_diff(stated.bytes) <= SLACK_BYTES
        };
        (is_near(before) || is_near(after)).then_some(())
    });
}

fn store(gateway: &Gateway, origin: &Origin, numbers: std::ops::Range<u64>) {
    for number in numbers {
        // Tiny files, and files whose last block is not full.
        let body = archive(number, 40 + 9_001 * (number % 7) as usize);
        let path = format!("/x-{number}.0.tar.gz");
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
}

#[test]
fn ledger_equals_use_of_disk() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let mut gateway = cache(&origin).start();
    store(&gateway, &origin, 0..12);
    assert_ledger(&gateway, "new records");
    for (number, path) in ["/list", "/Packages.gz", "/list"].into_iter().enumerate() {
        let body = archive(100 + number as u64, 5_000);
        let reply = Reply::file(&body).header("Cache-Control", "max-age=0");
        origin.serve(path, reply.header("Vary", "Accept"));
        for accept in ["text/plain", "text/html"] {
            let request = gateway.get(&origin.url(path)).header("Accept", accept);
            request.send().assert_body(200, &body);
        }
    }
    assert_ledger(&gateway, "observations");
    let wrong = "0".repeat(128);
    let request = gateway.get(&origin.url("/x-3.0.tar.gz"));
    request.header("X-Expected-Sha512", &wrong).send();
    assert_ledger(&gateway, "digests");
    let url = encoded(&origin.url("/x-3.0.tar.gz"));
    let removal = gateway.operate("DELETE", &format!("/api/v1/objects?url={url}"));
    removal.send().json();
    assert_ledger(&gateway, "a removal");
    let body = archive(200, 500_000);
    let slow = Reply::file(&body).gate_at(200_000, &gate);
    origin.serve("/slow-1.0.tar.gz", slow);
    let mut unfinished = gateway.get(&origin.url("/slow-1.0.tar.gz")).open();
    unfinished.read(1000);
    gate.await_reached(1);
    assert_ledger(&gateway, "the beginning of a body");
    gate.open();
    unfinished.finish();
    gateway.await_stored(&origin.url("/slow-1.0.tar.gz"));
    assert_ledger(&gateway, "its end");
    gateway.restart();
    assert_ledger(&gateway, "a restart");
    store(&gateway, &origin, 20..140);
    assert_ledger(&gateway, "evictions and compactions");
    gateway.kill9();
    gateway.restart();
    assert_ledger(&gateway, "a kill");
    let index = gateway.cache().join("index.sqlite");
    gateway.stop();
    std::fs::remove_file(index).expect("there is an index");
    gateway.restart();
    assert_ledger(&gateway, "the loss of the index");
    let used = stated(&gateway).bytes;
    assert!(used <= 3 << 20, "{used} bytes are used");
}

#[test]
fn tiny_files_are_counted_by_their_blocks() {
    let origin = Origin::start();
    let gateway = cache(&origin).text("cache.max_size", "2MiB").start();
    for number in 0..150 {
        let (path, body) = (
            format!("/x-{number}.0.patch"),
            b"--- a\n+++ b\n@@ -1 +1 @@\n-1\n+2\n",
        );
        origin.serve(&path, Reply::ok(&body.to_vec().into()));
        gateway.assert_serves(&origin.url(&path), body);
    }
    let used = disk_use(gateway.cache());
    assert!(used.bytes <= 2 << 20, "{used:?}");
    assert_ledger(&gateway, "tiny files");
}
