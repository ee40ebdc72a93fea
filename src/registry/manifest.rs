//! Manifests and indexes of images: the parts that they name, with digests and sizes.
//!
//! This file reads no store. Its main type is [`ImageManifest`].

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Deserialize;

use super::platform::Platform;
use super::reference::parse_digest;
use crate::model::Digest;

/// Bound on a manifest, in bytes (OCI distribution specification 1.1, "Pushing Manifests").
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// Bound on the parts that one manifest names. Images have at most some hundred layers, and indexes
/// some ten platforms.
const MAX_PARTS: usize = 2000;

/// The schema whose manifests have digests.
const SCHEMA_VERSION: u32 = 2;

/// Parts of the media types of layers that registries do not have: clients fetch them elsewhere.
const FOREIGN_LAYERS: [&str; 2] = ["foreign", "nondistributable"];

/// Error returned for a document that is no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not JSON of the specification of OCI")]
    Form,
    #[error("the manifest has schema 1, which cannot be verified; ask for a newer image")]
    Schema,
    #[error("the manifest names an invalid digest")]
    Digest,
    #[error("the manifest names more than {MAX_PARTS} parts")]
    TooManyParts,
    #[error("the manifest has more than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge,
}

/// Reference to a part of an image (OCI image specification 1.1, "Descriptor").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size_bytes: u64,
    pub platform: Option<Platform>,
    pub annotations: BTreeMap<String, String>,
}

/// Manifest of an image or of an artifact, or an index of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    pub media_type: String,
    pub parts: ManifestParts,
    /// Type of an artifact that is no image.
    pub artifact_type: Option<String>,
    /// Manifest to which this one refers, such as the image of a signature.
    pub subject: Option<Digest>,
    pub annotations: BTreeMap<String, String>,
}

/// The parts that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestParts {
    /// Manifests of an index.
    Manifests(Vec<Descriptor>),
    Blobs {
        config: Option<Descriptor>,
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Option<Vec<DescriptorDocument>>,
    config: Option<DescriptorDocument>,
    layers: Option<Vec<DescriptorDocument>>,
    artifact_type: Option<String>,
    subject: Option<DescriptorDocument>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorDocument {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    platform: Option<PlatformDocument>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Platform in an index, and the same members of a configuration.
#[derive(Deserialize)]
struct PlatformDocument {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// Member of a configuration (OCI image specification 1.1, "Image Configuration").
#[derive(Deserialize)]
struct CreationDocument {
    created: Option<String>,
}

impl ImageManifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let document: ManifestDocument =
            serde_json::from_slice(bytes).map_err(|_| ManifestError::Form)?;
        if document.schema_version != SCHEMA_VERSION {
            return Err(ManifestError::Schema);
        }
        let parts = match document.manifests {
            Some(manifests) => ManifestParts::Manifests(read_all(manifests)?),
            None => ManifestParts::Blobs {
                config: document.config.map(DescriptorDocument::read).transpose()?,
                layers: read_all(document.layers.unwrap_or_default())?,
            },
        };
        let subject = document.subject.map(DescriptorDocument::read).transpose()?;
        Ok(Self {
            media_type: document.media_type,
            parts,
            artifact_type: document.artifact_type.filter(|text| !text.is_empty()),
            subject: subject.map(|subject| subject.digest),
            annotations: document.annotations.unwrap_or_default(),
        })
    }

    /// Returns the manifests of an index.
    #[must_use]
    pub fn manifests(&self) -> &[Descriptor] {
        match &self.parts {
            ManifestParts::Manifests(manifests) => manifests,
            ManifestParts::Blobs { .. } => &[],
        }
    }

    /// Returns the configuration and the layers that a registry has.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match &self.parts {
            ManifestParts::Manifests(_) => (None, &[][..]),
            ManifestParts::Blobs { config, layers } => (config.as_ref(), &layers[..]),
        };
        let layers = layers.iter().filter(|layer| !layer.is_foreign());
        config.into_iter().chain(layers)
    }

    /// Returns the configuration of an image.
    #[must_use]
    pub fn config(&self) -> Option<&Descriptor> {
        match &self.parts {
            ManifestParts::Manifests(_) => None,
            ManifestParts::Blobs { config, .. } => config.as_ref(),
        }
    }
}

impl Descriptor {
    /// Whether clients fetch the layer from a URL of its own.
    fn is_foreign(&self) -> bool {
        FOREIGN_LAYERS
            .iter()
            .any(|word| self.media_type.contains(word))
    }
}

impl DescriptorDocument {
    fn read(self) -> Result<Descriptor, ManifestError> {
        Ok(Descriptor {
            media_type: self.media_type,
            digest: parse_digest(&self.digest).map_err(|_| ManifestError::Digest)?,
            size_bytes: self.size,
            platform: self.platform.and_then(|platform| platform.read()),
            annotations: self.annotations.unwrap_or_default(),
        })
    }
}

impl PlatformDocument {
    fn read(&self) -> Option<Platform> {
        Platform::stated(&self.os, &self.architecture, self.variant.as_deref())
    }
}

/// Returns the time at which an image was created, as its configuration states it.
#[must_use]
pub fn creation_time_of_config(config: &[u8]) -> Option<SystemTime> {
    let config: CreationDocument = serde_json::from_slice(config).ok()?;
    humantime::parse_rfc3339_weak(&config.created?).ok()
}

/// Returns the platform that the configuration of an image states.
#[must_use]
pub fn platform_of_config(config: &[u8]) -> Option<Platform> {
    serde_json::from_slice::<PlatformDocument>(config)
        .ok()?
        .read()
}

fn read_all(documents: Vec<DescriptorDocument>) -> Result<Vec<Descriptor>, ManifestError> {
    if documents.len() > MAX_PARTS {
        return Err(ManifestError::TooManyParts);
    }
    documents
        .into_iter()
        .map(DescriptorDocument::read)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(document: &serde_json::Value) -> Result<ImageManifest, ManifestError> {
        ImageManifest::parse(document.to_string().as_bytes())
    }

    #[test]
    fn manifest_names_its_parts() {
        let digest = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
        let part = |digit, media_type: &str| {
            let digest = digest(digit);
            json!({"digest": digest, "size": 7, "mediaType": media_type})
        };
        let manifest = parse(&json!({"schemaVersion": 2, "config": part('a', "c"),
            "layers": [part('b', "l"),
                part('c', "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")],
            "subject": part('d', "m"), "artifactType": "sig"}));
        let manifest = manifest.unwrap();
        let blobs: Vec<_> = manifest
            .blobs()
            .map(|blob| blob.digest.to_string())
            .collect();
        assert_eq!(blobs, [digest('a'), digest('b')]);
        assert_eq!(manifest.subject.unwrap().to_string(), digest('d'));
        assert_eq!(manifest.artifact_type.as_deref(), Some("sig"));
        let mut entry = part('a', "m");
        entry["platform"] = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
        let index = parse(&json!({"schemaVersion": 2, "manifests": [entry, part('b', "m")]}));
        let index = index.unwrap();
        let platforms: Vec<_> = index
            .manifests()
            .iter()
            .map(|one| one.platform.clone())
            .collect();
        assert_eq!(platforms, [Some("linux/arm/v7".parse().unwrap()), None]);
    }

    #[test]
    fn other_documents_are_no_manifests() {
        let digest = json!({"digest": "md5:d41d8cd98f00b204e9800998ecf8427e"});
        let many = vec![json!({"digest": format!("sha256:{}", "a".repeat(64))}); MAX_PARTS + 1];
        for (document, error) in [
            (json!([]), ManifestError::Form),
            (json!({"errors": []}), ManifestError::Form),
            (
                json!({"schemaVersion": 1, "fsLayers": []}),
                ManifestError::Schema,
            ),
            (
                json!({"schemaVersion": 2, "config": digest}),
                ManifestError::Digest,
            ),
            (
                json!({"schemaVersion": 2, "layers": many}),
                ManifestError::TooManyParts,
            ),
        ] {
            assert_eq!(parse(&document).unwrap_err(), error);
        }
        let long = vec![b' '; MAX_MANIFEST_BYTES + 1];
        assert_eq!(
            ImageManifest::parse(&long).unwrap_err(),
            ManifestError::TooLarge
        );
    }
}
