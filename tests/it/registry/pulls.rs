//! Pulls of whole images: many clients at once, several platforms, broken layers, and registries
//! that keep blobs elsewhere.

use std::sync::Barrier;

use crate::harness::{Body, Origin, Reply, all_at_once, archive, sha256};
use crate::registry::stage::{NAME, RegistryStage, assert_refused, manifest};
use crate::registry::test_image::{INDEX, OCI_MANIFEST, TestImage, index_of, serve_tagged};

/// Clients that pull at the same time.
const CLIENTS: usize = 50;

fn manifest_path(manifest: &[u8]) -> String {
    format!("/v2/mill/app/manifests/sha256:{}", sha256(manifest))
}

fn blob_path(blob: &[u8]) -> String {
    format!("/v2/mill/app/blobs/sha256:{}", sha256(blob))
}

/// Pulls an image below a tag as container clients do, and checks all bytes.
fn pull(stage: &RegistryStage, tag: &str, index: &Body, image: &TestImage) {
    stage.get(tag).assert_body(200, index);
    let manifest = manifest_path(&image.manifest);
    stage.get(&manifest).assert_body(200, &image.manifest);
    for blob in image.layers.iter().chain([&image.config]) {
        stage.get(&blob_path(blob)).assert_body(200, blob);
    }
}

#[test]
fn fifty_cold_pulls_ask_once() {
    let stage = RegistryStage::new("");
    let images = ["linux/amd64", "linux/arm64", "linux/s390x"];
    let images: Vec<_> = images
        .iter()
        .zip(2..)
        .map(|(platform, own)| {
            TestImage::new(platform, vec![archive(1, 200_000), archive(own, 300_000)])
        })
        .collect();
    let index = index_of(&images.iter().collect::<Vec<_>>());
    for image in &images {
        image.serve(&stage);
    }
    let tag = serve_tagged(&stage, "latest", INDEX, &index);
    let start = Barrier::new(CLIENTS);
    // No client has the third platform.
    all_at_once(CLIENTS, |at| {
        start.wait();
        pull(&stage, &tag, &index, &images[at % 2]);
    });
    for path in stage.origin.asked() {
        assert_eq!(stage.origin.count(&path), 1, "{path}");
    }
    let other = &images[2];
    for path in [manifest_path(&other.manifest), blob_path(&other.layers[1])] {
        assert_eq!(stage.origin.count(&path), 0, "{path}");
    }
}

#[test]
fn cut_layer_is_resumed() {
    const CUT: usize = 5_000_000;
    let stage = RegistryStage::with("", |builder| builder.set("fetch.attempts", "3"));
    let layer = archive(1, 8_000_000);
    let path = blob_path(&layer);
    let whole = Reply::file(&layer);
    stage
        .origin
        .script(&path, vec![whole.clone().cut_at(CUT), whole]);
    stage.get(&path).assert_body(200, &layer);
    let asked = stage.origin.requests(&path);
    let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=5000000-")]);
    stage.await_stored(&path);
    stage.origin.shut_down();
    stage.get(&path).assert_body(200, &layer);
}

#[test]
fn blobs_in_signed_storage_are_kept() {
    const CUT: usize = 100_000;
    let storage = Origin::start();
    let stage = RegistryStage::with("tag_ttl = \"0s\"", |builder| {
        builder.origin(&storage).set("fetch.attempts", "3")
    });
    let image = TestImage::small("linux/amd64", 1, 2);
    let layer = archive(3, 300_000);
    let image = TestImage::new(&image.platform, vec![layer.clone()]);
    image.serve(&stage);
    let tag = serve_tagged(&stage, "1.0", OCI_MANIFEST, &image.manifest);
    // Each redirect has another signature, which is valid once.
    let path = blob_path(&layer);
    let signed = |number: u8| format!("/storage/layer?X-Amz-Signature={number}");
    let redirects = [1, 2].map(|number| Reply::redirect(307, &storage.url(&signed(number))));
    stage.origin.script(&path, redirects.to_vec());
    let whole = Reply::file(&layer);
    let denied = Reply::status(403);
    storage.script(&signed(1), vec![whole.clone().cut_at(CUT), denied.clone()]);
    storage.script(&signed(2), vec![whole, denied]);
    pull(&stage, &tag, &image.manifest, &image);
    assert_eq!(stage.origin.count(&path), 2);
    let resumed = storage.request(&signed(2));
    assert_eq!(resumed.header("range"), Some("bytes=100000-"));
    for blob in [&layer, &image.config] {
        stage.await_stored(&blob_path(blob));
    }
    // No record has the signature.
    let records = stage.gateway.records_of(&stage.origin.url(&path));
    for record in &records {
        let record = std::fs::read_to_string(record).expect("a record is text");
        assert!(!record.contains("X-Amz-Signature=2"), "{record}");
    }
    assert_eq!(records.len(), 1);
    // The registry deletes the tag, and the storage the blobs.
    stage.origin.serve(&tag, Reply::status(404));
    stage.origin.serve(&path, Reply::status(404));
    storage.shut_down();
    pull(&stage, &tag, &image.manifest, &image);
}

#[test]
fn deleted_tag_that_is_followed_keeps_digest() {
    let stage = RegistryStage::new("tag_ttl = \"0s\"\non_deleted = \"follow\"");
    let image = TestImage::small("linux/amd64", 1, 2);
    image.serve(&stage);
    let tag = serve_tagged(&stage, "1.0", OCI_MANIFEST, &image.manifest);
    pull(&stage, &tag, &image.manifest, &image);
    stage.origin.serve(&tag, Reply::status(404));
    assert_refused(&stage.get(&tag), 404, "MANIFEST_UNKNOWN");
    stage.origin.shut_down();
    let path = manifest_path(&image.manifest);
    stage.get(&path).assert_body(200, &image.manifest);
}

#[test]
fn names_outside_specification_touch_nothing() {
    let stage = RegistryStage::new("");
    let digest = format!("sha256:{}", "ab".repeat(32));
    let long_name = "a".repeat(256);
    let long_tag = "t".repeat(129);
    let names = [
        "A", "a//b", "a/", "-a", "a-", "a..b", "a___b", "a%2Fb", "a b", "ä", &long_name,
    ];
    for name in names {
        for rest in [format!("manifests/{digest}"), format!("blobs/{digest}")] {
            let path = format!(
                "/v2/{}/{rest}",
                name.replace(' ', "%20").replace('ä', "%C3%A4")
            );
            assert_refused(&stage.get(&path), 404, "NAME_INVALID");
        }
    }
    for tag in [
        "-x", ".x", "x%20y", "x%2Fy", "x%3Fy", "x+y", "%C3%A4", &long_tag,
    ] {
        let path = format!("/v2/mill/app/manifests/{tag}");
        assert_refused(&stage.get(&path), 404, "MANIFEST_UNKNOWN");
    }
    let upper = digest.to_uppercase();
    let short = &digest[..70];
    for wrong in [
        "sha256:",
        "md5:ab",
        "sha256:xyz",
        "sha999:ab",
        &upper,
        short,
        "sha256:sha256:a",
    ] {
        for kind in ["manifests", "blobs", "referrers"] {
            let path = format!("/v2/mill/app/{kind}/{wrong}");
            assert_refused(&stage.get(&path), 404, "DIGEST_INVALID");
        }
    }
    for namespace in [
        "",
        "other.example.org",
        "127.0.0.1",
        "a/b",
        "%00",
        "registry.example.org.",
    ] {
        let path = format!("/v2/mill/app/manifests/{digest}?ns={namespace}");
        assert_refused(&stage.get(&path), 404, "NAME_UNKNOWN");
    }
    assert_eq!(stage.origin.total(), 0);
    stage.gateway.assert_nothing_stored();
    let tags = stage.gateway.state().join("tags");
    assert!(!tags.exists(), "no tag is known");
    // The names of the specification are served.
    let manifest = manifest("x");
    let path = stage.serve_tag("_X.y-z_0", &manifest);
    stage
        .get(&format!("{path}?ns={NAME}"))
        .assert_body(200, &manifest);
}
