//! Jobs of kind `migrate`: the gateway copies stored files between its disk and its bucket.

use serde_json::{Value, json};

use crate::harness::{
    Body, Bucket, Builder, Fault, Gate, Gateway, Origin, Seen, encoded, eventually, object_key, rot,
};
use crate::operate::jobs::{archives, await_end, order, show, start};

const SIZE: u64 = 20_000;

fn with(bucket: &Bucket, origin: &Origin) -> Builder {
    bucket.configure(Gateway::builder().origin(origin).relay().one_attempt(), "")
}

/// Stores archives in a bucket by another gateway, and returns their URLs and bodies.
fn in_bucket(bucket: &Bucket, origin: &Origin, count: u64) -> Vec<(String, Body)> {
    let other = with(bucket, origin).start();
    uploaded(&other, origin, count)
}

/// Stores archives, and returns their URLs and bodies once they are uploaded.
fn uploaded(gateway: &Gateway, origin: &Origin, count: u64) -> Vec<(String, Body)> {
    let all = archives(origin, count);
    for (url, body) in &all {
        gateway.assert_serves(url, body);
        gateway.await_uploaded(url);
    }
    all
}

/// Returns the counts of a job: targets, done, unchanged, failed, and bytes.
fn counts(job: &Value) -> [Option<u64>; 5] {
    ["targets", "done", "unchanged", "failed", "bytes"].map(|name| job[name].as_u64())
}

/// Runs a job that copies to `to`, and returns its end.
#[track_caller]
fn copy(gateway: &Gateway, to: &str, targets: &[&String]) -> Value {
    let order = json!({"kind": "migrate", "to": to, "targets": targets});
    await_end(gateway, &start(gateway, &order))
}

#[test]
fn job_fills_disk_from_bucket() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let all = in_bucket(&bucket, &origin, 3);
    let asked = origin.total();
    let gateway = with(&bucket, &origin).start();
    let one = copy(&gateway, "disk", &[&all[0].0]);
    assert_eq!(counts(&one), [1, 1, 0, 0, SIZE].map(Some), "{one}");
    assert_eq!(
        (&one["kind"], &one["to"]),
        (&json!("migrate"), &json!("disk"))
    );
    let rest = copy(&gateway, "disk", &[]);
    assert_eq!(rest["state"], "succeeded", "{rest}");
    let changed = counts(&rest);
    assert_eq!(
        [changed[0], changed[3], changed[4]],
        [256, 0, 2 * SIZE].map(Some)
    );
    let again = copy(&gateway, "disk", &[]);
    assert_eq!(counts(&again), [256, 256, 256, 0, 0].map(Some), "{again}");
    bucket.go_down();
    for (url, body) in &all {
        gateway.assert_serves(url, body).assert_cache(&["hit"]);
    }
    assert_eq!(origin.total(), asked, "no origin is asked");
}

#[test]
fn job_fills_bucket_from_disk() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin).start();
    let all = uploaded(&gateway, &origin, 3);
    // Two objects vanish from the bucket, which the gateway does not know.
    for (_, body) in &all[..2] {
        bucket.remove(&object_key(body));
    }
    let job = copy(&gateway, "bucket", &[]);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(counts(&job)[4], Some(2 * SIZE), "{job}");
    for (_, body) in &all {
        assert_eq!(bucket.read(&object_key(body)).as_deref(), Some(&body[..]));
    }
    let again = copy(
        &gateway,
        "bucket",
        &all.iter().map(|(url, _)| url).collect::<Vec<_>>(),
    );
    assert_eq!(counts(&again), [3, 3, 3, 0, 0].map(Some), "{again}");
    // A corrupt object does not reach the bucket.
    bucket.remove(&object_key(&all[2].1));
    rot(&gateway, &all[2].1);
    let job = copy(&gateway, "bucket", &[&all[2].0]);
    assert_eq!(counts(&job), [1, 1, 0, 1, 0].map(Some), "{job}");
    let failure = &job["failures"][0]["error"];
    assert_eq!(failure, "1 damaged records or objects were not copied");
    assert_eq!(bucket.read(&object_key(&all[2].1)), None);
}

#[test]
fn full_disk_evicts_nothing_for_job() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let all = in_bucket(&bucket, &origin, 12);
    let gateway = with(&bucket, &origin)
        .text("cache.max_size", "150KiB")
        .start();
    let job = copy(
        &gateway,
        "disk",
        &all.iter().map(|(url, _)| url).collect::<Vec<_>>(),
    );
    assert_eq!(job["state"], "failed", "{job}");
    let error = job["failures"][0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("the disk would evict others"), "{error}");
    let copied = counts(&job)[4].unwrap_or_default() / SIZE;
    assert!((1..8).contains(&copied), "{job}");
    assert_eq!(gateway.objects().len() as u64, copied, "nothing is evicted");
}

#[test]
fn killed_gateway_goes_on_with_copies() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let all = in_bucket(&bucket, &origin, 3);
    let mut gateway = with(&bucket, &origin).start();
    let (gate, key) = (Gate::new(), object_key(&all[2].1));
    let is_held = move |seen: &Seen| seen.is("GET", &key);
    bucket.fault(is_held, Fault::Stall(gate.clone()));
    let targets: Vec<_> = all.iter().map(|(url, _)| url).collect();
    let order = json!({"kind": "migrate", "to": "disk", "targets": targets, "concurrency": 1});
    let job = start(&gateway, &order);
    gate.await_reached(1);
    assert_eq!(show(&gateway, &job)["done"], 2);
    gateway.kill9();
    bucket.heal();
    gate.open();
    gateway.restart();
    let ended = await_end(&gateway, &job);
    assert_eq!(counts(&ended), [3, 3, 0, 0, 3 * SIZE].map(Some), "{ended}");
    assert_eq!(
        (&ended["state"], &ended["to"]),
        (&json!("succeeded"), &json!("disk"))
    );
    assert_eq!(gateway.objects().len(), 3);
}

#[test]
fn cancelled_job_copies_nothing_more() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let all = in_bucket(&bucket, &origin, 3);
    let gateway = with(&bucket, &origin).start();
    let (gate, key) = (Gate::new(), object_key(&all[1].1));
    let is_held = move |seen: &Seen| seen.is("GET", &key);
    bucket.fault(is_held, Fault::Stall(gate.clone()));
    let targets: Vec<_> = all.iter().map(|(url, _)| url).collect();
    let order = json!({"kind": "migrate", "to": "disk", "targets": targets, "concurrency": 1});
    let job = start(&gateway, &order);
    gate.await_reached(1);
    let cancelled = gateway.operate("DELETE", &job).send().json();
    assert_eq!(
        (&cancelled["state"], &cancelled["done"]),
        (&json!("cancelled"), &json!(1))
    );
    gate.open();
    assert_eq!(gateway.objects(), [gateway.object_path(&all[0].1)]);
    eventually("the part of the body is removed", || {
        gateway.staged().is_empty().then_some(())
    });
}

#[test]
fn copies_need_bucket_and_destination() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let gateway = with(&bucket, &origin).start();
    let alone = Gateway::relaying(&origin);
    let refused = order(&alone, &json!({"kind": "migrate", "to": "disk"}));
    refused.assert_status(400);
    assert!(
        refused.text().contains("needs the bucket"),
        "{}",
        refused.text()
    );
    let url = origin.url("/never-1.0.tar.gz");
    for wrong in [
        json!({"kind": "migrate"}),
        json!({"kind": "migrate", "to": "origin"}),
        json!({"kind": "scrub", "to": "disk"}),
        json!({"kind": "fetch", "to": "bucket", "targets": [url]}),
    ] {
        order(&gateway, &wrong).assert_status(400);
    }
    let never = copy(&gateway, "bucket", &[&url]);
    assert_eq!(counts(&never), [1, 1, 0, 1, 0].map(Some), "{never}");
    let jobs = gateway.operate("GET", "/api/v1/jobs?kind=migrate").send();
    assert_eq!(jobs.json()["total"], 1);
}

#[test]
fn migrate_command_waits_for_its_end() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let all = in_bucket(&bucket, &origin, 2);
    let gateway = with(&bucket, &origin).start();
    let folder = tempfile::tempdir().expect("a folder can be created");
    let run = |words: &[&str]| {
        gateway.run_command(folder.path(), &[&["jobs", "migrate"], words].concat())
    };
    let copied = run(&["disk", &all[0].0, "--wait"]);
    copied.assert_success();
    assert!(
        copied.stdout.contains("migrate") && copied.stdout.contains("1/1"),
        "{copied:?}"
    );
    run(&["disk", "--wait"]).assert_success();
    assert_eq!(gateway.objects().len(), 2);
    let wrong = run(&["nowhere"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    // The object of this one is in neither tier.
    let evict = format!("/api/v1/objects?url={}", encoded(&all[1].0));
    gateway.operate("DELETE", &evict).send().assert_status(200);
    let failed = run(&["bucket", &all[1].0, "--wait"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(
        failed.stdout.contains("the target has no record"),
        "{failed:?}"
    );
}
