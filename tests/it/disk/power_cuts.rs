//! Power cuts: every target that was reported as stored survives, whatever else the disk loses.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::{Body, Disk, Gateway, Origin, Reply, archive, encoded, eventually, sha256};

/// A deterministic random number generator.
struct Dice(u64);

impl Dice {
    /// Returns a number below `sides`.
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// Returns an index below `count`.
    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.throw(count as u64)).expect("the number is below `count`")
    }
}

/// An origin with numbered targets and their bodies.
struct World {
    origin: Origin,
    bodies: Vec<Body>,
}

impl World {
    fn new(count: usize) -> Self {
        let origin = Origin::start();
        let bodies: Vec<_> = (0..count)
            .map(|number| archive(number as u64, 20_000 + 7_000 * (number % 9)))
            .collect();
        for (number, body) in bodies.iter().enumerate() {
            origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
        }
        Self { origin, bodies }
    }

    fn path(number: usize) -> String {
        format!("/x-{number}.tar.gz")
    }

    fn url(&self, number: usize) -> String {
        self.origin.url(&Self::path(number))
    }
}

/// Returns the targets that the log reports as stored so far.
fn stored(gateway: &Gateway) -> Vec<String> {
    let told = gateway
        .log()
        .events()
        .into_iter()
        .filter(|event| event["message"] == "fetch" && event["outcome"] == "stored");
    told.map(|event| {
        event["uri"]
            .as_str()
            .expect("the URI is a string")
            .to_owned()
    })
    .collect()
}

/// Asserts the invariants after a power cut: every object matches its name, and every record is
/// complete and has its object.
#[track_caller]
fn assert_sound(gateway: &Gateway) {
    eventually("the staging folder is cleaned", || {
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
            serde_json::from_slice(&text).expect("the record is complete");
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
fn stored_targets_survive_power_cut() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut disk = Disk::mount();
    let world = World::new(60);
    let mut gateway = Gateway::builder()
        .origin(&world.origin)
        .relay()
        .one_attempt()
        .cache_in(disk.folder())
        .start();
    let mut next = 0;
    let mut kept = BTreeMap::new();
    while next < world.bodies.len() {
        let begun = next..(next + 1 + dice.pick(6)).min(world.bodies.len());
        next = begun.end;
        let waiting: Vec<_> = begun
            .clone()
            .map(|number| gateway.get(&world.url(number)).start())
            .collect();
        // Cuts the power after a random one of the started fetches is stored.
        let awaited = begun.start + dice.pick(begun.len());
        gateway.await_stored(&world.url(awaited));
        let told = stored(&gateway);
        gateway.kill9();
        drop(waiting);
        disk.cut_power(|sides| dice.throw(sides));
        for number in begun.filter(|number| told.contains(&world.url(*number))) {
            kept.insert(number, world.origin.count(&World::path(number)));
        }
        gateway.restart();
        assert_sound(&gateway);
        for (number, asked) in &kept {
            let (object, records) = (
                gateway.object_path(&world.bodies[*number]),
                gateway.records_of(&world.url(*number)),
            );
            assert!(
                object.exists() && !records.is_empty(),
                "{number}: {} {}, {records:?}",
                object.display(),
                object.exists()
            );
            gateway
                .assert_serves(&world.url(*number), &world.bodies[*number])
                .assert_cache(&["hit"]);
            assert_eq!(
                world.origin.count(&World::path(*number)),
                *asked,
                "{number} is not fetched again"
            );
        }
    }
    assert!(kept.len() >= 10, "{} targets were stored", kept.len());
    // Targets that the cut lost are fetched again.
    for number in 0..world.bodies.len() {
        gateway.assert_serves(&world.url(number), &world.bodies[number]);
    }
}

#[test]
fn confirmed_pin_survives_power_cut() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut disk = Disk::mount();
    let world = World::new(6);
    let mut gateway = Gateway::builder()
        .origin(&world.origin)
        .relay()
        .cache_in(disk.folder())
        .start();
    for (number, body) in world.bodies.iter().enumerate() {
        gateway.assert_serves(&world.url(number), body);
        gateway.await_stored(&world.url(number));
        let pin = format!(
            "/api/v1/pins?url={}&sha256={}",
            encoded(&world.url(number)),
            sha256(body)
        );
        gateway.operate("PUT", &pin).send().assert_status(200);
        gateway.kill9();
        disk.cut_power(|sides| dice.throw(sides));
        gateway.restart();
        assert_sound(&gateway);
        for number in 0..=number {
            let stat = format!("/api/v1/targets?url={}", encoded(&world.url(number)));
            let stat = gateway.operate("GET", &stat).send().json();
            assert!(stat["records"][0]["pinned"].is_string(), "{stat}");
        }
    }
}
