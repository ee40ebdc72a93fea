//! A gateway with one registry, which is a local origin.

use serde_json::{Value, json};

use crate::harness::{Answer, Body, Builder, Gateway, Origin, Reply, sha256};

/// Media type of a manifest. The parameter shows that it is kept as it is.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json; charset=utf-8";

/// Name of the registry.
pub const NAME: &str = "registry.example.org";

/// A registry and a gateway.
pub struct RegistryStage {
    pub origin: Origin,
    pub gateway: Gateway,
}

impl RegistryStage {
    pub fn new(keys: &str) -> Self {
        Self::with(keys, |builder| builder)
    }

    /// Starts a gateway with further settings. The registry is the default one.
    pub fn with(keys: &str, change: impl FnOnce(Builder) -> Builder) -> Self {
        let origin = Origin::start();
        let keys = format!("default = true\naliases = [\"reg\"]\n{keys}");
        let builder = Gateway::builder().origin(&origin).one_attempt();
        let builder = change(builder).registry(NAME, &origin.url(""), &keys);
        Self {
            gateway: builder.start(),
            origin,
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.gateway.request("GET", path).send()
    }

    pub fn head(&self, path: &str) -> Answer {
        self.gateway.request("HEAD", path).send()
    }

    /// Waits until the content of a path of the registry is stored.
    pub fn await_stored(&self, path: &str) {
        self.gateway.await_stored(&self.origin.url(path));
    }

    /// Serves a blob at the registry, and returns its path.
    pub fn serve_blob(&self, blob: &Body) -> String {
        let path = format!("/v2/mill/app/blobs/sha256:{}", sha256(blob));
        self.origin.serve(&path, Reply::file(blob));
        path
    }

    /// Serves a manifest by its digest, and returns its path.
    pub fn serve_manifest(&self, manifest: &Body) -> String {
        let path = format!("/v2/mill/app/manifests/sha256:{}", sha256(manifest));
        self.origin.serve(&path, manifest_reply(manifest));
        path
    }

    /// Serves a manifest by its digest and by a tag. Returns the path of the tag.
    pub fn serve_tag(&self, tag: &str, manifest: &Body) -> String {
        self.serve_manifest(manifest);
        let path = format!("/v2/mill/app/manifests/{tag}");
        self.origin.serve(&path, manifest_reply(manifest));
        path
    }
}

/// Returns a manifest as registries send it.
pub fn manifest_reply(manifest: &Body) -> Reply {
    let digest = format!("sha256:{}", sha256(manifest));
    Reply::ok(manifest)
        .header("Content-Type", MANIFEST)
        .header("Docker-Content-Digest", &digest)
        .header("Cache-Control", "private")
}

/// Returns the bytes of a manifest.
pub fn manifest(name: &str) -> Body {
    let document = json!({"schemaVersion": 2, "annotations": {"name": name}});
    document.to_string().into_bytes().into()
}

/// Checks an error in the form of registries. It asks for no login.
#[track_caller]
pub fn assert_refused(answer: &Answer, status: u16, code: &str) {
    answer.assert_status(status);
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(
        answer.wants("docker-distribution-api-version"),
        "registry/2.0"
    );
    assert_eq!(answer.wants("content-type"), "application/json");
    let document = document(answer);
    assert_eq!(document["errors"][0]["code"], code, "{document}");
    let message = document["errors"][0]["message"].as_str();
    assert!(message.is_some_and(|text| !text.is_empty()), "{document}");
}

/// Returns the document of an error.
#[track_caller]
pub fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("an error is a document")
}
