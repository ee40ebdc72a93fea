//! Jobs of kind `scrub`: the gateway reads stored objects, and repairs corrupt ones.

use serde_json::{Value, json};

use crate::harness::{
    Body, Gate, Gateway, Origin, Reply, encoded, files_under, rot, sha256, verify,
};
use crate::operate::jobs::{archives, await_end, order, show, start};

const SIZE: u64 = 20_000;

fn gateway(origin: &Origin) -> Gateway {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .start()
}

/// Stores this number of archives, and returns their URLs and bodies.
fn stored(gateway: &Gateway, origin: &Origin, count: u64) -> Vec<(String, Body)> {
    let all = archives(origin, count);
    for (url, body) in &all {
        gateway.assert_serves(url, body);
        gateway.await_stored(url);
    }
    all
}

fn counts(job: &Value) -> [Option<u64>; 5] {
    ["targets", "done", "unchanged", "failed", "bytes"].map(|name| job[name].as_u64())
}

#[test]
fn scrub_job_reads_and_repairs_all_objects() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let all = stored(&gateway, &origin, 4);
    let (url, body) = &all[1];
    rot(&gateway, body);
    let job = await_end(&gateway, &start(&gateway, &json!({"kind": "scrub"})));
    assert_eq!(job["state"], "succeeded", "{job}");
    // The unit is a part of the folder. The bytes are those of intact objects.
    let expected = [256, 256, 255, 0, 3 * SIZE].map(Some);
    assert_eq!(counts(&job), expected, "{job}");
    assert_eq!(
        origin.count("/x-1.0.tar.gz"),
        2,
        "only this one is refetched"
    );
    assert_eq!(origin.total(), 5);
    gateway.assert_serves(url, body).assert_cache(&["hit"]);
    assert_eq!(files_under(&gateway.cache().join("quarantine")).len(), 1);
    verify(&gateway, &[]).assert(0, &[]);
    let again = await_end(&gateway, &start(&gateway, &json!({"kind": "scrub"})));
    let expected = [256, 256, 256, 0, 4 * SIZE].map(Some);
    assert_eq!(counts(&again), expected, "{again}");
}

#[test]
fn scrub_job_reads_listed_targets_only() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let all = stored(&gateway, &origin, 3);
    for (_, body) in &all[..2] {
        rot(&gateway, body);
    }
    let never = origin.url("/never-1.0.tar.gz");
    let targets = [&all[0].0, &all[2].0, &never];
    let body = json!({"kind": "scrub", "targets": targets});
    let job = await_end(&gateway, &start(&gateway, &body));
    assert_eq!(counts(&job), [3, 3, 1, 1, SIZE].map(Some), "{job}");
    assert_eq!(job["failures"][0]["url"], never, "{job}");
    assert_eq!(origin.count("/x-0.0.tar.gz"), 2);
    assert_eq!(origin.count("/x-1.0.tar.gz"), 1, "this one is not listed");
    verify(&gateway, &[]).assert(0, &[("corrupt", "refetched")]);
}

#[test]
fn unrecoverable_object_fails_scrub_job() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.negative_ttl", "1ms")
        .start();
    let (url, body) = stored(&gateway, &origin, 1).remove(0);
    rot(&gateway, &body);
    origin.serve("/x-0.0.tar.gz", Reply::status(404));
    let job = await_end(&gateway, &start(&gateway, &json!({"kind": "scrub"})));
    assert_eq!(job["state"], "failed", "{job}");
    let failure = &job["failures"][0];
    assert_eq!(failure["url"], format!("objects/{}", &sha256(&body)[..2]));
    let text = failure["error"].as_str().expect("an error is text");
    assert!(text.starts_with("1 corrupt"), "{text}");
    gateway.log().wait_for("the finding", |event| {
        event["level"] == "ERROR"
            && event["name"]
                .as_str()
                .is_some_and(|name| name.ends_with(&sha256(&body)))
    });
    // The next scrub restores it, although it is not on the disk.
    origin.serve("/x-0.0.tar.gz", Reply::file(&body));
    let command = ["jobs", "scrub", "--wait", "--json", &url];
    let run = gateway.run_command(gateway.cache(), &command);
    run.assert_success();
    assert_eq!(counts(&run.documents()[0])[..4], [1, 1, 0, 0].map(Some));
    let asked = origin.total();
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(origin.total(), asked);
}

#[test]
fn killed_gateway_goes_on_with_scrub() {
    let origin = Origin::start();
    let mut gateway = gateway(&origin);
    let (url, body) = stored(&gateway, &origin, 1).remove(0);
    rot(&gateway, &body);
    let gate = Gate::new();
    let held = Reply::file(&body);
    origin.script(
        "/x-0.0.tar.gz",
        vec![held.clone(), held.clone().gate_at(5000, &gate), held],
    );
    let part = u64::from_str_radix(&sha256(&body)[..2], 16).expect("hex digits");
    let scrub = json!({"kind": "scrub", "concurrency": 1});
    let job = start(&gateway, &scrub);
    gate.await_reached(1);
    assert_eq!(show(&gateway, &job)["done"], part);
    gateway.kill9();
    gateway.restart();
    let ended = await_end(&gateway, &job);
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["done"], 256, "{ended}");
    let asked = origin.total();
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(origin.total(), asked);
}

#[test]
fn cancelled_scrub_keeps_objects() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    let (url, body) = stored(&gateway, &origin, 1).remove(0);
    rot(&gateway, &body);
    let gate = Gate::new();
    let held = Reply::file(&body);
    origin.script(
        "/x-0.0.tar.gz",
        vec![held.clone(), held.clone().gate_at(5000, &gate), held],
    );
    let job = start(&gateway, &json!({"kind": "scrub"}));
    gate.await_reached(1);
    let cancelled = gateway.operate("DELETE", &job).send().json();
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    gate.open();
    gateway.assert_serves(&url, &body);
    let exact = format!("/api/v1/targets?url={}", encoded(&url));
    let records = gateway.operate("GET", &exact).send().json();
    assert_eq!(records["records"][0]["sha256"], sha256(&body), "{records}");
}

#[test]
fn scrub_job_needs_operator_and_no_path() {
    let gateway = Gateway::builder().start();
    let request = gateway.request("POST", crate::operate::jobs::JOBS);
    let body = json!({"kind": "scrub"}).to_string();
    request.body(body.as_bytes()).send().assert_problem(401);
    for body in [
        json!({"kind": "scrub", "dir": "/etc"}),
        json!({"kind": "migrate"}),
        json!({"kind": "scrub", "concurrency": 65}),
    ] {
        order(&gateway, &body).assert_problem(400);
    }
}
