//! Tags: asked for once within `tag_ttl`, followed when they change, and known while the registry
//! is away.

use std::time::{Duration, Instant};

use crate::harness::{Gate, Reply, all_at_once, sha256};
use crate::registry::stage::{
    MANIFEST, NAME, RegistryStage, assert_refused, manifest, manifest_reply,
};

/// Has tags asked for each time.
const ALWAYS: &str = "tag_ttl = \"0s\"";

/// Wait for a silent registry and an unknown tag, and time for the response.
const UNKNOWN_WAIT: Duration = Duration::from_secs(15);

/// Wait for a dead registry, and time for the response.
const STALE_WAIT: Duration = Duration::from_secs(5);

#[test]
fn tag_is_asked_once_within_ttl() {
    let stage = RegistryStage::new("");
    let manifest = manifest("one");
    let path = stage.serve_tag("v1", &manifest);
    let by_digest = format!("/v2/mill/app/manifests/sha256:{}", sha256(&manifest));
    for path in [
        path.clone(),
        format!("/v2/{NAME}/mill/app/manifests/v1?x=y"),
    ] {
        let answer = stage.get(&path);
        answer.assert_body(200, &manifest);
        assert_eq!(answer.wants("content-type"), MANIFEST);
        let digest = format!("sha256:{}", sha256(&manifest));
        assert_eq!(answer.wants("docker-content-digest"), digest);
        let head = stage.head(&path);
        head.assert_body(200, b"");
        assert_eq!(head.wants("content-length"), manifest.len().to_string());
        assert_eq!(head.wants("docker-content-digest"), digest);
    }
    let asked = stage.origin.requests(&path);
    let methods: Vec<_> = asked.iter().map(|asked| asked.method.as_str()).collect();
    assert_eq!(methods, ["HEAD"]);
    let accept = asked[0].header("accept").unwrap_or_default();
    assert!(accept.contains("vnd.oci.image.index.v1+json"), "{accept}");
    assert_eq!(stage.origin.count(&by_digest), 1);
}

#[test]
fn changed_tag_is_followed() {
    let stage = RegistryStage::new(ALWAYS);
    let (first, second) = (manifest("first"), manifest("second"));
    let path = stage.serve_tag("latest", &first);
    stage.get(&path).assert_body(200, &first);
    stage.get(&path).assert_body(200, &first);
    stage.serve_tag("latest", &second);
    stage.get(&path).assert_body(200, &second);
    for manifest in [first, second] {
        let path = format!("/v2/mill/app/manifests/sha256:{}", sha256(&manifest));
        assert_eq!(stage.origin.count(&path), 1);
    }
    assert_eq!(stage.origin.count(&path), 3);
}

#[test]
fn last_known_tag_answers_for_dead_registry() {
    let mut stage = RegistryStage::new(ALWAYS);
    let manifest = manifest("known");
    let path = stage.serve_tag("latest", &manifest);
    let stored = format!("/v2/mill/app/manifests/sha256:{}", sha256(&manifest));
    stage.get(&path).assert_body(200, &manifest);
    stage.await_stored(&stored);
    stage.origin.shut_down();
    for _ in 0..2 {
        let began = Instant::now();
        let answer = stage.get(&path);
        assert!(began.elapsed() < STALE_WAIT, "{:?}", began.elapsed());
        answer.assert_body(200, &manifest);
        answer.assert_cache(&["hit", "detail=stale", "class=revalidate"]);
        assert_eq!(answer.wants("content-type"), MANIFEST);
        // The tag is known to the next process, too.
        stage.gateway.restart();
    }
    let unknown = stage.get("/v2/mill/app/manifests/other");
    assert!([502, 504].contains(&unknown.status), "{}", unknown.status);
}

#[test]
fn silent_registry_delays_known_tag_briefly() {
    let stage = RegistryStage::new(ALWAYS);
    let manifest = manifest("silent");
    let path = stage.serve_tag("latest", &manifest);
    stage.get(&path).assert_body(200, &manifest);
    let gate = Gate::new();
    let reply = manifest_reply(&manifest).gate_before_head(&gate);
    stage.origin.serve(&path, reply);
    let began = Instant::now();
    let answer = stage.get(&path);
    assert!(began.elapsed() < STALE_WAIT, "{:?}", began.elapsed());
    answer.assert_body(200, &manifest);
    answer.assert_cache(&["hit", "detail=stale"]);
    // The registry is not asked again at once.
    let asked = stage.origin.count(&path);
    stage.get(&path).assert_cache(&["hit", "detail=stale"]);
    assert_eq!(stage.origin.count(&path), asked);
    // A tag that is not known is asked for.
    let new = stage.serve_tag("new", &manifest);
    stage.get(&new).assert_body(200, &manifest);
    gate.open();
}

#[test]
fn silent_registry_ends_wait_for_unknown_tag() {
    let stage = RegistryStage::new("");
    let manifest = manifest("unknown");
    let path = stage.serve_tag("latest", &manifest);
    let gate = Gate::new();
    let reply = manifest_reply(&manifest).gate_before_head(&gate);
    stage.origin.serve(&path, reply);
    let began = Instant::now();
    let answer = stage.get(&path);
    assert!(began.elapsed() < UNKNOWN_WAIT, "{:?}", began.elapsed());
    assert_refused(&answer, 504, "UNKNOWN");
    gate.open();
}

#[test]
fn failing_registry_keeps_other_tags_alive() {
    let stage = RegistryStage::new(ALWAYS);
    let manifest = manifest("good");
    let (bad, good) = (
        stage.serve_tag("bad", &manifest),
        stage.serve_tag("good", &manifest),
    );
    stage.get(&bad).assert_body(200, &manifest);
    for status in [500, 503] {
        stage.origin.serve(&bad, Reply::status(status));
        let answer = stage.get(&bad);
        answer.assert_body(200, &manifest);
        answer.assert_cache(&["hit", "detail=stale"]);
    }
    // The status counts for its own tag.
    let answer = stage.get(&good);
    answer.assert_body(200, &manifest);
    let status = answer.wants("cache-status");
    assert!(!status.contains("stale"), "{status}");
}

#[test]
fn deleted_tag_is_served_unless_followed() {
    for (keys, status) in [("", 200), ("on_deleted = \"follow\"", 404)] {
        let stage = RegistryStage::new(&format!("{ALWAYS}\n{keys}"));
        let manifest = manifest("deleted");
        let path = stage.serve_tag("latest", &manifest);
        stage.get(&path).assert_body(200, &manifest);
        stage.origin.serve(&path, Reply::status(404));
        let answer = stage.get(&path);
        if status == 200 {
            answer.assert_body(200, &manifest);
            answer.assert_cache(&["hit", "detail=stale"]);
        } else {
            assert_refused(&answer, status, "MANIFEST_UNKNOWN");
            // The tag is forgotten.
            stage.origin.shut_down();
            assert!(stage.get(&path).status >= 404);
        }
        assert_refused(
            &RegistryStage::new(keys).get("/v2/mill/app/manifests/never"),
            404,
            "MANIFEST_UNKNOWN",
        );
    }
}

#[test]
fn tag_without_stated_digest_is_hashed() {
    let stage = RegistryStage::new("");
    let manifest = manifest("hashed");
    stage.serve_manifest(&manifest);
    let path = "/v2/mill/app/manifests/plain";
    let reply = Reply::ok(&manifest).header("Content-Type", MANIFEST);
    stage.origin.serve(path, reply);
    let answer = stage.get(path);
    answer.assert_body(200, &manifest);
    let digest = format!("sha256:{}", sha256(&manifest));
    assert_eq!(answer.wants("docker-content-digest"), digest);
}

#[test]
fn new_manifest_that_fails_keeps_old_one() {
    let stage = RegistryStage::new(ALWAYS);
    let (old, new) = (manifest("old"), manifest("new"));
    let path = stage.serve_tag("latest", &old);
    stage.get(&path).assert_body(200, &old);
    let by_digest = format!("/v2/mill/app/manifests/sha256:{}", sha256(&new));
    stage.origin.serve(&path, manifest_reply(&new));
    stage.origin.serve(&by_digest, Reply::status(503));
    let answer = stage.get(&path);
    answer.assert_body(200, &old);
    answer.assert_cache(&["hit", "detail=stale"]);
    let digest = format!("sha256:{}", sha256(&old));
    assert_eq!(answer.wants("docker-content-digest"), digest);
}

#[test]
fn simultaneous_requests_ask_for_tag_once() {
    let stage = RegistryStage::new("");
    let manifest = manifest("many");
    let path = stage.serve_tag("latest", &manifest);
    for answer in all_at_once(20, |_| stage.get(&path)) {
        answer.assert_body(200, &manifest);
    }
    assert_eq!(stage.origin.count(&path), 1);
}
