//! Files of jobs that are damaged: nothing else stops, and the log names each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Gate, Gateway, Origin, Reply, archive};
use crate::operate::jobs::{JOBS, archives, await_end, id_of, show, start};

/// Copies the files of a job to another identity.
fn copy(folder: &Path, from: &str, to: &str) {
    fs::create_dir(folder.join(to)).expect("the folder is writable");
    for name in ["order.json", "targets", "end.json"] {
        let file = folder.join(from).join(name);
        fs::copy(file, folder.join(to).join(name)).expect("an ended job has this file");
    }
}

#[test]
fn damaged_jobs_stop_nothing_else() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let all = archives(&origin, 3);
    let ended = start(
        &gateway,
        &json!({"kind": "fetch", "targets": [all[0].0, all[1].0]}),
    );
    let ended_view = await_end(&gateway, &ended);
    let gate = Gate::new();
    let held = Reply::file(&all[2].1);
    origin.script(
        "/x-2.0.tar.gz",
        vec![held.clone().gate_at(5000, &gate), held],
    );
    let unfinished = start(&gateway, &json!({"kind": "fetch", "targets": [all[2].0]}));
    gate.await_reached(1);
    gateway.kill9();

    let folder = gateway.state().join("jobs");
    let id = |number: u32| format!("{number:016}");
    let good = id_of(&ended_view);
    let write = |number: u32, name: &str, bytes: &str| {
        fs::write(folder.join(id(number)).join(name), bytes).expect("the folder is writable");
    };
    let remove = |number: u32, name: &str| {
        fs::remove_file(folder.join(id(number)).join(name)).expect("the folder is writable");
    };
    fs::create_dir(folder.join(id(1))).expect("the folder is writable");
    fs::write(folder.join(id(2)), "a file").expect("the folder is writable");
    for number in 3..=9 {
        copy(&folder, good, &id(number));
    }
    write(3, "order.json", "{\"version\": 1, \"kind\": \"fe");
    let end = fs::read_to_string(folder.join(id(4)).join("end.json"));
    let end = end.expect("an ended job has an end");
    write(4, "end.json", &end.replace("succeeded", "running"));
    write(5, "end.json", "");
    // These cannot be seen before the work begins.
    remove(6, "end.json");
    remove(6, "targets");
    remove(7, "end.json");
    write(7, "targets", &format!("{}\n", all[0].0));
    remove(8, "end.json");
    write(8, "targets", "not a URL at all\n");
    let order = fs::read_to_string(folder.join(id(9)).join("order.json"));
    let order = order.expect("a job has an order");
    write(
        9,
        "order.json",
        &order.replace("\"version\":1", "\"version\":2"),
    );
    fs::write(folder.join(".draft-0000000000000001"), "a file").expect("the folder is writable");
    fs::write(folder.join("notes"), "of an operator").expect("the folder is writable");

    gateway.restart();
    assert_eq!(show(&gateway, &ended), ended_view);
    assert_eq!(await_end(&gateway, &unfinished)["state"], "succeeded");
    for number in 6..=8 {
        let job = await_end(&gateway, &format!("{JOBS}/{}", id(number)));
        assert_eq!(
            (&job["state"], &job["done"]),
            (&json!("failed"), &json!(0)),
            "{job}"
        );
        let failure = &job["failures"][0];
        assert_eq!(failure["url"], "", "{job}");
        let text = failure["error"].as_str().expect("a failure has a text");
        assert!(
            text.starts_with("the files of the job cannot be used"),
            "{text}"
        );
    }
    for number in (1..=5).chain([9]) {
        let path = format!("{JOBS}/{}", id(number));
        gateway.operate("GET", &path).send().assert_problem(404);
        assert!(
            folder.join(id(number)).exists(),
            "job {number} stays on disk"
        );
    }
    let events = gateway.log().events();
    for number in 1..=9 {
        let is_named = |event: &&Value| event["level"] == "WARN" && event["id"] == id(number);
        assert_eq!(
            events.iter().filter(is_named).count(),
            1,
            "the log names job {number}"
        );
    }
    let is_draft = |event: &Value| event["name"] == ".draft-0000000000000001";
    assert!(events.iter().any(is_draft), "the log names the draft");
    // New jobs work as before.
    origin.serve("/y-1.0.tar.gz", Reply::file(&archive(9, 4000)));
    let new = json!({"kind": "fetch", "targets": [origin.url("/y-1.0.tar.gz")]});
    assert_eq!(
        await_end(&gateway, &start(&gateway, &new))["state"],
        "succeeded"
    );
}

#[test]
fn repeated_results_count_once() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let all = archives(&origin, 3);
    let gate = Gate::new();
    let held = Reply::file(&all[2].1);
    origin.script(
        "/x-2.0.tar.gz",
        vec![held.clone().gate_at(5000, &gate), held],
    );
    let targets: Vec<_> = all.iter().map(|(url, _)| url).collect();
    let body = json!({"kind": "fetch", "targets": targets, "concurrency": 1});
    let job = start(&gateway, &body);
    gate.await_reached(1);
    gateway.kill9();
    let name = job.rsplit('/').next().expect("a path has a last segment");
    let results = gateway.state().join("jobs").join(name).join("results");
    let text = fs::read_to_string(&results).expect("results are recorded");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let line =
        |at: u64, url: &str| json!({"at": at, "url": url, "bytes": 20_000, "outcome": "changed"});
    for (file, mode) in [
        (&*results, 0o600),
        (&*results.with_file_name("targets"), 0o600),
    ] {
        assert_eq!(mode_of(file), mode, "{}", file.display());
    }
    assert_eq!(
        mode_of(results.parent().expect("a file is in a folder")),
        0o700
    );
    assert_eq!(lines, [line(0, &all[0].0), line(1, &all[1].0)]);
    fs::write(&results, text.repeat(3)).expect("the file is writable");
    gateway.restart();
    let ended = await_end(&gateway, &job);
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("succeeded"), &json!(3))
    );
    assert_eq!(ended["bytes"], 60_000);
}

/// Returns the permissions of a file.
fn mode_of(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("the file exists");
    metadata.permissions().mode() & 0o777
}

#[test]
fn line_behind_cut_one_is_read() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let all = archives(&origin, 3);
    let gates = [Gate::new(), Gate::new()];
    for (at, gate) in gates.iter().enumerate() {
        let held = Reply::file(&all[at + 1].1);
        let replies = vec![held.clone().gate_at(5000, gate), held];
        origin.script(&format!("/x-{}.0.tar.gz", at + 1), replies);
    }
    let targets: Vec<_> = all.iter().map(|(url, _)| url).collect();
    let body = json!({"kind": "fetch", "targets": targets, "concurrency": 1});
    let job = start(&gateway, &body);
    for (at, gate) in gates.iter().enumerate() {
        gate.await_reached(1);
        assert_eq!(show(&gateway, &job)["done"], at + 1);
        gateway.kill9();
        let name = job.rsplit('/').next().expect("a path has a last segment");
        let results = gateway.state().join("jobs").join(name).join("results");
        let mut text = fs::read(&results).expect("results are recorded");
        text.extend(b"{\"at\":2,\"url\":\"ht");
        fs::write(&results, text).expect("the file is writable");
        gateway.restart();
    }
    let ended = await_end(&gateway, &job);
    assert_eq!(
        (&ended["done"], &ended["bytes"]),
        (&json!(3), &json!(60_000))
    );
    // A target that is recorded is not looked at again, and would be unchanged.
    assert_eq!(ended["unchanged"], 0);
}
