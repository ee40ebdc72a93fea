//! `min_age` of a registry: new tags and changes of tags are taken late.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::harness::{Body, eventually, sha256};
use crate::registry::stage::{RegistryStage, assert_refused, manifest};

/// Serves an image that was created at a time, by a tag. Returns the path of the tag and the
/// manifest.
fn serve_image(stage: &RegistryStage, tag: &str, created: Option<SystemTime>) -> (String, Body) {
    let mut config = json!({"os": "linux", "name": tag});
    if let Some(created) = created {
        config["created"] = rfc3339(created).into();
    }
    let config: Body = config.to_string().into_bytes().into();
    stage.serve_blob(&config);
    let digest = format!("sha256:{}", sha256(&config));
    let manifest = json!({"schemaVersion": 2, "config": {"digest": digest}});
    let manifest: Body = manifest.to_string().into_bytes().into();
    (stage.serve_tag(tag, &manifest), manifest)
}

/// Returns a time in the form of RFC 3339.
fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

fn ago(hours: u64) -> SystemTime {
    SystemTime::now() - Duration::from_hours(hours)
}

#[test]
fn change_of_tag_waits_for_its_age() {
    let mut stage = RegistryStage::new("tag_ttl = \"0s\"\nmin_age = \"2h\"");
    let (path, old) = serve_image(&stage, "latest", Some(ago(3)));
    stage.get(&path).assert_body(200, &old);
    // A date in the past does not help: the change counts from now.
    let (_, new) = serve_image(&stage, "latest", Some(ago(9000)));
    assert_ne!(old, new);
    for _ in 0..2 {
        let answer = stage.get(&path);
        answer.assert_body(200, &old);
        stage.gateway.restart();
    }
    let by_digest = format!("/v2/mill/app/manifests/sha256:{}", sha256(&new));
    assert_eq!(stage.origin.count(&by_digest), 0);
    stage.get(&by_digest).assert_body(200, &new);
}

#[test]
fn old_change_is_taken() {
    let stage = RegistryStage::new("tag_ttl = \"0s\"\nmin_age = \"1s\"");
    let (path, old) = serve_image(&stage, "latest", Some(ago(1)));
    stage.get(&path).assert_body(200, &old);
    let new = manifest("new");
    stage.serve_tag("latest", &new);
    stage.get(&path).assert_body(200, &old);
    eventually("the change is old enough", || {
        Some(stage.get(&path)).filter(|answer| answer.body[..] == new[..])
    });
}

#[test]
fn unknown_tag_counts_from_creation_date() {
    let stage = RegistryStage::new("min_age = \"2h\"");
    for (tag, created, is_taken) in [
        ("old", Some(ago(3)), true),
        ("young", Some(ago(1)), false),
        (
            "future",
            Some(SystemTime::now() + Duration::from_hours(9)),
            false,
        ),
        ("undated", None, false),
    ] {
        let (path, manifest) = serve_image(&stage, tag, created);
        let answer = stage.get(&path);
        if is_taken {
            answer.assert_body(200, &manifest);
        } else {
            assert_refused(&answer, 403, "DENIED");
        }
    }
    // An index leads to its first image.
    let (_, image) = serve_image(&stage, "image", Some(ago(5)));
    let digest = format!("sha256:{}", sha256(&image));
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": digest}]});
    let index: Body = index.to_string().into_bytes().into();
    let path = stage.serve_tag("index", &index);
    stage.get(&path).assert_body(200, &index);
}
