//! Jobs of operators: lists of targets that the gateway fetches, refreshes or evicts by itself.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Answer, Body, Gate, Gateway, Origin, Reply, archive, eventually, sha256};

pub const JOBS: &str = "/api/v1/jobs";

/// Orders a job.
pub fn order(gateway: &Gateway, body: &Value) -> Answer {
    let request = gateway.operate("POST", JOBS);
    request.body(body.to_string().as_bytes()).send()
}

/// Orders a job, and returns its path.
#[track_caller]
pub fn start(gateway: &Gateway, body: &Value) -> String {
    let answer = order(gateway, body);
    answer.assert_status(202);
    let location = answer.wants("location").to_owned();
    assert_eq!(location, format!("{JOBS}/{}", id_of(&answer.json())));
    location
}

/// Returns the identity of a job.
pub fn id_of(job: &Value) -> &str {
    job["id"].as_str().expect("a job has an identity")
}

/// Returns a job as it is now.
pub fn show(gateway: &Gateway, job: &str) -> Value {
    gateway.operate("GET", job).send().json()
}

/// Waits for the end of a job.
#[track_caller]
pub fn await_end(gateway: &Gateway, job: &str) -> Value {
    eventually("the job has ended", || {
        let shown = show(gateway, job);
        shown["ended"].is_string().then_some(shown)
    })
}

/// Serves this number of archives, and returns their URLs and bodies.
pub fn archives(origin: &Origin, count: u64) -> Vec<(String, Body)> {
    let mut all = Vec::new();
    for number in 0..count {
        let (path, body) = (format!("/x-{number}.0.tar.gz"), archive(number, 20_000));
        origin.serve(&path, Reply::file(&body));
        all.push((origin.url(&path), body));
    }
    all
}

#[test]
fn fetch_job_stores_all_targets() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    let all = archives(&origin, 6);
    let index = origin.url("/index.html");
    let page = Reply::ok(&Body::from(&b"<html>hello</html>"[..])).header("ETag", "\"1\"");
    origin.serve("/index.html", page);
    let missing = origin.url("/missing-1.0.tar.gz");
    gateway.assert_serves(&all[0].0, &all[0].1);
    gateway.await_stored(&all[0].0);
    // One target states its digest, another one a wrong digest.
    let targets = vec![
        all[0].0.clone(),
        all[1].0.clone(),
        format!("{}  {}", sha256(&all[2].1), all[2].0),
        format!("sha256:{} {}", "0".repeat(64), all[3].0),
        missing.clone(),
        index.clone(),
    ];
    let list = format!("# the rest\n\n{}\n{}\n{}\n", all[4].0, all[5].0, all[5].0);
    let body = json!({"kind": "fetch", "targets": targets, "list": list, "concurrency": 3});
    let job = await_end(&gateway, &start(&gateway, &body));
    assert_eq!(job["state"], "failed", "{job}");
    let counts = ["targets", "done", "unchanged", "failed"].map(|name| job[name].as_u64());
    assert_eq!(counts, [Some(8), Some(8), Some(1), Some(2)], "{job}");
    let failures = job["failures"].as_array().expect("failures are a list");
    let failed = |url: &str| failures.iter().any(|failure| failure["url"] == *url);
    assert!(failed(&all[3].0) && failed(&missing), "{job}");
    let asked = origin.total();
    for (url, body) in [&all[..3], &all[4..]].concat() {
        gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    }
    assert_eq!(origin.total(), asked, "all of them are stored");
    // The same job finds all stored, apart from what failed and what must be validated.
    let again =
        json!({"kind": "fetch", "targets": all.iter().map(|(url, _)| url).collect::<Vec<_>>()});
    let job = await_end(&gateway, &start(&gateway, &again));
    assert_eq!(
        (&job["state"], &job["unchanged"]),
        (&json!("succeeded"), &json!(6))
    );
    assert_eq!(origin.total(), asked);
    let listed = gateway.operate("GET", JOBS).send().json();
    let listed = listed["jobs"].as_array().expect("jobs are a list");
    assert_eq!((listed.len(), &listed[0]["id"]), (2, &job["id"]));
}

#[test]
fn killed_gateway_goes_on_with_job() {
    let origin = Origin::start();
    let mut gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    let all = archives(&origin, 5);
    let gate = Gate::new();
    let held = Reply::file(&all[3].1);
    origin.script(
        "/x-3.0.tar.gz",
        vec![held.clone().gate_at(5000, &gate), held],
    );
    let targets: Vec<_> = all.iter().map(|(url, _)| url).collect();
    let body = json!({"kind": "fetch", "targets": targets, "concurrency": 1});
    let job = start(&gateway, &body);
    gate.await_reached(1);
    assert_eq!(show(&gateway, &job)["done"], 3);
    gateway.kill9();
    // The kill may have cut off a line, and a job may have been written in part.
    let folder = gateway.state().join("jobs");
    let results = folder
        .join(id_of(&json!({"id": job.rsplit('/').next()})))
        .join("results");
    let mut text = fs::read(&results).expect("results are recorded");
    text.extend(b"{\"at\":3,\"url\":\"ht");
    fs::write(&results, text).expect("the file is writable");
    fs::create_dir(folder.join(".draft-0000000000000000")).expect("the folder is writable");
    gateway.restart();
    let ended = await_end(&gateway, &job);
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("succeeded"), &json!(5))
    );
    for (number, (url, body)) in all.iter().enumerate() {
        gateway.assert_serves(url, body).assert_cache(&["hit"]);
        let asked = origin.count(&format!("/x-{number}.0.tar.gz"));
        assert_eq!(asked, if number == 3 { 2 } else { 1 }, "{url}");
    }
    assert!(!folder.join(".draft-0000000000000000").exists());
    // An ended job stays as it is.
    gateway.restart();
    assert_eq!(show(&gateway, &job), ended);
}

#[test]
fn cancelled_job_asks_for_nothing_more() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let all = archives(&origin, 4);
    let gate = Gate::new();
    origin.serve("/x-1.0.tar.gz", Reply::file(&all[1].1).gate_at(5000, &gate));
    let targets: Vec<_> = all.iter().map(|(url, _)| url).collect();
    let body = json!({"kind": "fetch", "targets": targets, "concurrency": 1});
    let job = start(&gateway, &body);
    gate.await_reached(1);
    let cancelled = gateway.operate("DELETE", &job).send();
    cancelled.assert_status(200);
    let cancelled = cancelled.json();
    assert_eq!(
        (&cancelled["state"], &cancelled["done"]),
        (&json!("cancelled"), &json!(1))
    );
    gate.open();
    // The fetch in progress loses nothing, and no other one begins.
    gateway.await_stored(&all[1].0);
    assert_eq!(
        origin.count("/x-2.0.tar.gz") + origin.count("/x-3.0.tar.gz"),
        0
    );
    let again = gateway.operate("DELETE", &job).send();
    assert_eq!(again.json(), cancelled);
}

#[test]
fn refresh_and_evict_jobs_change_objects() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let all = archives(&origin, 3);
    for (url, body) in &all {
        gateway.assert_serves(url, body);
        gateway.await_stored(url);
    }
    let changed = archive(99, 20_000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&changed));
    let targets: Vec<_> = all.iter().map(|(url, _)| url).collect();
    let refresh = json!({"kind": "refresh", "targets": targets});
    let job = await_end(&gateway, &start(&gateway, &refresh));
    assert_eq!(
        (&job["state"], &job["unchanged"]),
        (&json!("succeeded"), &json!(2)),
        "{job}"
    );
    assert!(
        gateway.object_path(&changed).exists(),
        "changed bytes are kept"
    );
    gateway.assert_serves(&all[1].0, &all[1].1);
    let pin = format!("/api/v1/pins?url={}", crate::harness::encoded(&all[2].0));
    gateway.operate("PUT", &pin).send().assert_status(200);
    let evict = json!({"kind": "evict", "targets": targets});
    let job = await_end(&gateway, &start(&gateway, &evict));
    assert_eq!(
        (&job["state"], &job["failed"]),
        (&json!("failed"), &json!(1)),
        "{job}"
    );
    assert_eq!(job["bytes"], 60_000);
    assert_eq!(job["failures"][0]["url"], all[2].0);
    let left = gateway.objects();
    assert_eq!(left, [gateway.object_path(&all[2].1)]);
}

#[test]
fn invalid_orders_create_no_job() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/x-1.0.tar.gz");
    let huge = "x".repeat(17 << 20);
    let many: Vec<_> = (0..=100_000).map(|at| format!("http://h/{at}")).collect();
    for (body, word) in [
        (json!({"kind": "fetch"}), "no target"),
        (json!({"kind": "fetch", "targets": []}), "no target"),
        (
            json!({"kind": "erase", "targets": [url]}),
            "unknown variant",
        ),
        (json!({"targets": [url]}), "missing field"),
        (
            json!({"kind": "fetch", "targets": [url], "path": "/etc"}),
            "unknown field",
        ),
        (
            json!({"kind": "fetch", "targets": ["gopher://x/y"]}),
            "invalid",
        ),
        (json!({"kind": "fetch", "targets": ["a b c"]}), "a URL"),
        (
            json!({"kind": "fetch", "list": "\n\nabc example.org/x"}),
            "line 3",
        ),
        (
            json!({"kind": "fetch", "targets": [url], "concurrency": 0}),
            "from 1 to 64",
        ),
        (
            json!({"kind": "fetch", "targets": [url], "concurrency": 65}),
            "from 1 to 64",
        ),
        (
            json!({"kind": "fetch", "targets": [url], "concurrency": -1}),
            "invalid",
        ),
        (json!({"kind": "fetch", "list": huge}), "at most"),
        (json!({"kind": "fetch", "targets": many}), "at most 100000"),
        (
            json!({"kind": "fetch", "list": many.join("\n")}),
            "at most 100000",
        ),
        (json!([1]), "invalid"),
        (Value::Null, "invalid"),
    ] {
        let answer = order(&gateway, &body);
        answer.assert_problem(400);
        let text = answer.text();
        assert!(text.contains(word), "{word}: {text}");
    }
    let valid = json!({"kind": "fetch", "targets": [url]}).to_string();
    let open = gateway.request("POST", JOBS).body(valid.as_bytes());
    open.send().assert_problem(401);
    gateway.request("GET", JOBS).send().assert_problem(401);
    for (method, path, status) in [
        ("GET", "/api/v1/jobs/0000000000000000", 404),
        ("DELETE", "/api/v1/jobs/0000000000000000", 404),
        ("GET", "/api/v1/jobs/..%2F..%2Fadmin_token", 404),
        ("GET", "/api/v1/jobs/x", 404),
        ("GET", "/api/v1/jobs?all=true", 400),
        ("PUT", JOBS, 405),
        ("POST", "/api/v1/jobs/0000000000000000", 405),
    ] {
        gateway.operate(method, path).send().assert_problem(status);
    }
    let listed = gateway.operate("GET", JOBS).send().json();
    assert_eq!(listed, json!({"jobs": [], "total": 0, "next": null}));
    assert_eq!(origin.total(), 0);
    assert!(!gateway.state().join("jobs").exists());
}

#[test]
fn jobs_command_starts_shows_cancels() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    let all = archives(&origin, 3);
    let folder = tempfile::tempdir().expect("a folder can be created");
    let missing = origin.url("/missing-1.0.tar.gz");
    let lines = [&all[0].0, &all[1].0, &all[2].0, &missing].map(|url| format!("{url}\n"));
    fs::write(folder.path().join("list"), lines.concat()).expect("the folder is writable");
    let run =
        |arguments: &[&str]| gateway.run_command(folder.path(), &[&["jobs"], arguments].concat());
    run(&["start", "fetch", &all[0].0, "--wait"]).assert_success();
    let failed = run(&["start", "fetch", "-i", "list", "--wait"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(
        failed.stdout.contains("failed") && failed.stdout.contains(&missing),
        "{failed:?}"
    );
    let listed = run(&["--json"]);
    listed.assert_success();
    let listed = listed.documents();
    let states: Vec<_> = listed.iter().map(|job| job["state"].clone()).collect();
    assert_eq!(states, ["failed", "succeeded"]);
    assert_eq!(run(&["list", "--json"]).documents(), listed);
    let id = id_of(&listed[0]).to_owned();
    let shown = run(&["show", &id, "--json"]);
    shown.assert_success();
    assert_eq!(shown.documents()[0]["failures"][0]["url"], missing);
    run(&["cancel", &id]).assert_success();
    let unknown = run(&["show", "0000000000000000"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    for wrong in [
        &["start", "fetch"][..],
        &["show", "../pins"],
        &["cancel", "0"],
    ] {
        let run = run(wrong);
        assert_eq!(run.code, Some(2), "{wrong:?}: {run:?}");
    }
}
