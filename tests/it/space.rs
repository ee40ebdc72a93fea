//! Disk space: the cache stays within its limit, evicts the least recently used objects, and passes
//! through bodies that do not fit.

use std::fs;

use crate::harness::{Gate, Gateway, Origin, Reply, all_at_once, archive, eventually};

#[test]
fn object_larger_than_cache_passes_through() {
    let origin = Origin::start();
    let body = archive(1, 3 << 20);
    origin.serve("/length-1.0.tar.gz", Reply::file(&body));
    origin.serve("/chunks-1.0.tar.gz", Reply::file(&body).chunked());
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.max_size", "1MiB")
        .start();
    for path in ["/length-1.0.tar.gz", "/chunks-1.0.tar.gz"] {
        gateway.assert_serves(&origin.url(path), &body);
        gateway
            .proxied("GET", &origin.url(path))
            .send()
            .assert_body(200, &body);
        assert!(gateway.records_of(&origin.url(path)).is_empty(), "{path}");
    }
    eventually("the staging folder is empty", || {
        gateway.staged().is_empty().then_some(())
    });
    gateway.assert_nothing_stored();
}

#[test]
fn full_disk_passes_bodies_through() {
    let origin = Origin::start();
    let body = archive(2, 50_000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.min_free", "1000TiB")
        .start();
    for _ in 0..2 {
        gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &body);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn eviction_removes_objects_and_keeps_records() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..8).map(|number| archive(10 + number, 300_000)).collect();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.max_size", "1MiB");
    let gateway = builder.text("cache.maintenance_interval", "1h").start();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
        gateway.assert_serves(&url(number), body);
        gateway.await_stored(&url(number));
        let kept: u64 = gateway
            .objects()
            .iter()
            .map(|object| fs::metadata(object).map_or(0, |data| data.len()))
            .sum();
        assert!(kept <= 1 << 20, "{kept} bytes are stored");
    }
    assert_eq!(
        gateway.records().len(),
        bodies.len(),
        "records are never evicted"
    );
    assert!(
        !gateway.objects().contains(&gateway.object_path(&bodies[0])),
        "the oldest object is evicted"
    );
    assert!(
        gateway.objects().contains(&gateway.object_path(&bodies[7])),
        "the newest object is stored"
    );
    gateway
        .assert_serves(&url(7), &bodies[7])
        .assert_cache(&["hit"]);
    gateway.assert_serves(&url(0), &bodies[0]);
    assert_eq!(origin.count("/x-0.tar.gz"), 2);
    assert_eq!(origin.count("/x-7.tar.gz"), 1);
}

#[test]
fn recently_used_object_is_evicted_last() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..6).map(|number| archive(20 + number, 250_000)).collect();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.max_size", "1MiB");
    // Eviction runs only when a fetch needs space.
    let gateway = builder.set("cache.high_watermark", "1.0").start();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
        gateway.assert_serves(&url(number), body);
        gateway.await_stored(&url(number));
        // Requests the first object after each fetch.
        gateway.assert_serves(&url(0), &bodies[0]);
    }
    gateway
        .assert_serves(&url(0), &bodies[0])
        .assert_cache(&["hit"]);
    assert_eq!(
        origin.count("/x-0.tar.gz"),
        1,
        "the object was never evicted"
    );
}

#[test]
fn eviction_does_not_cut_reader_of_object() {
    let origin = Origin::start();
    // The large body exceeds the socket buffers between gateway and client.
    let (large, small) = (archive(30, 24 << 20), archive(31, 12 << 20));
    origin.serve("/large-1.0.tar.gz", Reply::file(&large));
    origin.serve("/small-1.0.tar.gz", Reply::file(&small));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.max_size", "34MiB")
        .start();
    gateway.assert_serves(&origin.url("/large-1.0.tar.gz"), &large);
    gateway.await_stored(&origin.url("/large-1.0.tar.gz"));
    let mut reader = gateway.get(&origin.url("/large-1.0.tar.gz")).open();
    let first = reader.read(1000);
    gateway.assert_serves(&origin.url("/small-1.0.tar.gz"), &small);
    gateway.await_stored(&origin.url("/small-1.0.tar.gz"));
    assert!(
        !gateway.object_path(&large).exists(),
        "the large object is evicted"
    );
    let mut whole = first;
    whole.extend(reader.finish().body);
    crate::harness::assert_same(&whole, &large);
}

/// Returns a gateway with a 1 MiB cache that stores seven objects of 100,000 bytes.
fn filled(origin: &Origin) -> Gateway {
    let gateway = Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.max_size", "1MiB")
        .start();
    for number in 0..7 {
        let path = format!("/old-{number}.tar.gz");
        let body = archive(40 + number, 100_000);
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
    gateway
}

#[test]
fn eviction_counts_reserved_space() {
    let origin = Origin::start();
    let gateway = filled(&origin);
    let gate = Gate::new();
    let body = archive(50, 100_000);
    let mut waiting = Vec::new();
    for number in 0..3 {
        let path = format!("/waiting-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body).gate_at(50_000, &gate));
        let mut answer = gateway.get(&origin.url(&path)).open();
        answer.read(1000);
        waiting.push(answer);
    }
    // Stored and reserved bytes are 1,000,000 now, so older objects must be
    // evicted for the next one.
    let next = archive(51, 100_000);
    origin.serve("/next-1.0.tar.gz", Reply::file(&next));
    gateway.assert_serves(&origin.url("/next-1.0.tar.gz"), &next);
    gateway.await_stored(&origin.url("/next-1.0.tar.gz"));
    gate.open();
    for answer in waiting {
        answer.finish();
    }
    for number in 0..3 {
        gateway.await_stored(&origin.url(&format!("/waiting-{number}.tar.gz")));
    }
    assert_eq!(origin.count("/next-1.0.tar.gz"), 1);
}

#[test]
fn concurrent_evictions_free_no_more_than_needed() {
    let origin = Origin::start();
    let gateway = filled(&origin);
    all_at_once(12, |number| {
        let path = format!("/new-{number}.tar.gz");
        let body = archive(60 + number as u64, 60_000);
        origin.serve(&path, Reply::file(&body));
        gateway
            .get(&origin.url(&path))
            .send()
            .assert_body(200, &body);
        gateway.await_stored(&origin.url(&path));
    });
    eventually("the staging folder is empty", || {
        gateway.staged().is_empty().then_some(())
    });
    let kept: u64 = gateway
        .objects()
        .iter()
        .map(|object| fs::metadata(object).map_or(0, |data| data.len()))
        .sum();
    // The low watermark is 734,003 bytes, and the last evicted object has at most 100,000 bytes.
    assert!(
        (634_003..=1 << 20).contains(&kept),
        "{kept} bytes are stored"
    );
}

#[test]
fn one_process_evicts_at_a_time() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..3).map(|number| archive(70 + number, 400_000)).collect();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.max_size", "1MiB");
    let gateway = builder
        .set("cache.high_watermark", "1.0")
        .text("cache.disk_timeout", "1s")
        .start();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
    }
    for (number, body) in bodies[..2].iter().enumerate() {
        gateway.assert_serves(&url(number), body);
        gateway.await_stored(&url(number));
    }
    // Holds the eviction lock, as another evicting process does.
    let lock =
        fs::File::create(gateway.cache().join("locks/evict")).expect("the folder can be written");
    lock.lock().expect("the file system supports locks");
    gateway.assert_serves(&url(2), &bodies[2]);
    assert_eq!(gateway.await_fetch(&url(2))["outcome"], "failed");
    assert_eq!(
        gateway.objects().len(),
        2,
        "nothing is evicted while another process evicts"
    );
    drop(lock);
    eventually("an object is evicted for the new one", || {
        gateway.assert_serves(&url(2), &bodies[2]);
        gateway.object_path(&bodies[2]).exists().then_some(())
    });
    assert_eq!(gateway.objects().len(), 2, "one object is evicted");
}
