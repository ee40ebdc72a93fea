//! Digests that the operator does not allow, at each endpoint.

use std::path::PathBuf;

use crate::harness::{Reply, archive, sha256};
use crate::registry::stage::{RegistryStage, assert_refused, manifest};

#[test]
fn denied_digest_is_served_nowhere() {
    let mut stage = RegistryStage::new("");
    let (blob, manifest) = (archive(3, 20_000), manifest("denied"));
    let (path, tag) = (stage.serve_blob(&blob), stage.serve_tag("x", &manifest));
    let public = "/pub/x-1.0.tar.gz";
    stage.origin.serve(public, Reply::file(&blob));
    let rewritten = format!("/{}", stage.origin.url(public));
    for path in [&path, &tag, &rewritten] {
        stage.get(path).assert_status(200);
    }
    stage.await_stored(&path);
    stage.await_stored(public);
    let digests = [&blob, &manifest].map(|part| format!("\"sha256:{}\"", sha256(part)));
    stage.gateway.restart_with(|builder| {
        builder.set("policy.deny_digests", &format!("[{}]", digests.join(", ")))
    });
    let by_digest = format!("/v2/mill/app/manifests/sha256:{}", sha256(&manifest));
    for path in [&path, &tag, &by_digest] {
        assert_refused(&stage.get(path), 403, "DENIED");
    }
    let object = format!("/api/v1/objects/sha256/{}", sha256(&blob));
    for path in [&rewritten, &object] {
        stage.get(path).assert_status(403);
    }
    // A body that nothing names by its digest ends without its last byte, and is not stored.
    let other = "/pub/y-1.0.tar.gz";
    stage.origin.serve(other, Reply::file(&blob));
    let target = stage.origin.url(other);
    let answer = stage.gateway.get(&target).send_if_it_lives();
    let is_complete = answer.is_some_and(|answer| answer.body[..] == blob[..]);
    assert!(!is_complete, "the denied bytes were served");
    assert_eq!(stage.gateway.records_of(&target), Vec::<PathBuf>::new());
}
