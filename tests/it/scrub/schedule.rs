//! Scheduled scrub of the running service.

use serde_json::Value;

use crate::harness::{Body, Gateway, Origin, Reply, archive, eventually, rot, verify};

const PATH: &str = "/pub/x-1.0.tar.gz";
const SIZE: usize = 150_000;

/// Returns a gateway that scrubs the cache at this interval and has stored one body.
fn with_one(origin: &Origin, body: &Body, interval: &str) -> Gateway {
    origin.serve(PATH, Reply::file(body));
    let gateway = Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.scrub_interval", interval)
        .start();
    gateway.assert_serves(&origin.url(PATH), body);
    gateway.await_stored(&origin.url(PATH));
    gateway
}

fn incident(gateway: &Gateway, state: &str) -> Value {
    eventually("the incident is listed", || {
        let page = gateway.operate("GET", "/api/v1/incidents").send().json();
        let incidents = page["incidents"]
            .as_array()
            .expect("`incidents` is an array")
            .clone();
        incidents
            .into_iter()
            .find(|incident| incident["cause"] == "corruption" && incident["state"] == state)
    })
}

#[test]
fn scheduled_scrub_repairs_and_reports_corrupt_object() {
    let (origin, body) = (Origin::start(), archive(1, SIZE));
    let gateway = with_one(&origin, &body, "1s");
    rot(&gateway, &body);
    let told = gateway
        .log()
        .wait_for("the finding", |event| event["defect"] == "Corrupt");
    assert_eq!(
        (&told["outcome"], &told["level"]),
        (&"Refetched".into(), &"WARN".into())
    );
    let incident = incident(&gateway, "recovered");
    assert_eq!(incident["targets"], serde_json::json!([origin.url(PATH)]));
    assert_eq!(incident["host"], Value::Null);
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn unrepaired_corruption_is_incident_until_stored_again() {
    let (origin, body) = (Origin::start(), archive(2, SIZE));
    let gateway = with_one(&origin, &body, "1s");
    origin.serve(PATH, Reply::status(503));
    rot(&gateway, &body);
    let told = gateway
        .log()
        .wait_for("the finding", |event| event["defect"] == "Corrupt");
    assert_eq!(
        (&told["outcome"], &told["level"]),
        (&"Unrecoverable".into(), &"ERROR".into())
    );
    incident(&gateway, "open");
    origin.serve(PATH, Reply::file(&body));
    eventually("the target is fetched again", || {
        (gateway.get(&origin.url(PATH)).send().status == 200).then_some(())
    });
    incident(&gateway, "recovered");
}

#[test]
fn zero_interval_disables_scheduled_scrub() {
    let (origin, body) = (Origin::start(), archive(3, SIZE));
    let gateway = with_one(&origin, &body, "0s");
    // A scheduled scrub creates this file when it begins.
    let state = gateway.cache().join("locks/scrub");
    let other = Gateway::builder()
        .origin(&origin)
        .text("cache.scrub_interval", "1s")
        .start();
    eventually("another gateway has started a scrub", || {
        other.cache().join("locks/scrub").exists().then_some(())
    });
    assert!(!state.exists());
    verify(&gateway, &[]).assert(0, &[]);
    assert!(state.exists());
}

#[test]
fn scrub_position_survives_restart() {
    let (origin, body) = (Origin::start(), archive(4, SIZE));
    let mut gateway = with_one(&origin, &body, "0s");
    verify(&gateway, &["--share", "0.5"]).assert(0, &[]);
    let state = gateway.cache().join("locks/scrub");
    let place = || {
        std::fs::read_to_string(&state)
            .expect("the file exists")
            .split(' ')
            .next()
            .map(str::to_owned)
    };
    assert_eq!(place().as_deref(), Some("8000000000000000"));
    gateway.kill9();
    verify(&gateway, &["--share", "0.25"]).assert(0, &[]);
    assert_eq!(place().as_deref(), Some("c000000000000000"));
}
