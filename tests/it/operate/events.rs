//! Events that operators follow: the recent ones, and the next ones as they happen.

use serde_json::{Value, json};

use crate::harness::{Answer, Gateway, Nginx, Origin, Reply, archive, encoded, eventually, sha256};
use crate::nginx::requests::behind_nginx;
use crate::operate::jobs;
use crate::operate::metrics::Samples;

const EVENTS: &str = "/api/v1/events";
const LINES: &str = "application/x-ndjson";

/// Returns the events that have happened.
fn recent(gateway: &Gateway) -> Vec<Value> {
    let request = gateway.operate("GET", &format!("{EVENTS}?follow=false"));
    lines_of(&request.header("Accept", LINES).send())
}

fn lines_of(answer: &Answer) -> Vec<Value> {
    answer.assert_status(200);
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

/// Waits for an event by its position.
fn await_event(gateway: &Gateway, at: usize) -> Value {
    eventually("the event is recorded", || recent(gateway).get(at).cloned())
}

/// Returns an event as a follower gets it.
fn sent(event: &Value) -> String {
    let id = event["id"].as_str().expect("an event has an identity");
    format!("id: {id}\ndata: {event}\n\n")
}

/// Stores archives, so that there are events.
fn store(gateway: &Gateway, origin: &Origin, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let (path, body) = (format!("/x-{number}.0.tar.gz"), archive(number, 3000));
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
}

#[test]
fn recent_events_are_listed_in_order() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    store(&gateway, &origin, 0..2);
    let secret = format!("{}?X-Amz-Signature=hush", origin.url("/gone-1.0.tar.gz"));
    gateway.get(&origin.url("/gone-1.0.tar.gz")).send();
    gateway.get(&secret).send();
    let events = eventually("the failure is among the events", || {
        let events = recent(&gateway);
        let is_there = events.iter().any(|event| event["type"] == "fetch_failed");
        is_there.then_some(events)
    });
    assert_eq!(events[0]["type"], "stored");
    assert_eq!(events[0]["url"], origin.url("/x-0.0.tar.gz"));
    assert_eq!(events[0]["sha256"], sha256(&archive(0, 3000)));
    assert_eq!(events[0]["size_bytes"], 3000);
    assert_eq!(events[1]["url"], origin.url("/x-1.0.tar.gz"));
    assert_eq!(events[2]["cause"], "not_found");
    assert!(!format!("{events:?}").contains("hush"));
    // A client that knows the first one gets the rest.
    let request = gateway.operate("GET", &format!("{EVENTS}?follow=false"));
    let request = request.header("Accept", LINES);
    let first = events[0]["id"].as_str().expect("an event has an identity");
    let rest = request.header("Last-Event-ID", first).send();
    assert_eq!(lines_of(&rest), events[1..]);
    // An identity of another process means all of them.
    let request = gateway.operate("GET", &format!("{EVENTS}?follow=false"));
    let request = request.header("Accept", LINES);
    let all = request.header("Last-Event-ID", "00000000-1").send();
    assert_eq!(lines_of(&all), events);
}

#[test]
fn followers_get_events_as_they_happen() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, 0..1);
    let mut follower = gateway.operate("GET", EVENTS).open();
    let greeting = follower.read(b"retry: 3000\n\n".len());
    assert_eq!(greeting, b"retry: 3000\n\n");
    let known = await_event(&gateway, 0);
    let first = sent(&known);
    assert_eq!(follower.read(first.len()), first.as_bytes());
    store(&gateway, &origin, 1..2);
    let next = sent(&await_event(&gateway, 1));
    assert_eq!(follower.read(next.len()), next.as_bytes());
    // A stop of the gateway does not wait for those who follow.
    gateway.signal("TERM");
    follower.finish().assert_body(200, b"");
    gateway.assert_clean_exit();
}

#[test]
fn nginx_passes_events_on_at_once() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let bearer = format!("Bearer {}", gateway.token());
    let follow = |accept: &str| {
        let request = nginx.request("GET", EVENTS).header("Accept", accept);
        request.header("Authorization", &bearer).open()
    };
    let (mut events, mut lines) = (follow("text/event-stream"), follow(LINES));
    assert_eq!(events.head.status, 200);
    assert_eq!(events.read(13), b"retry: 3000\n\n");
    // Neither response has ended, and each event arrives before the next one happens.
    for (number, seed) in (0..3).enumerate() {
        store(&gateway, &origin, seed..seed + 1);
        let event = await_event(&gateway, number);
        let next = sent(&event);
        assert_eq!(events.read(next.len()), next.as_bytes());
        let next = format!("{event}\n");
        assert_eq!(lines.read(next.len()), next.as_bytes());
    }
}

#[test]
fn places_of_followers_are_bounded() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let mut followers = Vec::new();
    let refused = loop {
        let request = gateway.operate("GET", EVENTS).start();
        let answer = request.head();
        if answer.head.status != 200 {
            break answer.finish();
        }
        followers.push(answer);
        assert!(followers.len() <= 64, "the places are bounded");
    };
    refused.assert_problem(503);
    assert_eq!(followers.len(), 64);
    drop(followers.pop());
    // The first event makes the closed connection fail, and the second one finds it failed.
    store(&gateway, &origin, 0..2);
    eventually("the place is free again", || {
        let request = gateway.operate("GET", &format!("{EVENTS}?follow=false"));
        (request.send().status == 200).then_some(())
    });
}

/// Returns the evictions among the events, as digest and reason.
fn evictions(gateway: &Gateway) -> Vec<(String, String)> {
    let events = recent(gateway).into_iter();
    let evicted = events.filter(|event| event["type"] == "evicted");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    evicted
        .map(|event| (text(&event["sha256"]), text(&event["reason"])))
        .collect()
}

#[test]
fn evictions_state_their_reason() {
    let origin = Origin::start();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("cache.max_size", "1MiB");
    let gateway = builder.text("cache.maintenance_interval", "1h").start();
    let bodies: Vec<_> = (0..6).map(|seed| archive(30 + seed, 250_000)).collect();
    let url = |number: usize| origin.url(&format!("/x-{number}.0.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.0.tar.gz"), Reply::file(body));
        gateway.assert_serves(&url(number), body);
        gateway.await_stored(&url(number));
    }
    let for_space = eventually("objects were evicted for space", || {
        let evicted = evictions(&gateway);
        (evicted.len() >= 2).then_some(evicted)
    });
    assert_eq!(for_space[0], (sha256(&bodies[0]), "space".to_owned()));
    assert!(for_space.iter().all(|(_, reason)| reason == "space"));
    // By an operator with its object, by a job, and with its target.
    let object = format!("/api/v1/objects/sha256/{}", sha256(&bodies[5]));
    gateway.operate("DELETE", &object).send().assert_status(200);
    let evict = json!({"kind": "evict", "targets": [url(4)]});
    jobs::await_end(&gateway, &jobs::start(&gateway, &evict));
    let target = format!("/api/v1/objects?url={}", encoded(&url(3)));
    gateway.operate("DELETE", &target).send().assert_status(200);
    let wanted: Vec<_> = [5, 4, 3]
        .map(|at: usize| (sha256(&bodies[at]), "operator".to_owned()))
        .into();
    let (by_operators, for_space) = eventually("the operator's evictions are recorded", || {
        let all = evictions(&gateway).into_iter();
        let parts: (Vec<_>, Vec<_>) = all.partition(|(_, reason)| reason == "operator");
        (parts.0.len() == 3).then_some(parts)
    });
    assert_eq!(by_operators, wanted);
    let samples = Samples::of(&gateway);
    let reason = [r#"reason="operator""#];
    let count = samples.sum("millpond_evicted_objects_total", &reason);
    let bytes = samples.sum("millpond_evicted_bytes_total", &reason);
    assert_eq!((count, bytes), (3, 750_000));
    let space = [r#"reason="space""#];
    let count = samples.sum("millpond_evicted_objects_total", &space);
    assert_eq!(count, for_space.len() as u64);
}

#[test]
fn events_need_token_and_valid_parameters() {
    let gateway = Gateway::builder().start();
    gateway.request("GET", EVENTS).send().assert_problem(401);
    for (path, status) in [
        (format!("{EVENTS}?follow=perhaps"), 400),
        (format!("{EVENTS}?since=1"), 400),
    ] {
        gateway.operate("GET", &path).send().assert_problem(status);
    }
    let request = gateway.operate("GET", EVENTS);
    let wrong = request.header("Last-Event-ID", "last").send();
    wrong.assert_problem(400);
    gateway.operate("POST", EVENTS).send().assert_problem(405);
}

#[test]
fn events_command_prints_lines_and_json() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, 0..2);
    let folder = tempfile::tempdir().expect("a folder can be created");
    let run = |more: &[&str]| gateway.run_command(folder.path(), &[&["events"], more].concat());
    await_event(&gateway, 1);
    let text = run(&[]);
    text.assert_success();
    let lines: Vec<_> = text.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{text:?}");
    assert!(lines[1].contains("stored") && lines[1].contains("/x-1.0.tar.gz"));
    let json = run(&["--json"]);
    json.assert_success();
    assert_eq!(json.documents(), recent(&gateway));
}
