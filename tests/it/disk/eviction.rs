//! Disk space: the cache stays within its limit, evicts the least recently used objects, and passes
//! through bodies that do not fit.

use std::fs;

use crate::harness::{
    Disk, Gate, Gateway, Origin, Reply, Scene, all_at_once, archive, assert_same, disk_use,
    eventually,
};

#[test]
fn object_larger_than_cache_passes_through() {
    let (origin, gateway, body, _) = Scene::of("/length-1.0.tar.gz", archive(1, 3 << 20))
        .gateway(|builder| builder.relay().text("cache.max_size", "1MiB"))
        .start();
    origin.serve("/chunks-1.0.tar.gz", Reply::file(&body).chunked());
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
    let (_origin, gateway, body, url) = Scene::of("/x-1.0.tar.gz", archive(2, 50_000))
        .gateway(|builder| builder.relay().text("cache.min_free", "1000TiB"))
        .start();
    for _ in 0..2 {
        gateway.assert_serves(&url, &body);
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

/// Size of the cache of [`filled`], in bytes: 1 MiB, and what the records of ten objects take.
const FILLED_MAX_BYTES: u64 = 1_150_000;

/// Returns a gateway with a small cache that stores seven objects of 100,000 bytes.
fn filled(origin: &Origin) -> Gateway {
    let gateway = Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.max_size", "1150KB")
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
    // Stored and reserved bytes are more than 1,050,000 now, so older objects must be
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
    assert!(kept <= FILLED_MAX_BYTES, "{kept} bytes are stored");
    // The low watermark is 805,000 bytes, the last evicted object takes at most 102,400, and the
    // records of evicted objects are compacted.
    let used = disk_use(gateway.cache()).bytes;
    assert!(used >= 640_000, "{used} bytes are used");
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

#[test]
fn claimed_length_evicts_nothing() {
    // The origin states the length at the URL prefix and at the proxy port, or sends chunks.
    let [stated, chunked] = [false, true];
    for (number, is_chunked) in [stated, stated, chunked].into_iter().enumerate() {
        let origin = Origin::start();
        let gateway = filled(&origin);
        let gate = Gate::new();
        let claims: Vec<_> = (0..3)
            .map(|seed| {
                (
                    format!("/claim-{seed}.tar.gz"),
                    archive(80 + seed, 1_000_000),
                )
            })
            .collect();
        let mut answers = Vec::new();
        for (path, body) in &claims {
            let reply = Reply::file(body).gate_at(2000, &gate);
            origin.serve(path, if is_chunked { reply.chunked() } else { reply });
            let url = origin.url(path);
            let request = if number == 1 {
                gateway.proxied("GET", &url)
            } else {
                gateway.get(&url)
            };
            let mut answer = request.open();
            answer.read(1000);
            answers.push(answer);
        }
        gate.await_reached(3);
        assert_eq!(gateway.objects().len(), 7, "a claim evicts nothing");
        // Another client's file still fits.
        let small = archive(90, 100_000);
        origin.serve("/small-1.0.tar.gz", Reply::file(&small));
        gateway.assert_serves(&origin.url("/small-1.0.tar.gz"), &small);
        gateway.await_stored(&origin.url("/small-1.0.tar.gz"));
        assert_eq!(gateway.objects().len(), 8);
        gate.open();
        for ((_, body), answer) in claims.iter().zip(answers) {
            assert_same(&answer.finish().body, &body[1000..]);
        }
    }
}

#[test]
fn arrived_bytes_evict_least_recently_used() {
    let origin = Origin::start();
    let gateway = filled(&origin);
    let used_last = archive(40, 100_000);
    gateway.assert_serves(&origin.url("/old-0.tar.gz"), &used_last);
    let (gate, body) = (Gate::new(), archive(91, 600_000));
    origin.serve(
        "/big-1.0.tar.gz",
        Reply::file(&body).gate_at(500_000, &gate),
    );
    let mut answer = gateway.get(&origin.url("/big-1.0.tar.gz")).open();
    answer.read(400_000);
    gate.await_reached(1);
    let kept = gateway.objects().len();
    assert!((4..7).contains(&kept), "{kept} objects are left");
    gate.open();
    answer.finish();
    gateway.await_stored(&origin.url("/big-1.0.tar.gz"));
    assert!(gateway.object_path(&body).exists());
    assert!(gateway.object_path(&used_last).exists());
}

#[test]
fn missing_inodes_evict_small_files() {
    let disk = Disk::mount();
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .cache_in(disk.folder())
        .start();
    let path = |number: u64| format!("/x-{number}.tar.gz");
    let store = |number: u64| {
        let body = archive(number, 500);
        origin.serve(&path(number), Reply::file(&body));
        gateway.assert_serves(&origin.url(&path(number)), &body);
        assert_eq!(
            gateway.await_fetch(&origin.url(&path(number)))["outcome"],
            "stored",
            "{number}"
        );
    };
    store(0);
    // About 40 objects can stay beside the records and folders of these targets.
    let (count, plenty) = (120, 10_000);
    disk.set_inodes(plenty);
    disk.set_inodes(plenty - disk.free_inodes() + 700);
    (1..count).for_each(store);
    assert!(disk.free_inodes() > 0, "inodes stay free");
    for number in count - 5..count {
        gateway
            .assert_serves(&origin.url(&path(number)), &archive(number, 500))
            .assert_cache(&["hit"]);
    }
    assert!(
        (gateway.objects().len() as u64) < count,
        "objects were evicted for their inodes"
    );
    // Records may be compacted for their inodes, and none is lost.
    let listed = gateway.operate("GET", "/api/v1/objects?total=true").send();
    assert_eq!(listed.json()["total"]["targets"], count);
    gateway.request("GET", "/readyz").send().assert_status(200);
}
