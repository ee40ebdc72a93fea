//! Tests of a disk that fails, hangs or fills up. Millpond serves without it, reports it, and uses
//! it again after recovery.

use crate::harness::{
    Body, Bucket, Builder, Disk, Gateway, Origin, Reply, Trouble, archive, eventually,
};

const KEPT: &str = "/kept-1.0.tar.gz";
const NEW: &str = "/new-1.0.tar.gz";

/// A gateway on a disk with injected faults, with one stored target.
pub struct Stage {
    pub gateway: Gateway,
    pub origin: Origin,
    pub disk: Disk,
    kept: Body,
    new: Body,
}

pub fn stage(change: impl FnOnce(Builder) -> Builder) -> Stage {
    let disk = Disk::mount();
    let origin = Origin::start();
    let (kept, new) = (archive(1, 300_000), archive(2, 200_000));
    origin.serve(KEPT, Reply::file(&kept));
    origin.serve(NEW, Reply::file(&new));
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .cache_in(disk.folder());
    let gateway = change(builder.text("cache.disk_timeout", "1s")).start();
    gateway.assert_serves(&origin.url(KEPT), &kept);
    gateway.await_stored(&origin.url(KEPT));
    // This read brings the object into the page cache, as on a local disk.
    gateway
        .assert_serves(&origin.url(KEPT), &kept)
        .assert_cache(&["hit"]);
    gateway
        .request("GET", "/readyz")
        .send()
        .assert_body(200, b"ready\n");
    Stage {
        gateway,
        origin,
        disk,
        kept,
        new,
    }
}

impl Stage {
    #[track_caller]
    pub fn await_readiness(&self, status: u16, text: &str) {
        eventually(text, || {
            let answer = self.gateway.request("GET", "/readyz").send();
            (answer.status == status && answer.text() == text).then_some(())
        });
    }

    /// Asserts that the gateway works as before the fault.
    #[track_caller]
    pub fn assert_mended(&self) {
        self.disk.set(Trouble::Nothing);
        self.await_readiness(200, "ready\n");
        self.gateway
            .assert_serves(&self.origin.url(KEPT), &self.kept)
            .assert_cache(&["hit"]);
        eventually("the new target is stored", || {
            let answer = self.gateway.assert_serves(&self.origin.url(NEW), &self.new);
            answer
                .header("Cache-Status")
                .is_some_and(|status| status.contains("; hit"))
                .then_some(())
        });
    }
}

#[test]
fn hanging_disk_is_bypassed_until_recovery() {
    let stage = stage(|builder| builder);
    stage.disk.set(Trouble::Hangs);
    stage.await_readiness(503, "the disk of the cache does not answer\n");
    stage
        .gateway
        .request("GET", "/healthz")
        .send()
        .assert_status(200);
    for _ in 0..2 {
        stage
            .gateway
            .assert_serves(&stage.origin.url(NEW), &stage.new);
        stage
            .gateway
            .proxied("GET", &stage.origin.url(NEW))
            .send()
            .assert_body(200, &stage.new);
    }
    let asked = stage.origin.count(KEPT);
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept);
    assert!(
        stage.origin.count(KEPT) <= asked + 1,
        "the origin gets at most one more request"
    );
    stage.assert_mended();
}

#[test]
fn read_only_disk_still_serves_hits() {
    let stage = stage(|builder| builder);
    stage.disk.set(Trouble::ReadOnly);
    stage.await_readiness(503, "the cache cannot be written\n");
    for _ in 0..2 {
        stage
            .gateway
            .assert_serves(&stage.origin.url(KEPT), &stage.kept)
            .assert_cache(&["hit"]);
        stage
            .gateway
            .assert_serves(&stage.origin.url(NEW), &stage.new);
    }
    assert_eq!(stage.origin.count(KEPT), 1);
    stage.assert_mended();
}

#[test]
fn failing_disk_passes_all_requests_through() {
    let stage = stage(|builder| builder.text("cache.positive_ttl", "1ms"));
    stage.disk.set(Trouble::Errors);
    stage
        .disk
        .forget_contents(&stage.gateway.object_path(&stage.kept));
    stage.await_readiness(503, "the cache cannot be written\n");
    for _ in 0..2 {
        stage
            .gateway
            .assert_serves(&stage.origin.url(KEPT), &stage.kept);
        stage
            .gateway
            .assert_serves(&stage.origin.url(NEW), &stage.new);
    }
    stage.assert_mended();
}

#[test]
fn unreadable_object_is_fetched_again() {
    let stage = stage(|builder| builder);
    stage.disk.set(Trouble::Unreadable);
    stage
        .disk
        .forget_contents(&stage.gateway.object_path(&stage.kept));
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept);
    assert_eq!(stage.origin.count(KEPT), 2);
    stage.assert_mended();
}

#[test]
fn object_unreadable_in_the_middle_is_replaced() {
    let stage = stage(|builder| builder);
    let object = stage.gateway.object_path(&stage.kept);
    stage.disk.lose(&object, 200_000);
    stage
        .gateway
        .get(&stage.origin.url(KEPT))
        .send()
        .assert_broken();
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept)
        .assert_cache(&["fwd=uri-miss"]);
    eventually("the object is stored again", || {
        let answer = stage
            .gateway
            .assert_serves(&stage.origin.url(KEPT), &stage.kept);
        answer
            .header("Cache-Status")
            .is_some_and(|status| status.contains("; hit"))
            .then_some(())
    });
    assert_eq!(stage.origin.count(KEPT), 2);
    assert_eq!(
        stage.gateway.objects(),
        [object],
        "the new object replaces the old one"
    );
}

#[test]
fn object_unreadable_from_the_start_is_replaced() {
    let stage = stage(|builder| builder);
    stage.disk.lose(&stage.gateway.object_path(&stage.kept), 0);
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept)
        .assert_cache(&["fwd=uri-miss"]);
    eventually("the object is stored again", || {
        let answer = stage
            .gateway
            .assert_serves(&stage.origin.url(KEPT), &stage.kept);
        answer
            .header("Cache-Status")
            .is_some_and(|status| status.contains("; hit"))
            .then_some(())
    });
    assert_eq!(
        stage.origin.count(KEPT),
        2,
        "the object was fetched once more"
    );
}

#[test]
fn failing_disk_is_replaced_by_the_bucket() {
    for trouble in [Trouble::Hangs, Trouble::Errors] {
        let bucket = Bucket::start();
        let stage = stage(|builder| bucket.configure(builder, "p/").text("s3.delivery", "relay"));
        stage.gateway.await_uploaded(&stage.origin.url(KEPT));
        stage.disk.set(trouble);
        stage
            .disk
            .forget_contents(&stage.gateway.object_path(&stage.kept));
        eventually("readyz returns 503", || {
            (stage.gateway.request("GET", "/readyz").send().status == 503).then_some(())
        });
        for _ in 0..2 {
            stage
                .gateway
                .assert_serves(&stage.origin.url(KEPT), &stage.kept);
            stage
                .gateway
                .assert_serves(&stage.origin.url(NEW), &stage.new);
        }
        assert_eq!(
            stage.origin.count(KEPT),
            1,
            "the origin is not asked again during {trouble:?}"
        );
        stage.assert_mended();
    }
}

#[test]
fn disk_failure_opens_and_recovery_ends_incident() {
    let stage = stage(|builder| builder);
    let incident = |state: &str| {
        let listed = stage
            .gateway
            .operate("GET", "/api/v1/incidents")
            .send()
            .json();
        let of_disk = |incident: &&serde_json::Value| {
            incident["cause"] == "disk" && incident["state"] == state
        };
        listed["incidents"]
            .as_array()
            .expect("the incidents are a list")
            .iter()
            .find(of_disk)
            .cloned()
    };
    stage.disk.set(Trouble::ReadOnly);
    let open = eventually("the incident is open", || incident("open"));
    assert!(
        open["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("Read-only")),
        "{open}"
    );
    stage.disk.set(Trouble::Nothing);
    eventually("the incident is over", || incident("recovered"));
}

#[test]
fn gateway_on_hanging_disk_can_be_stopped() {
    let mut stage = stage(|builder| builder);
    stage.disk.set(Trouble::Hangs);
    stage.await_readiness(503, "the disk of the cache does not answer\n");
    stage.gateway.signal("TERM");
    stage
        .gateway
        .log()
        .wait_for("the end", |event| event["message"] == "stopped");
    // The kernel does not release a process that waits for a disk.
    stage.disk.set(Trouble::Nothing);
    let (code, log) = stage.gateway.await_exit();
    assert_eq!(code, Some(0), "{}", log.text());
    stage.gateway.restart();
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept)
        .assert_cache(&["hit"]);
}
