//! A bucket in trouble: the disk goes on, what it lacks comes from the origin, and the operator is told once.

use std::time::Instant;

use crate::harness::{Body, Bucket, Builder, Fault, Gate, Gateway, Origin, Reply, archive, eventually, object_key};

const HELD: &str = "/pub/held-1.tar.gz";
const GONE: &str = "/pub/gone-1.tar.gz";
const NEW: &str = "/pub/new-1.tar.gz";

fn with(bucket: &Bucket, origin: &Origin) -> Builder {
    bucket.configure(Gateway::builder().origin(origin).relay(), "")
}

/// A gateway with one object on its disk and one in the bucket alone.
struct Stage {
    bucket: Bucket,
    origin: Origin,
    gateway: Gateway,
    held: Body,
    gone: Body,
    new: Body,
}

impl Stage {
    fn new() -> Self {
        let (bucket, origin) = (Bucket::start(), Origin::start());
        let [held, gone, new] = [1, 2, 3].map(|seed| archive(seed, 200_000));
        for (path, body) in [(HELD, &held), (GONE, &gone), (NEW, &new)] {
            origin.serve(path, Reply::file(body));
        }
        let builder = with(&bucket, &origin).set("limits.requests_per_second", "100000");
        let mut gateway = builder.set("limits.burst", "100000").start();
        for (path, body) in [(HELD, &held), (GONE, &gone)] {
            gateway.assert_serves(&origin.url(path), body);
            gateway.await_uploaded(&origin.url(path));
        }
        // What is believed of the bucket is forgotten: it has to be asked.
        gateway.stop();
        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
            drop(std::fs::remove_file(gateway.cache().join(name)));
        }
        std::fs::remove_file(gateway.object_path(&gone)).expect("the object is there");
        gateway.restart_with(|builder| builder.text("cache.sweep_interval", "10days"));
        Self { bucket, origin, gateway, held, gone, new }
    }

    /// Whatever is asked for is had, by all means that are left.
    fn assert_goes_on(&self) {
        for (path, body) in [(HELD, &self.held), (GONE, &self.gone), (NEW, &self.new)] {
            self.gateway.proxied("GET", &self.origin.url(path)).send().assert_body(200, body);
            self.gateway.proxied("GET", &self.origin.url(path)).range("bytes=0-9").send().assert_body(206, &body[..10]);
        }
    }

    fn alerts(&self) -> usize {
        let is_alert = |event: &serde_json::Value| {
            event["message"] == "incident"
                && event["occasion"] == "alert"
                && event["summary"] == "the bucket does not do as it is asked"
        };
        self.gateway.log().events().iter().filter(|event| is_alert(event)).count()
    }

    fn assert_operator_knows(&self, why: &str) {
        let ready = eventually("readyz says what is wrong", || {
            let answer = self.gateway.request("GET", "/readyz").send();
            answer.text().contains(why).then_some(answer)
        });
        ready.assert_status(200);
        self.gateway.log().wait_for("the trouble", |event| {
            event["level"] == "WARN" && event["why"].as_str().is_some_and(|text| text.contains(why))
        });
        eventually("it is told", || (self.alerts() > 0).then_some(()));
        assert_eq!(self.alerts(), 1, "it is told once");
        let incidents = self.gateway.request("GET", "/api/v1/incidents").send().text();
        assert!(incidents.contains("\"cause\":\"bucket\""), "{incidents}");
    }
}

#[test]
fn with_a_bucket_that_is_down_the_disk_goes_on_and_misses_come_from_the_origin() {
    let stage = Stage::new();
    stage.bucket.go_down();
    stage.assert_goes_on();
    stage.assert_operator_knows("does not answer");
    assert_eq!(stage.origin.count(GONE), 2, "the bucket could not give it");
}

#[test]
fn a_bucket_that_comes_back_gets_what_waited_and_the_operator_is_told() {
    let stage = Stage::new();
    stage.bucket.go_down();
    stage.assert_goes_on();
    stage.bucket.come_up();
    stage.bucket.wait_for(&object_key(&stage.new));
    stage.gateway.log().wait_for("the recovery", |event| event["occasion"] == "recovery");
    eventually("readyz has nothing to say", || {
        (stage.gateway.request("GET", "/readyz").send().text() == "ready\n").then_some(())
    });
}

#[test]
fn keys_clocks_and_tokens_that_are_wrong_cost_nothing_but_the_bucket() {
    let faults = [
        (Fault::UNKNOWN_KEY, "InvalidAccessKeyId"),
        (Fault::WRONG_SIGNATURE, "SignatureDoesNotMatch"),
        (Fault::WRONG_CLOCK, "RequestTimeTooSkewed"),
        (Fault::EXPIRED_TOKEN, "ExpiredToken"),
        (Fault::ACCESS_DENIED, "AccessDenied"),
        (Fault::NO_BUCKET, "NoSuchBucket"),
        (Fault::SLOW_DOWN, "SlowDown"),
    ];
    for (fault, code) in faults {
        let stage = Stage::new();
        // An answer to HEAD has no body that could name a reason.
        stage.bucket.fault(|seen| seen.method != "HEAD", fault);
        stage.assert_goes_on();
        stage.assert_operator_knows(code);
    }
}

#[test]
fn a_bucket_that_hangs_is_waited_for_once() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.bucket.fault(|_| true, Fault::Stall(gate.clone()));
    let started = Instant::now();
    stage.assert_goes_on();
    assert!(started.elapsed().as_secs() < 25, "five seconds each for a few, not for all");
    stage.assert_operator_knows("no answer within");
}

#[test]
fn a_bucket_that_is_full_still_gives_what_it_has() {
    for (fault, code) in [(Fault::NO_SPACE, "InsufficientStorageSpace"), (Fault::QUOTA, "QuotaExceeded")] {
        let stage = Stage::new();
        stage.bucket.fault(|seen| seen.method == "PUT" || seen.method == "POST", fault);
        stage.assert_goes_on();
        stage.assert_operator_knows(code);
        assert_eq!(stage.origin.count(GONE), 1, "it came from the bucket");
        assert!(stage.gateway.object_path(&stage.new).exists());
    }
}

#[test]
fn a_dead_disk_leaves_the_bucket() {
    let mut stage = Stage::new();
    stage.gateway.stop();
    // A folder that cannot be read stands for a disk that does not answer.
    let objects = stage.gateway.cache().join("objects");
    std::fs::rename(&objects, stage.gateway.cache().join("elsewhere")).expect("it can be moved");
    stage.gateway.restart();
    stage.gateway.proxied("GET", &stage.origin.url(HELD)).send().assert_body(200, &stage.held);
    assert_eq!(stage.origin.count(HELD), 1);
}

#[test]
fn nobody_is_sent_to_a_bucket_that_is_known_to_fail() {
    let stage = Stage::new();
    stage.gateway.get(&stage.origin.url(GONE)).wget_agent().send().assert_status(302);
    stage.bucket.fault(|_| true, Fault::SLOW_DOWN);
    stage.assert_operator_knows("SlowDown");
    // The rests get longer; after each of them it is asked again.
    let asked = stage.bucket.total();
    while stage.bucket.total() < asked + 3 {
        let answer = stage.gateway.get(&stage.origin.url(GONE)).wget_agent().send();
        assert_eq!(answer.status, 200, "{:?}", answer.header("location"));
        std::fs::remove_file(stage.gateway.object_path(&stage.gone)).ok();
    }
}

#[test]
fn a_key_that_is_put_right_in_its_file_is_used_without_a_restart() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("secret");
    std::fs::write(&file, "an old one\n").expect("it can be written");
    let builder = with(&bucket, &origin).text("s3.secret_access_key", "");
    let gateway = builder.text("s3.secret_access_key_file", file.to_str().expect("the path is text")).start();
    let body = archive(4, 200_000);
    origin.serve(NEW, Reply::file(&body));
    gateway.assert_serves(&origin.url(NEW), &body);
    gateway.log().wait_for("the trouble", |event| event["why"].as_str().is_some_and(|why| why.contains("refuses")));
    std::fs::write(&file, crate::harness::SECRET_ACCESS_KEY).expect("it can be written");
    bucket.wait_for(&object_key(&body));
}
