//! Tests of replicas of the bucket: a node reads objects at its own site first.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Body, Bucket, Builder, Ended, Fault, Gate, Gateway, Origin, Reply, Seen, archive, eventually,
    millpond, object_key, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Networks of this machine, and of no machine.
const HERE: &str = "127.0.0.0/8";
const ELSEWHERE: &str = "198.51.100.0/24";

/// Adds a replica of the bucket, which takes the same key.
fn with_replica(builder: Builder, replica: &Bucket, near: &str) -> Builder {
    let endpoint = replica.endpoint();
    let value = format!("[{{ endpoint = {endpoint:?}, near = [{near:?}] }}]");
    builder.set("s3.replicas", &value)
}

/// A gateway whose disk has lost an object that its bucket has.
struct Stage {
    bucket: Bucket,
    replica: Bucket,
    origin: Origin,
    gateway: Gateway,
    body: Body,
}

impl Stage {
    fn new(near: &str) -> Self {
        let (bucket, replica, origin) = (Bucket::start(), Bucket::start(), Origin::start());
        let body = archive(1, 3_000_000);
        origin.serve(PATH, Reply::file(&body));
        let builder = bucket.configure(Gateway::builder().origin(&origin).relay(), "");
        let gateway = with_replica(builder, &replica, near).start();
        let url = origin.url(PATH);
        gateway.assert_serves(&url, &body);
        gateway.await_uploaded(&url);
        gateway.await_stored(&url);
        std::fs::remove_file(gateway.object_path(&body)).expect("the object exists");
        Self {
            bucket,
            replica,
            origin,
            gateway,
            body,
        }
    }

    /// Copies the object to the replica, as object stores do it some time later.
    fn replicate(&self) {
        let key = object_key(&self.body);
        self.replica.write(&key, &self.body);
    }

    #[track_caller]
    fn assert_served(&self) {
        let request = self.gateway.proxied("GET", &self.origin.url(PATH));
        request.send().assert_body(200, &self.body);
        assert_eq!(self.origin.count(PATH), 1, "the origin is not asked again");
    }

    fn reads(&self) -> (usize, usize) {
        let count = |bucket: &Bucket| bucket.count("GET", "objects/");
        (count(&self.replica), count(&self.bucket))
    }

    /// Returns the number of events of a type that name the replica.
    fn events(&self, kind: &str) -> usize {
        let path = "/api/v1/events?follow=false";
        let request = self.gateway.operate("GET", path);
        let text = request.header("Accept", "application/x-ndjson").send();
        let text = text.text();
        let events = text.lines().filter_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let is_meant = event["type"] == kind && event["replica"] == self.replica.endpoint();
            is_meant.then_some(())
        });
        events.count()
    }
}

#[test]
fn near_replica_sends_objects_and_nothing_else() {
    let stage = Stage::new(HERE);
    stage.replicate();
    stage.assert_served();
    assert_eq!(stage.reads(), (1, 0));
    assert_eq!(
        stage.replica.total(),
        1,
        "records, lists and writes go to the bucket"
    );
    assert!(stage.bucket.count("PUT", "records/") > 0);
    let metrics = stage.gateway.request("GET", "/metrics").send().text();
    let counted = "operation=\"replica_read\",result=\"success\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    stage.bucket.assert_nothing_refused();
    stage.replica.assert_nothing_refused();
}

#[test]
fn replica_of_another_site_is_not_asked() {
    let stage = Stage::new(ELSEWHERE);
    stage.replicate();
    stage.assert_served();
    assert_eq!((stage.reads(), stage.replica.total()), ((0, 1), 0));
}

#[test]
fn bucket_sends_what_replica_lacks() {
    let stage = Stage::new(HERE);
    stage.assert_served();
    assert_eq!(stage.reads(), (1, 1));
    assert_eq!(stage.events("replica_failed"), 0, "replication is late");
    stage.replicate();
    stage.assert_served();
    assert_eq!(stage.reads(), (2, 1));
}

#[test]
fn dead_replica_costs_no_response() {
    let stage = Stage::new(HERE);
    stage.replicate();
    stage.replica.go_down();
    stage.assert_served();
    assert_eq!(stage.reads(), (0, 1));
    let range = || {
        let request = stage.gateway.proxied("GET", &stage.origin.url(PATH));
        request.range("bytes=0-9").send()
    };
    for _ in 0..5 {
        range().assert_body(206, &stage.body[..10]);
    }
    assert_eq!(stage.events("replica_failed"), 1);
    let incidents = stage.gateway.operate("GET", "/api/v1/incidents").send();
    assert!(!incidents.text().contains("bucket"), "nothing has failed");
    stage.replica.come_up();
    eventually("the replica is read again", || {
        range().assert_body(206, &stage.body[..10]);
        (stage.events("replica_recovered") == 1).then_some(())
    });
    assert_eq!(stage.events("replica_failed"), 1);
}

#[test]
fn silent_replica_is_left_within_seconds() {
    let stage = Stage::new(HERE);
    stage.replicate();
    let gate = Gate::new();
    stage.replica.fault(|_| true, Fault::Stall(gate.clone()));
    let begin = Instant::now();
    stage.assert_served();
    let waited = begin.elapsed();
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(stage.reads().1, 1);
    let asked = stage.replica.total();
    stage.assert_served();
    assert_eq!(stage.replica.total(), asked, "the circuit is open");
    gate.open();
}

#[test]
fn bucket_sends_the_rest_of_a_body() {
    let stage = Stage::new(HERE);
    stage.replicate();
    let is_read = |seen: &Seen| seen.is("GET", "objects/");
    stage.replica.fault(is_read, Fault::Cut(1_000_000));
    stage.assert_served();
    assert_eq!(stage.reads(), (1, 1));
    let rest = stage.bucket.requests("GET", "objects/");
    let range = rest[0].header("range").unwrap_or_default();
    assert!(
        range.ends_with("-2999999") && range != "bytes=0-2999999",
        "{range}"
    );
}

#[test]
fn wrong_bytes_of_replica_are_read_from_bucket() {
    let stage = Stage::new(HERE);
    let mut wrong = stage.body.to_vec();
    wrong[7] ^= 1;
    stage.replica.write(&object_key(&stage.body), &wrong);
    // A range of a stated digest needs the whole object on the disk.
    let request = stage.gateway.get(&stage.origin.url(PATH));
    let request = request.header("X-Expected-Sha256", &sha256(&stage.body));
    let answer = request.range("bytes=0-9").send();
    answer.assert_body(206, &stage.body[..10]);
    assert_eq!(stage.reads(), (1, 1));
    stage.assert_served();
    assert_eq!(stage.reads(), (1, 1), "the disk has it");
    let lost = |event: &Value| event["message"] == "bucket lost an object";
    assert!(!stage.gateway.log().events().iter().any(lost));
}

#[test]
fn relayed_wrong_bytes_get_no_end() {
    let stage = Stage::new(HERE);
    let mut wrong = stage.body.to_vec();
    wrong[7] ^= 1;
    stage.replica.write(&object_key(&stage.body), &wrong);
    let request = stage.gateway.proxied("GET", &stage.origin.url(PATH));
    let answer = request.send();
    assert_eq!(answer.ended, Ended::Cut);
    assert!(answer.body.len() < stage.body.len());
    stage.assert_served();
    assert_eq!(stage.reads(), (1, 1), "the replica is not asked again");
}

#[test]
fn redirect_leads_to_replica_that_has_the_object() {
    let stage = Stage::new(HERE);
    let location = || {
        let request = stage.gateway.get(&stage.origin.url(PATH));
        let answer = request.wget_agent().send();
        answer.assert_status(302);
        answer.wants("location").to_owned()
    };
    assert!(location().starts_with(&stage.bucket.base_url()));
    stage.replicate();
    assert!(location().starts_with(&stage.replica.base_url()));
    stage.replica.go_down();
    assert!(location().starts_with(&stage.bucket.base_url()));
}

#[test]
fn doctor_asks_near_replicas() {
    let stage = Stage::new(HERE);
    let (file, url) = (stage.gateway.file(), stage.gateway.url(""));
    let file = file.to_str().expect("the path is text");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let arguments = ["doctor", "--json", "--config", file, "--gateway", &url];
    let finding = || {
        let documents = millpond(folder.path(), &arguments).documents();
        let found = documents.iter().find(|found| found["check"] == "replica");
        found.expect("the replica is checked")["state"].clone()
    };
    assert_eq!(finding(), "ok");
    stage.replica.go_down();
    assert_eq!(finding(), "warning");
}

#[test]
fn incomplete_replica_is_reported() {
    let bucket = Bucket::start();
    let check = |replica: &str| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let text = format!("{}\n[[s3.replicas]]\n{replica}\n", bucket.section(""));
        let file = folder.path().join("millpond.toml");
        std::fs::write(&file, text).expect("the file can be written");
        let path = file.to_str().expect("the path is text");
        millpond(folder.path(), &["check-config", "--config", path])
    };
    let endpoint = "endpoint = \"http://127.0.0.1:9\"";
    let near = "near = [\"127.0.0.0/8\"]";
    check(&format!("{endpoint}\n{near}")).assert_success();
    for (replica, key) in [
        (near.to_owned(), "s3.replicas.endpoint"),
        (endpoint.to_owned(), "s3.replicas.near"),
        (
            format!("{endpoint}\n{near}\naccess_key_id = \"x\""),
            "s3.replicas.access_key_id",
        ),
    ] {
        let run = check(&replica);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(key), "{}", run.stderr);
    }
}
