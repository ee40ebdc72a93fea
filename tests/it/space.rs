//! Space: what is stored stays within its bounds, what makes room is the oldest, and what does not fit is passed through.

use std::fs;

use crate::harness::{Gate, Gateway, Origin, Reply, all_at_once, archive, eventually};

#[test]
fn what_is_too_large_for_the_cache_is_passed_through() {
    let origin = Origin::start();
    let body = archive(1, 3 << 20);
    origin.serve("/length.tar.gz", Reply::file(&body));
    origin.serve("/chunks.tar.gz", Reply::file(&body).chunked());
    let gateway = Gateway::builder().origin(&origin).relay().text("cache.max_size", "1MiB").start();
    for path in ["/length.tar.gz", "/chunks.tar.gz"] {
        gateway.assert_serves(&origin.url(path), &body);
        gateway.proxied("GET", &origin.url(path)).send().assert_body(200, &body);
        assert!(gateway.records_of(&origin.url(path)).is_empty(), "{path}");
    }
    eventually("nothing is staged any more", || gateway.staged().is_empty().then_some(()));
    gateway.assert_nothing_stored();
}

#[test]
fn a_disk_that_is_too_full_passes_through() {
    let origin = Origin::start();
    let body = archive(2, 50_000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::builder().origin(&origin).relay().text("cache.min_free", "1000TiB").start();
    for _ in 0..2 {
        gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &body);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn objects_make_room_and_their_records_stay() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..8).map(|number| archive(10 + number, 300_000)).collect();
    let builder = Gateway::builder().origin(&origin).relay().text("cache.max_size", "1MiB");
    let gateway = builder.text("cache.sweep_interval", "1h").start();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
        gateway.assert_serves(&url(number), body);
        gateway.await_stored(&url(number));
        let kept: u64 = gateway.objects().iter().map(|object| fs::metadata(object).map_or(0, |data| data.len())).sum();
        assert!(kept <= 1 << 20, "{kept} bytes are kept");
    }
    assert_eq!(gateway.records().len(), bodies.len(), "records are never evicted");
    assert!(!gateway.objects().contains(&gateway.object_path(&bodies[0])), "the oldest has made room");
    assert!(gateway.objects().contains(&gateway.object_path(&bodies[7])), "the newest is there");
    gateway.assert_serves(&url(7), &bodies[7]).assert_cache(&["hit"]);
    gateway.assert_serves(&url(0), &bodies[0]);
    assert_eq!(origin.count("/x-0.tar.gz"), 2);
    assert_eq!(origin.count("/x-7.tar.gz"), 1);
}

#[test]
fn what_was_used_last_stays_longest() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..6).map(|number| archive(20 + number, 250_000)).collect();
    let builder = Gateway::builder().origin(&origin).relay().text("cache.max_size", "1MiB");
    // Room is made when it is asked for, and at no other time.
    let gateway = builder.set("cache.high_watermark", "1.0").start();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
        gateway.assert_serves(&url(number), body);
        gateway.await_stored(&url(number));
        // The first is asked for again and again.
        gateway.assert_serves(&url(0), &bodies[0]);
    }
    gateway.assert_serves(&url(0), &bodies[0]).assert_cache(&["hit"]);
    assert_eq!(origin.count("/x-0.tar.gz"), 1, "it was never evicted");
}

#[test]
fn an_object_that_is_being_read_can_be_evicted_without_harm() {
    let origin = Origin::start();
    // More than the sockets between gateway and client can hold.
    let (large, small) = (archive(30, 24 << 20), archive(31, 12 << 20));
    origin.serve("/large.tar.gz", Reply::file(&large));
    origin.serve("/small.tar.gz", Reply::file(&small));
    let gateway = Gateway::builder().origin(&origin).relay().text("cache.max_size", "34MiB").start();
    gateway.assert_serves(&origin.url("/large.tar.gz"), &large);
    gateway.await_stored(&origin.url("/large.tar.gz"));
    let mut reader = gateway.get(&origin.url("/large.tar.gz")).open();
    let first = reader.read(1000);
    gateway.assert_serves(&origin.url("/small.tar.gz"), &small);
    gateway.await_stored(&origin.url("/small.tar.gz"));
    assert!(!gateway.object_path(&large).exists(), "it has made room");
    let mut whole = first;
    whole.extend(reader.finish().body);
    crate::harness::assert_same(&whole, &large);
}

/// A gateway of 1 MiB that holds seven objects of 100,000 bytes.
fn filled(origin: &Origin) -> Gateway {
    let gateway = Gateway::builder().origin(origin).relay().one_attempt().text("cache.max_size", "1MiB").start();
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
fn room_is_made_for_what_is_on_its_way_too() {
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
    // Held and reserved are a million bytes now; older objects have to make room for the next.
    let next = archive(51, 100_000);
    origin.serve("/next.tar.gz", Reply::file(&next));
    gateway.assert_serves(&origin.url("/next.tar.gz"), &next);
    gateway.await_stored(&origin.url("/next.tar.gz"));
    gate.open();
    for answer in waiting {
        answer.finish();
    }
    for number in 0..3 {
        gateway.await_stored(&origin.url(&format!("/waiting-{number}.tar.gz")));
    }
    assert_eq!(origin.count("/next.tar.gz"), 1);
}

#[test]
fn many_that_make_room_at_once_make_no_more_than_is_needed() {
    let origin = Origin::start();
    let gateway = filled(&origin);
    all_at_once(12, |number| {
        let path = format!("/new-{number}.tar.gz");
        let body = archive(60 + number as u64, 60_000);
        origin.serve(&path, Reply::file(&body));
        gateway.get(&origin.url(&path)).send().assert_body(200, &body);
        gateway.await_stored(&origin.url(&path));
    });
    eventually("nothing is staged any more", || gateway.staged().is_empty().then_some(()));
    let kept: u64 = gateway.objects().iter().map(|object| fs::metadata(object).map_or(0, |data| data.len())).sum();
    // The low watermark is 734,003 bytes, and the last object that had to go was at most 100,000.
    assert!((634_003..=1 << 20).contains(&kept), "{kept} bytes are kept");
}

#[test]
fn of_the_processes_of_a_folder_one_at_a_time_makes_room() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..3).map(|number| archive(70 + number, 400_000)).collect();
    let builder = Gateway::builder().origin(&origin).relay().text("cache.max_size", "1MiB");
    let gateway = builder.set("cache.high_watermark", "1.0").text("cache.disk_timeout", "1s").start();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
    }
    for (number, body) in bodies[..2].iter().enumerate() {
        gateway.assert_serves(&url(number), body);
        gateway.await_stored(&url(number));
    }
    // As another process that is making room.
    let lock = fs::File::create(gateway.cache().join("locks/evict")).expect("the folder can be written");
    lock.lock().expect("the file system knows locks");
    gateway.assert_serves(&url(2), &bodies[2]);
    assert_eq!(gateway.await_fetch(&url(2))["outcome"], "failed");
    assert_eq!(gateway.objects().len(), 2, "what is there stays while another makes room");
    drop(lock);
    eventually("room is made", || {
        gateway.assert_serves(&url(2), &bodies[2]);
        gateway.object_path(&bodies[2]).exists().then_some(())
    });
    assert_eq!(gateway.objects().len(), 2, "one has made room");
}
