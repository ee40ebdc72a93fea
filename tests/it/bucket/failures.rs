//! Tests of a failing bucket. Hits on the disk are served, other targets come from the origin, and
//! the operator gets one alert.

use std::time::Instant;

use crate::harness::{
    Body, Bucket, Builder, Fault, Gate, Gateway, Origin, Reply, archive, eventually, object_key,
};

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
        // Without its index, Millpond must ask the bucket for the objects that it has.
        gateway.stop();
        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
            drop(std::fs::remove_file(gateway.cache().join(name)));
        }
        std::fs::remove_file(gateway.object_path(&gone)).expect("the object exists");
        gateway.restart_with(|builder| builder.text("cache.maintenance_interval", "10days"));
        Self {
            bucket,
            origin,
            gateway,
            held,
            gone,
            new,
        }
    }

    /// Asserts that every target is served, from whichever source still works.
    fn assert_goes_on(&self) {
        for (path, body) in [(HELD, &self.held), (GONE, &self.gone), (NEW, &self.new)] {
            self.gateway
                .proxied("GET", &self.origin.url(path))
                .send()
                .assert_body(200, body);
            self.gateway
                .proxied("GET", &self.origin.url(path))
                .range("bytes=0-9")
                .send()
                .assert_body(206, &body[..10]);
        }
    }

    fn alerts(&self) -> usize {
        let is_alert = |event: &serde_json::Value| {
            event["message"] == "incident"
                && event["event"] == "alert"
                && event["summary"] == "the bucket is failing"
        };
        self.gateway
            .log()
            .events()
            .iter()
            .filter(|event| is_alert(event))
            .count()
    }

    fn assert_operator_knows(&self, why: &str) {
        let ready = eventually("readyz names the cause", || {
            let answer = self.gateway.request("GET", "/readyz").send();
            answer.text().contains(why).then_some(answer)
        });
        ready.assert_status(200);
        self.gateway
            .log()
            .wait_for("the warning about the bucket", |event| {
                event["level"] == "WARN"
                    && event["why"].as_str().is_some_and(|text| text.contains(why))
            });
        eventually("the alert is logged", || (self.alerts() > 0).then_some(()));
        assert_eq!(self.alerts(), 1, "only one alert is logged");
        let incidents = self
            .gateway
            .operate("GET", "/api/v1/incidents")
            .send()
            .text();
        assert!(incidents.contains("\"cause\":\"bucket\""), "{incidents}");
    }
}

#[test]
fn bucket_down_serves_disk_hits_and_origin_misses() {
    let stage = Stage::new();
    stage.bucket.go_down();
    stage.assert_goes_on();
    stage.assert_operator_knows("does not answer");
    assert_eq!(
        stage.origin.count(GONE),
        2,
        "the origin served the object that the bucket could not"
    );
}

#[test]
fn recovered_bucket_gets_pending_uploads_and_clears_alert() {
    let stage = Stage::new();
    stage.bucket.go_down();
    stage.assert_goes_on();
    stage.bucket.come_up();
    stage.bucket.wait_for(&object_key(&stage.new));
    stage
        .gateway
        .log()
        .wait_for("the recovery", |event| event["event"] == "recovery");
    eventually("readyz reports no problem", || {
        (stage.gateway.request("GET", "/readyz").send().text() == "ready\n").then_some(())
    });
}

#[test]
fn rejected_bucket_credentials_do_not_fail_requests() {
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
        // A response to HEAD has no body that could name the error code.
        stage.bucket.fault(|seen| seen.method != "HEAD", fault);
        stage.assert_goes_on();
        stage.assert_operator_knows(code);
    }
}

#[test]
fn hanging_bucket_opens_its_circuit() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.bucket.fault(|_| true, Fault::Stall(gate.clone()));
    let started = Instant::now();
    stage.assert_goes_on();
    assert!(
        started.elapsed().as_secs() < 25,
        "only a few requests wait for the 5 s timeout"
    );
    stage.assert_operator_knows("no answer within");
}

#[test]
fn full_bucket_still_serves_its_objects() {
    for (fault, code) in [
        (Fault::NO_SPACE, "InsufficientStorageSpace"),
        (Fault::QUOTA, "QuotaExceeded"),
    ] {
        let stage = Stage::new();
        stage
            .bucket
            .fault(|seen| seen.method == "PUT" || seen.method == "POST", fault);
        stage.assert_goes_on();
        stage.assert_operator_knows(code);
        assert_eq!(
            stage.origin.count(GONE),
            1,
            "the object came from the bucket"
        );
        assert!(stage.gateway.object_path(&stage.new).exists());
    }
}

#[test]
fn unreadable_disk_is_replaced_by_the_bucket() {
    let mut stage = Stage::new();
    stage.gateway.stop();
    // A missing folder stands for a disk that cannot be read.
    let objects = stage.gateway.cache().join("objects");
    std::fs::rename(&objects, stage.gateway.cache().join("elsewhere"))
        .expect("the folder can be moved");
    stage.gateway.restart();
    stage
        .gateway
        .proxied("GET", &stage.origin.url(HELD))
        .send()
        .assert_body(200, &stage.held);
    assert_eq!(stage.origin.count(HELD), 1);
}

#[test]
fn client_is_not_redirected_to_failing_bucket() {
    let stage = Stage::new();
    stage
        .gateway
        .get(&stage.origin.url(GONE))
        .wget_agent()
        .send()
        .assert_status(302);
    stage.bucket.fault(|_| true, Fault::SLOW_DOWN);
    stage.assert_operator_knows("SlowDown");
    // The cooldowns of the circuit get longer. After each one, Millpond asks the bucket again.
    let asked = stage.bucket.total();
    while stage.bucket.total() < asked + 3 {
        let answer = stage
            .gateway
            .get(&stage.origin.url(GONE))
            .wget_agent()
            .send();
        assert_eq!(answer.status, 200, "{:?}", answer.header("location"));
        std::fs::remove_file(stage.gateway.object_path(&stage.gone)).ok();
    }
}

#[test]
fn corrected_secret_key_file_is_read_without_restart() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let folder = tempfile::tempdir().expect("a folder can be created");
    let file = folder.path().join("secret");
    std::fs::write(&file, "an old one\n").expect("the file can be written");
    let builder = with(&bucket, &origin).text("s3.secret_access_key", "");
    let gateway = builder
        .text(
            "s3.secret_access_key_file",
            file.to_str().expect("the path is UTF-8"),
        )
        .start();
    let body = archive(4, 200_000);
    origin.serve(NEW, Reply::file(&body));
    gateway.assert_serves(&origin.url(NEW), &body);
    gateway
        .log()
        .wait_for("the warning about the bucket", |event| {
            event["why"]
                .as_str()
                .is_some_and(|why| why.contains("refuses"))
        });
    std::fs::write(&file, crate::harness::SECRET_ACCESS_KEY).expect("the file can be written");
    bucket.wait_for(&object_key(&body));
}
