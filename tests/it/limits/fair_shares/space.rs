//! Space for unfinished bodies, whose bytes are not verified yet and cannot be evicted.

use std::os::unix::fs::MetadataExt as _;

use super::{GREEDY, OTHER, get, sharing};
use crate::harness::{
    Body, Builder, Gate, Gateway, Origin, Reply, archive, assert_same, eventually,
};

/// A third client.
const THIRD: &str = "10.0.0.3";

/// Bound of the cache in these tests, in bytes.
const MAX_SIZE_BYTES: u64 = 4 << 20;

/// Blocks that a file system may add to each of the eight files for their extents, in bytes.
const EXTENT_BYTES: u64 = 8 * 4096;

/// Bytes of each body that arrive before the gate.
const ARRIVED_BYTES: usize = 600_000;

fn small_cache(origin: &Origin) -> Builder {
    let builder = sharing(origin).set("fetch.per_host", "32");
    builder.text("cache.max_size", "4MiB")
}

/// Bytes of the disk that unfinished bodies take.
fn staged_bytes(gateway: &Gateway) -> u64 {
    let size =
        |file: &std::path::PathBuf| std::fs::metadata(file).map_or(0, |is| is.blocks() * 512);
    gateway.staged().iter().map(size).sum()
}

fn assert_stored(gateway: &Gateway, url: &str, client: &str, body: &Body) {
    get(gateway, url, client).send().assert_body(200, body);
    gateway.await_stored(url);
}

#[test]
fn unfinished_bodies_of_one_client_leave_space() {
    // Immutable files and files that may change, with their lengths and in chunks.
    let immutable = |number: u8| format!("/f-{number}.tar.gz");
    let changing = |number: u8| format!("/list-{}.gz", char::from(b'a' + number));
    let cases: [(&dyn Fn(u8) -> String, bool); 3] =
        [(&immutable, false), (&immutable, true), (&changing, false)];
    for (name, is_chunked) in cases {
        let (origin, gate) = (Origin::start(), Gate::new());
        let gateway = small_cache(&origin).start();
        let body = archive(21, 700_000);
        let paths: Vec<_> = (0..8).map(name).collect();
        let reply = Reply::file(&body).gate_at(ARRIVED_BYTES, &gate);
        let reply = if is_chunked { reply.chunked() } else { reply };
        let unfinished: Vec<_> = paths
            .iter()
            .map(|path| {
                origin.serve(path, reply.clone());
                let mut answer = get(&gateway, &origin.url(path), GREEDY).open();
                answer.read(1000);
                answer
            })
            .collect();
        gate.await_reached(8);
        let staged = staged_bytes(&gateway);
        assert!(
            staged <= MAX_SIZE_BYTES * 3 / 4 + EXTENT_BYTES,
            "{}: {staged} bytes are staged",
            paths[0]
        );
        assert!(
            staged >= MAX_SIZE_BYTES / 2,
            "{}: {staged} bytes are staged",
            paths[0]
        );
        // Within its share each of the others gets space.
        for (number, client) in [OTHER, THIRD].into_iter().enumerate() {
            let path = format!("/small-{number}.tar.gz");
            let small = archive(22 + number as u64, 400_000);
            origin.serve(&path, Reply::file(&small));
            assert_stored(&gateway, &origin.url(&path), client, &small);
        }
        gate.open();
        for answer in unfinished {
            assert_same(&answer.finish().body, &body[1000..]);
        }
        eventually("the staging folder is empty", || {
            gateway.staged().is_empty().then_some(())
        });
    }
}

#[test]
fn unfinished_bodies_count_for_present_readers() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let gateway = small_cache(&origin).start();
    let body = archive(31, 1_000_000);
    let start = |number: usize, client: &str| {
        let path = format!("/f-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body).gate_at(990_000, &gate));
        let mut answer = get(&gateway, &origin.url(&path), client).open();
        answer.read(1000);
        answer
    };
    let mut readers: Vec<_> = (0..3).map(|number| start(number, GREEDY)).collect();
    gate.await_reached(3);
    // Fifteen others read the three bodies too, so that each client has a part within its share.
    for number in 0..45 {
        let url = origin.url(&format!("/f-{}.tar.gz", number % 3));
        let mut joined = get(&gateway, &url, &format!("10.0.1.{}", number / 3)).open();
        joined.read(1000);
        readers.push(joined);
    }
    let small = archive(32, 300_000);
    origin.serve("/small-1.0.tar.gz", Reply::file(&small));
    assert_stored(&gateway, &origin.url("/small-1.0.tar.gz"), GREEDY, &small);
    gate.open();
    for answer in readers {
        assert_same(&answer.finish().body, &body[1000..]);
    }
}

#[test]
fn body_longer_than_three_quarters_passes() {
    let origin = Origin::start();
    let gateway = small_cache(&origin).start();
    for (path, size_bytes, is_stored) in [
        ("/most-1.0.tar.gz", 3_000_000, true),
        ("/more-1.0.tar.gz", 3_600_000, false),
        ("/list.gz", 3_600_000, false),
    ] {
        let (body, url) = (archive(41, size_bytes), origin.url(path));
        origin.serve(path, Reply::file(&body));
        get(&gateway, &url, GREEDY).send().assert_body(200, &body);
        if is_stored {
            gateway.await_stored(&url);
        }
        let answer = get(&gateway, &url, OTHER).send();
        answer.assert_body(200, &body);
        assert_eq!(origin.count(path) == 1, is_stored, "{path}");
    }
    assert_eq!(gateway.objects().len(), 1);
}
