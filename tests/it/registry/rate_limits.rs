//! Registries that limit the requests of the gateway: not asked until the time that they state.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Reply, archive};
use crate::registry::stage::{NAME, RegistryStage, assert_refused, manifest, manifest_reply};

/// Has tags asked for each time.
const ALWAYS: &str = "tag_ttl = \"0s\"";

fn limits(stage: &RegistryStage) -> Value {
    let stats = stage.get("/api/v1/stats").json();
    stats["registries"].clone()
}

#[test]
fn limited_registry_is_not_asked_until_time() {
    let stage = RegistryStage::new(ALWAYS);
    let manifest = manifest("known");
    let (known, other) = (
        stage.serve_tag("known", &manifest),
        stage.serve_tag("other", &manifest),
    );
    let blob = stage.serve_blob(&archive(1, 2000));
    stage.get(&known).assert_status(200);
    stage.get(&other).assert_status(200);
    let limited = Reply::status(429)
        .header("Retry-After", "120")
        .header("RateLimit-Limit", "100;w=21600")
        .header("RateLimit-Remaining", "0;w=21600");
    stage.origin.serve(&known, limited);
    let answer = stage.get(&known);
    answer.assert_body(200, &manifest);
    answer.assert_cache(&["hit", "detail=stale"]);
    let total = stage.origin.total();
    // Nothing of the registry is asked for: stored content is served, and the rest is refused.
    for path in [&known, &other] {
        let answer = stage.get(path);
        answer.assert_body(200, &manifest);
        answer.assert_cache(&["hit", "detail=stale"]);
    }
    for path in [
        &blob,
        "/v2/mill/app/manifests/unknown",
        "/v2/mill/new/manifests/x",
    ] {
        let refused = stage.get(path);
        assert_refused(&refused, 429, "TOOMANYREQUESTS");
        let seconds: u64 = refused.wants("retry-after").parse().expect("a number");
        assert!((60..=120).contains(&seconds), "{seconds}");
    }
    assert_eq!(stage.origin.total(), total);
    let shown = limits(&stage);
    assert_eq!(shown[0]["registry"], NAME, "{shown}");
    assert_eq!(
        (&shown[0]["limit"], &shown[0]["remaining"]),
        (&100.into(), &0.into())
    );
    assert!(
        shown[0]["paused_seconds"]
            .as_u64()
            .is_some_and(|seconds| seconds > 60)
    );
    let metrics = stage.get("/metrics").text();
    let line = "millpond_open_circuits{of=\"registries\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn limit_ends_at_stated_time() {
    let stage = RegistryStage::new(ALWAYS);
    let manifest = manifest("short");
    let path = stage.serve_tag("latest", &manifest);
    let replies = vec![
        Reply::status(429).header("Retry-After", "1"),
        manifest_reply(&manifest),
    ];
    stage.origin.script(&path, replies);
    let began = Instant::now();
    assert_refused(&stage.get(&path), 429, "TOOMANYREQUESTS");
    // Another tag of the registry is asked for after the second.
    let other = stage.serve_tag("other", &manifest);
    let served = crate::harness::eventually("the limit ends", || {
        Some(stage.get(&other)).filter(|answer| answer.status == 200)
    });
    served.assert_body(200, &manifest);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(stage.origin.count(&other), 1);
}

#[test]
fn limit_of_blob_counts_for_registry() {
    let stage = RegistryStage::new("");
    let (first, second) = (archive(1, 2000), archive(2, 2000));
    let (limited, other) = (stage.serve_blob(&first), stage.serve_blob(&second));
    let reply = Reply::status(429).header("Retry-After", "100");
    stage.origin.serve(&limited, reply);
    assert_refused(&stage.get(&limited), 429, "TOOMANYREQUESTS");
    assert_refused(&stage.get(&other), 429, "TOOMANYREQUESTS");
    assert_eq!(stage.origin.count(&other), 0);
}

#[test]
fn used_up_window_counts_before_refusal() {
    let stage = RegistryStage::new(ALWAYS);
    let manifest = manifest("window");
    let path = stage.serve_tag("latest", &manifest);
    let last = manifest_reply(&manifest)
        .header("RateLimit-Limit", "10")
        .header("RateLimit-Remaining", "0")
        .header("RateLimit-Reset", "90");
    stage.origin.serve(&path, last);
    // The digest is known, and its manifest must wait.
    assert_refused(&stage.get(&path), 429, "TOOMANYREQUESTS");
    let shown = limits(&stage);
    assert_eq!(shown[0]["remaining"], 0, "{shown}");
    assert_eq!(stage.origin.count(&path), 1);
}
