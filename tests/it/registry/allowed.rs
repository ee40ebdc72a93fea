//! Repositories that the operator does not allow.

use crate::harness::{Reply, archive, sha256};
use crate::registry::stage::{RegistryStage, assert_refused};

#[test]
fn patterns_decide_which_repositories_are_served() {
    let keys = "allow = [\"mill/*\", \"library/debian\"]\ndeny = [\"*/secret\"]";
    let stage = RegistryStage::new(keys);
    let blob = archive(1, 2000);
    let digest = sha256(&blob);
    for (name, is_allowed) in [
        ("mill/app", true),
        ("mill/team/app", true),
        ("library/debian", true),
        ("mill/secret", false),
        ("library/other", false),
    ] {
        let path = format!("/v2/{name}/blobs/sha256:{digest}");
        stage.origin.serve(&path, Reply::file(&blob));
        let answer = stage.get(&path);
        if is_allowed {
            answer.assert_body(200, &blob);
        } else {
            assert_refused(&answer, 403, "DENIED");
            assert_eq!(stage.origin.count(&path), 0);
        }
    }
}

#[test]
fn stored_images_of_denied_repository_are_refused() {
    let mut stage = RegistryStage::new("");
    let blob = archive(2, 2000);
    let path = stage.serve_blob(&blob);
    stage.get(&path).assert_body(200, &blob);
    stage.await_stored(&path);
    let endpoint = stage.origin.url("");
    stage.gateway.restart_with(|builder| {
        let keys = "default = true\ndeny = [\"mill/*\"]";
        builder
            .without_rules()
            .registry("registry.example.org", &endpoint, keys)
    });
    assert_refused(&stage.get(&path), 403, "DENIED");
}
