//! Tests that kill the gateway with SIGKILL at chosen moments, and restart it.

use std::fs;

use crate::harness::{
    Gate, Gateway, Origin, Reply, Scene, Stop, archive, assert_same, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Asserts the invariants after any crash: each object has the bytes of its name, each record has
/// its object, and staging is empty.
#[track_caller]
fn assert_sound(gateway: &Gateway) {
    eventually("staging is swept", || {
        gateway.staged().is_empty().then_some(())
    });
    for object in gateway.objects() {
        let name = object
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        assert_eq!(
            sha256(&fs::read(&object).expect("an object can be read")),
            name,
            "{}",
            object.display()
        );
    }
    for record in gateway.records() {
        let text = fs::read(&record).expect("a record can be read");
        let value: serde_json::Value =
            serde_json::from_slice(&text).expect("a record is valid JSON");
        let name = value["sha256"].as_str().expect("a record names an object");
        assert!(
            gateway
                .cache()
                .join("objects")
                .join(&name[..2])
                .join(name)
                .is_file(),
            "a record is published last"
        );
    }
}

#[test]
fn killed_fetch_leaves_nothing() {
    let body = archive(1, 300_000);
    for offset in [0, 1, 512, 100_000, 299_999] {
        let origin = Origin::start();
        let gate = Gate::new();
        origin.script(
            PATH,
            vec![
                Reply::file(&body).gate_at(offset, &gate),
                Reply::file(&body),
            ],
        );
        let mut gateway = Gateway::relaying(&origin);
        let waiting = gateway.get(&origin.url(PATH)).start();
        gate.await_reached(1);
        gateway.kill9();
        drop(waiting);
        assert!(
            gateway.objects().is_empty() && gateway.records().is_empty(),
            "nothing is published before the end"
        );
        gateway.restart();
        assert_sound(&gateway);
        gateway.assert_serves(&origin.url(PATH), &body);
        gateway.await_stored(&origin.url(PATH));
        assert_eq!(origin.count(PATH), 2);
    }
}

#[test]
fn killed_gateway_cuts_its_clients_transfers() {
    let gate = Gate::new();
    let (origin, mut gateway, body, _) = Scene::of("/length-1.0.tar.gz", archive(2, 300_000))
        .reply(|file| file.gate_at(100_000, &gate))
        .start();
    origin.serve(
        "/chunks-1.0.tar.gz",
        Reply::file(&body).chunked().gate_at(100_000, &gate),
    );
    let mut answers = ["/length-1.0.tar.gz", "/chunks-1.0.tar.gz"]
        .map(|path| gateway.get(&origin.url(path)).open());
    for answer in &mut answers {
        assert_same(&answer.read(100_000), &body[..100_000]);
    }
    gateway.kill9();
    for answer in answers {
        answer.finish().assert_broken();
    }
    gateway.restart();
    assert_sound(&gateway);
}

#[test]
fn published_objects_survive_sigkill() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..5).map(|number| archive(10 + number, 50_000)).collect();
    let mut gateway = Gateway::relaying(&origin);
    for (number, body) in bodies.iter().enumerate() {
        let path = format!("/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(body));
        gateway.assert_serves(&origin.url(&path), body);
        gateway.await_stored(&origin.url(&path));
        // The process is killed as soon as it logs that the object is stored.
        gateway.kill9();
        gateway.restart();
        for (number, body) in bodies[..=number].iter().enumerate() {
            let hit = gateway.assert_serves(&origin.url(&format!("/x-{number}.tar.gz")), body);
            hit.assert_cache(&["hit", "detail=disk"]);
        }
    }
    assert_sound(&gateway);
    assert_eq!(origin.total(), bodies.len(), "nothing was fetched twice");
}

#[test]
fn sigkill_during_many_publishes_leaves_no_partial_objects() {
    let origin = Origin::start();
    let body = |number: u64| archive(1000 + number, 20_000);
    let mut gateway = Gateway::relaying(&origin);
    for round in 0..6_u64 {
        // The process is killed after a different number of responses each time, while others are
        // running.
        let waiting: Vec<_> = (0..12)
            .map(|number| {
                let number = round * 12 + number;
                let path = format!("/x-{number}.tar.gz");
                origin.serve(&path, Reply::file(&body(number)));
                (number, gateway.get(&origin.url(&path)).start())
            })
            .collect();
        for (number, waiting) in waiting
            .into_iter()
            .take(usize::try_from(round).expect("the number fits") * 2 + 1)
        {
            waiting.head().finish().assert_body(200, &body(number));
        }
        gateway.kill9();
        gateway.restart();
        assert_sound(&gateway);
    }
    for number in 0..72 {
        gateway.assert_serves(&origin.url(&format!("/x-{number}.tar.gz")), &body(number));
    }
}

#[test]
fn process_killed_during_start_starts_again() {
    let (_origin, mut gateway, body, url) = Scene::relaying(PATH, archive(3, 50_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for _ in 0..5 {
        gateway.kill9();
        drop(fs::remove_file(gateway.cache().join("index.sqlite")));
        gateway.restart();
    }
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
}

#[test]
fn complete_but_unsealed_body_is_not_published() {
    let origin = Origin::start();
    let body = archive(4, 100_000);
    // The origin sends every byte of the body, but not the last chunk that ends it.
    let end = body.len();
    let unfinished = Reply::file(&body).chunked().stop_at(end, Stop::Stall);
    origin.script(PATH, vec![unfinished, Reply::file(&body)]);
    let mut gateway = Gateway::relaying(&origin);
    let mut answer = gateway.get(&origin.url(PATH)).open();
    assert_same(&answer.read(99_999), &body[..99_999]);
    gateway.kill9();
    assert!(gateway.objects().is_empty() && gateway.records().is_empty());
    gateway.restart();
    assert_sound(&gateway);
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
}

#[test]
fn object_without_record_is_not_served() {
    let (origin, mut gateway, body, url) = Scene::relaying(PATH, archive(5, 50_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.kill9();
    // This is a crash between the two steps of a publish. The object exists, its record does not.
    fs::remove_file(gateway.records_of(&url).remove(0)).expect("the record exists");
    gateway.restart();
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    assert_eq!(origin.count(PATH), 2);
    assert_sound(&gateway);
}
