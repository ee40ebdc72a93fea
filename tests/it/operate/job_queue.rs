//! Jobs beside each other: two run at a time, in the order of their creation, and all are bounded.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Gate, Gateway, Origin, Reply, archive, eventually};
use crate::operate::jobs::{JOBS, await_end, id_of, order, show, start};

/// Serves archives that are held at a gate, and returns their URLs.
fn held(origin: &Origin, gate: &Gate, count: u64) -> Vec<String> {
    let serve = |number: u64| {
        let path = format!("/held-{number}.0.tar.gz");
        let reply = Reply::file(&archive(number, 9000));
        origin.serve(&path, reply.gate_before_head(gate));
        origin.url(&path)
    };
    (0..count).map(serve).collect()
}

fn fetch_of(target: &str) -> Value {
    json!({"kind": "fetch", "targets": [target]})
}

/// Returns the identities of the jobs that the process has started, in order.
fn started(gateway: &Gateway) -> Vec<String> {
    let events = gateway.log().events().into_iter();
    let started = events.filter(|event| event["message"] == "job started");
    started.map(|event| id_of(&event).to_owned()).collect()
}

#[test]
fn jobs_run_in_order_of_creation() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let gate = Gate::new();
    let urls = held(&origin, &gate, 12);
    let jobs: Vec<_> = urls
        .iter()
        .map(|url| start(&gateway, &fetch_of(url)))
        .collect();
    gate.await_reached(2);
    let states = || jobs.iter().map(|job| show(&gateway, job)["state"].clone());
    let states: Vec<_> = states().collect();
    assert_eq!(states[..2], ["running", "running"]);
    assert!(
        states[2..].iter().all(|state| state == "pending"),
        "{states:?}"
    );
    assert_eq!(origin.total(), 2);
    // A job that waits is cancelled at once, and never starts.
    let cancelled = gateway.operate("DELETE", &jobs[4]).send().json();
    assert_eq!(
        (&cancelled["state"], &cancelled["done"]),
        (&json!("cancelled"), &json!(0))
    );
    gateway.kill9();
    gateway.restart();
    gate.open();
    let waiting = jobs.iter().enumerate().filter(|(at, _)| *at != 4);
    let waiting: Vec<_> = waiting.map(|(_, job)| job).collect();
    for job in &waiting {
        assert_eq!(await_end(&gateway, job)["state"], "succeeded");
    }
    let ids: Vec<_> = waiting
        .iter()
        .map(|job| job.rsplit('/').next().unwrap_or(""))
        .collect();
    // Two start at the same time, and their events may arrive in either order.
    let started = started(&gateway);
    assert_eq!(started.len(), ids.len());
    for (at, id) in ids.iter().enumerate() {
        let place = started.iter().position(|started| started == id);
        let place = place.expect("each job has started");
        assert!(place.abs_diff(at) <= 1, "{id}: {place} instead of {at}");
    }
    assert_eq!(origin.count("/held-4.0.tar.gz"), 0);
    assert_eq!(show(&gateway, &jobs[4]), cancelled);
}

#[test]
fn unfinished_jobs_are_bounded() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let gate = Gate::new();
    let url = &held(&origin, &gate, 1)[0];
    // Several operators order at the same time, until each is refused.
    let fill = || {
        let mut jobs = Vec::new();
        loop {
            let answer = order(&gateway, &fetch_of(url));
            if answer.status != 202 {
                answer.assert_problem(503);
                return jobs;
            }
            jobs.push(answer.wants("location").to_owned());
            assert!(jobs.len() <= 100, "jobs are bounded");
        }
    };
    let jobs: Vec<_> = thread::scope(|scope| {
        let fills: Vec<_> = (0..4).map(|_| scope.spawn(fill)).collect();
        let join = |fill: thread::ScopedJoinHandle<'_, Vec<String>>| fill.join().expect("no panic");
        fills.into_iter().flat_map(join).collect()
    });
    assert_eq!(jobs.len(), 100);
    // A cancelled job makes a place.
    gateway
        .operate("DELETE", &jobs[50])
        .send()
        .assert_status(200);
    start(&gateway, &fetch_of(url));
    order(&gateway, &fetch_of(url)).assert_problem(503);
    gate.open();
    for job in &jobs[51..] {
        assert_eq!(await_end(&gateway, job)["state"], "succeeded");
    }
    assert_eq!(origin.total(), 1, "the jobs share the fetch and its result");
}

#[test]
fn oldest_ended_jobs_are_removed() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let evict = json!({"kind": "evict", "targets": [origin.url("/x-1.0.tar.gz")]});
    let jobs: Vec<_> = (0..103)
        .map(|_| {
            let job = start(&gateway, &evict);
            await_end(&gateway, &job);
            job
        })
        .collect();
    let listed = |gateway: &Gateway| {
        let page = gateway.operate("GET", JOBS).send().json();
        let jobs = page["jobs"].as_array().expect("jobs are a list").clone();
        let location = |job: &Value| format!("{JOBS}/{}", id_of(job));
        jobs.iter().rev().map(location).collect::<Vec<_>>()
    };
    assert_eq!(listed(&gateway), jobs[3..]);
    let folders = fs::read_dir(gateway.state().join("jobs")).expect("jobs are on disk");
    assert_eq!(folders.count(), 100);
    gateway.operate("GET", &jobs[2]).send().assert_problem(404);
    gateway.restart();
    assert_eq!(listed(&gateway), jobs[3..]);
}

#[test]
fn targets_at_a_time_are_bounded() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let gate = Gate::new();
    let urls = held(&origin, &gate, 9);
    let body = json!({"kind": "fetch", "targets": urls, "concurrency": 3});
    let job = start(&gateway, &body);
    gate.await_reached(3);
    // A client gets what it asks for, beside the job.
    origin.serve("/x-1.0.tar.gz", Reply::file(&archive(99, 3000)));
    gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &archive(99, 3000));
    assert_eq!(origin.total(), 4);
    gate.open();
    let ended = await_end(&gateway, &job);
    assert_eq!(
        (&ended["done"], &ended["bytes"]),
        (&json!(9), &json!(81_000))
    );
    assert!(origin.most_at_once() <= 4, "{}", origin.most_at_once());
}

#[test]
fn stopped_gateway_goes_on_with_job() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let mut gateway = builder.text("gateway.shutdown_grace", "200ms").start();
    let gate = Gate::new();
    let urls = held(&origin, &gate, 2);
    origin.serve("/x-1.0.tar.gz", Reply::file(&archive(99, 3000)));
    let targets = [&origin.url("/x-1.0.tar.gz"), &urls[0], &urls[1]];
    let body = json!({"kind": "fetch", "targets": targets, "concurrency": 1});
    let job = start(&gateway, &body);
    gate.await_reached(1);
    eventually("the first target is done", || {
        (show(&gateway, &job)["done"] == 1).then_some(())
    });
    // The stop does not wait for the job.
    gateway.stop();
    gate.open();
    gateway.restart();
    let ended = await_end(&gateway, &job);
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("succeeded"), &json!(3))
    );
    assert_eq!(
        origin.count("/x-1.0.tar.gz"),
        1,
        "a target that is done is not asked for again"
    );
}

#[test]
fn busy_targets_are_tried_again() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let gate = Gate::new();
    let urls = held(&origin, &gate, 20);
    let body = json!({"kind": "refresh", "targets": urls, "concurrency": 20});
    let job = start(&gateway, &body);
    // At most 16 refreshes run at a time. The others were refused when these began.
    gate.await_reached(1);
    gate.open();
    let ended = await_end(&gateway, &job);
    assert_eq!(
        (&ended["state"], &ended["bytes"]),
        (&json!("succeeded"), &json!(180_000))
    );
    assert_eq!(origin.total(), 20);
}
