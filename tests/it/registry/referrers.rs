//! Referrers of images, such as signatures: filtered, kept, and found by tags.

use serde_json::{Value, json};

use crate::harness::{Body, Reply, all_at_once, archive, sha256};
use crate::registry::stage::{RegistryStage, assert_refused, document as json_of, manifest};
use crate::registry::test_image::{
    INDEX, OCI_MANIFEST, TestImage, descriptor, document, serve_manifest, serve_tagged,
};

const SIGNATURE: &str = "application/vnd.example.signature.v1";
const SBOM: &str = "application/spdx+json";

/// A signature or another document about an image.
fn artifact(subject: &Body, artifact_type: &str, layer: &Body) -> Body {
    let empty: Body = b"{}"[..].into();
    document(&json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor("application/vnd.oci.empty.v1+json", &empty),
        "layers": [descriptor(artifact_type, layer)],
        "subject": descriptor(OCI_MANIFEST, subject)}))
}

fn entry(artifact: &Body, artifact_type: &str) -> Value {
    let mut entry = descriptor(OCI_MANIFEST, artifact);
    entry["artifactType"] = json!(artifact_type);
    entry
}

fn index(entries: &[Value]) -> Body {
    document(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
}

fn path_of(subject: &Body) -> String {
    format!("/v2/mill/app/referrers/sha256:{}", sha256(subject))
}

#[test]
fn referrers_are_filtered_and_kept() {
    let stage = RegistryStage::new("tag_ttl = \"0s\"");
    let image = TestImage::small("linux/amd64", 1, 2);
    let layer = archive(5, 500);
    let [signature, sbom] = [SIGNATURE, SBOM].map(|kind| artifact(&image.manifest, kind, &layer));
    let (first, second) = (entry(&signature, SIGNATURE), entry(&sbom, SBOM));
    let path = path_of(&image.manifest);
    // The registry has two pages.
    let next = format!("{path}?n=1&last=x");
    let link = format!("<{next}>; rel=\"next\"");
    let page = |entries: &[Value]| Reply::ok(&index(entries)).header("Content-Type", INDEX);
    stage.origin.serve(
        &path,
        page(std::slice::from_ref(&first)).header("Link", &link),
    );
    stage
        .origin
        .serve(&next, page(std::slice::from_ref(&second)));
    let blob = stage.serve_blob(&layer);
    let signature_path = serve_manifest(&stage, OCI_MANIFEST, &signature);
    for is_away in [false, true] {
        if is_away {
            stage.await_stored(&signature_path);
            stage.await_stored(&blob);
            stage.origin.shut_down();
        }
        let answer = stage.get(&path);
        answer.assert_status(200);
        assert_eq!(answer.wants("content-type"), INDEX);
        assert_eq!(answer.header("oci-filters-applied"), None);
        assert_eq!(json_of(&answer)["manifests"], json!([first, second]));
        let filtered = stage.get(&format!("{path}?artifactType={SIGNATURE}"));
        assert_eq!(filtered.wants("oci-filters-applied"), "artifactType");
        assert_eq!(json_of(&filtered)["manifests"], json!([first]));
        stage.head(&path).assert_body(200, b"");
        stage.get(&signature_path).assert_body(200, &signature);
        stage.get(&blob).assert_body(200, &layer);
    }
}

#[test]
fn referrers_are_asked_for_once_within_ttl() {
    let stage = RegistryStage::new("");
    let subject = manifest("x");
    let path = path_of(&subject);
    let reply = Reply::ok(&index(&[])).header("Content-Type", INDEX);
    stage.origin.serve(&path, reply);
    for answer in all_at_once(20, |_| stage.get(&path)) {
        assert_eq!(json_of(&answer)["manifests"], json!([]));
    }
    assert_eq!(stage.origin.count(&path), 1);
    let unknown = stage.gateway.request("GET", &path_of(&manifest("y")));
    let unknown = unknown.header("Cache-Control", "only-if-cached").send();
    unknown.assert_status(504);
}

#[test]
fn tag_of_subject_lists_referrers() {
    let stage = RegistryStage::new("tag_ttl = \"0s\"");
    let image = TestImage::small("linux/amd64", 1, 2);
    let path = path_of(&image.manifest);
    // Neither the interface nor the tag.
    let answer = stage.get(&path);
    answer.assert_status(200);
    assert_eq!(json_of(&answer)["manifests"], json!([]));
    let signature = artifact(&image.manifest, SIGNATURE, &archive(5, 500));
    let list = index(&[entry(&signature, SIGNATURE)]);
    let tag = format!("sha256-{}", sha256(&image.manifest));
    serve_tagged(&stage, &tag, INDEX, &list);
    let answer = stage.get(&path);
    assert_eq!(
        json_of(&answer)["manifests"],
        json!([entry(&signature, SIGNATURE)])
    );
    stage.origin.shut_down();
    assert_eq!(stage.get(&path).body, answer.body);
}

#[test]
fn signatures_below_tags_are_kept() {
    let stage = RegistryStage::new("tag_ttl = \"0s\"");
    let image = TestImage::small("linux/amd64", 1, 2);
    let layer = archive(6, 700);
    let signature = artifact(&image.manifest, SIGNATURE, &layer);
    let blob = stage.serve_blob(&layer);
    let tags = ["", ".sig", ".att", ".sbom"].map(|suffix| {
        let tag = format!("sha256-{}{suffix}", sha256(&image.manifest));
        serve_tagged(&stage, &tag, OCI_MANIFEST, &signature)
    });
    for is_away in [false, true] {
        for tag in &tags {
            let answer = stage.get(tag);
            answer.assert_body(200, &signature);
            assert_eq!(answer.wants("content-type"), OCI_MANIFEST);
        }
        stage.get(&blob).assert_body(200, &layer);
        if !is_away {
            stage.await_stored(&blob);
            stage.origin.shut_down();
        }
    }
}

#[test]
fn unusable_lists_are_refused() {
    let stage = RegistryStage::new("");
    for (name, reply, status) in [
        ("page", Reply::html(), 502),
        (
            "wrong",
            Reply::ok(&document(&json!({"schemaVersion": 2}))),
            502,
        ),
        ("failed", Reply::status(500), 502),
        ("denied", Reply::status(403), 404),
    ] {
        let path = path_of(&manifest(name));
        stage.origin.serve(&path, reply);
        let code = if status == 404 {
            "MANIFEST_UNKNOWN"
        } else {
            "UNKNOWN"
        };
        assert_refused(&stage.get(&path), status, code);
    }
    let asked = stage.origin.total();
    for (path, code) in [
        (
            "/v2/mill/app/referrers/md5:d41d8cd98f00b204e9800998ecf8427e",
            "DIGEST_INVALID",
        ),
        ("/v2/mill/app/referrers/latest", "DIGEST_INVALID"),
        (
            &format!("/v2/Mill/referrers/sha256:{}", "a".repeat(64)),
            "NAME_INVALID",
        ),
    ] {
        assert_refused(&stage.get(path), 404, code);
    }
    assert_eq!(stage.origin.total(), asked);
}
