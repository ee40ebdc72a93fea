//! Images of several platforms at a local registry.

use serde_json::{Value, json};

use crate::harness::{Body, Reply, archive, sha256};
use crate::registry::stage::RegistryStage;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of one platform.
pub struct TestImage {
    pub platform: String,
    pub manifest: Body,
    pub config: Body,
    pub layers: Vec<Body>,
}

impl TestImage {
    /// Returns an image with these layers for a platform, such as `linux/arm64`.
    pub fn new(platform: &str, layers: Vec<Body>) -> Self {
        let (os, architecture) = platform.split_once('/').expect("a platform has two parts");
        let config = document(&json!({"os": os, "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": []}}));
        let layer = |body: &Body| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", body);
        let manifest = document(&json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(layer).collect::<Vec<_>>()}));
        Self {
            platform: platform.to_owned(),
            manifest,
            config,
            layers,
        }
    }

    /// Returns an image with two layers, of which images with the same `shared` share the first.
    pub fn small(platform: &str, shared: u64, own: u64) -> Self {
        Self::new(
            platform,
            vec![archive(shared, 20_000), archive(own, 30_000)],
        )
    }

    /// Returns the entry of the image in an index.
    pub fn entry(&self) -> Value {
        let (os, architecture) = self.platform.split_once('/').expect("two parts");
        let mut entry = descriptor(OCI_MANIFEST, &self.manifest);
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    }

    /// Serves all parts at a registry, and returns their paths, that of the manifest first.
    pub fn serve(&self, stage: &RegistryStage) -> Vec<String> {
        let mut paths = vec![serve_manifest(stage, OCI_MANIFEST, &self.manifest)];
        for blob in self.layers.iter().chain([&self.config]) {
            paths.push(stage.serve_blob(blob));
        }
        paths
    }
}

/// Returns an index of images.
pub fn index_of(images: &[&TestImage]) -> Body {
    let entries: Vec<Value> = images.iter().map(|image| image.entry()).collect();
    document(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
}

/// Serves an image or an index below a tag. Its parts must be served too.
pub fn serve_tagged(stage: &RegistryStage, tag: &str, media_type: &str, body: &Body) -> String {
    serve_manifest(stage, media_type, body);
    let path = format!("/v2/mill/app/manifests/{tag}");
    stage.origin.serve(&path, reply_of(media_type, body));
    path
}

pub fn serve_manifest(stage: &RegistryStage, media_type: &str, body: &Body) -> String {
    let path = format!("/v2/mill/app/manifests/sha256:{}", sha256(body));
    stage.origin.serve(&path, reply_of(media_type, body));
    path
}

pub fn reply_of(media_type: &str, body: &Body) -> Reply {
    let digest = format!("sha256:{}", sha256(body));
    Reply::ok(body)
        .header("Content-Type", media_type)
        .header("Docker-Content-Digest", &digest)
}

/// Returns the reference to a part (OCI image specification, "Descriptor").
pub fn descriptor(media_type: &str, body: &Body) -> Value {
    let digest = format!("sha256:{}", sha256(body));
    json!({"mediaType": media_type, "digest": digest, "size": body.len()})
}

pub fn document(value: &Value) -> Body {
    value.to_string().into_bytes().into()
}
