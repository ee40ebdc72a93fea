//! Known images with their platforms and sizes, for operators.
//!
//! The main type is [`ListedImage`].

use std::collections::HashSet;
use std::io;
use std::time::SystemTime;

use super::images::ContainerImages;
use super::manifest::{ImageManifest, MAX_MANIFEST_BYTES, platform_of_config};
use super::platform::Platform;
use crate::model::{Digest, Target};
use crate::policy::{ContentAudience, UpstreamAccess};

/// Bound on the platforms of one image that are read.
const MAX_PLATFORMS: usize = 100;

/// Bound on a configuration that is read for its platform, in bytes.
const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Between the name of the repository and the tag in a target.
const MANIFESTS: &str = "/manifests/";

/// A tag whose digest is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// `HOST/NAME:TAG`, with the name of the registry in the configuration.
    pub name: String,
    pub registry: String,
    pub repository: String,
    pub tag: String,
    pub digest: Digest,
    /// Time at which the registry last stated the digest. `None` for an adopted image.
    pub checked_at: Option<SystemTime>,
    /// URL of the repository with a trailing slash.
    base: String,
}

/// Image of one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPlatform {
    /// `None` if neither the index nor a stored configuration states it.
    pub platform: Option<Platform>,
    pub digest: Digest,
    /// Size of configuration and layers as the manifest states it. `None` if the manifest is not
    /// stored.
    pub size_bytes: Option<u64>,
}

impl ContainerImages {
    /// Returns all known tags, in the order of their names.
    ///
    /// # Errors
    /// The error of the disk.
    pub async fn list(&self) -> io::Result<Vec<ListedImage>> {
        let registries = self.registries();
        let known = self.known_tags().await?;
        let mut images: Vec<ListedImage> = known
            .into_iter()
            .filter_map(|(target, known)| {
                let url = target.requested_url();
                let (before, tag) = url.as_str().rsplit_once(MANIFESTS)?;
                let (base, repository) = before.split_once("/v2/")?;
                let registry = registries.name_of(base).map(str::to_owned);
                let host = || base.split("://").last().unwrap_or(base).to_owned();
                let registry = registry.unwrap_or_else(host);
                let checked_at = known.checked_at;
                Some(ListedImage {
                    name: format!("{registry}/{repository}:{tag}"),
                    registry,
                    repository: repository.to_owned(),
                    tag: tag.to_owned(),
                    digest: known.digest,
                    checked_at: (checked_at > SystemTime::UNIX_EPOCH).then_some(checked_at),
                    base: format!("{before}/"),
                })
            })
            .collect();
        // A tag can be known with and without a credential.
        images.sort_by(|a, b| (&a.name, b.checked_at).cmp(&(&b.name, a.checked_at)));
        images.dedup_by(|a, b| a.name == b.name);
        Ok(images)
    }

    /// Returns the platforms of an image, as its stored manifests state them. There are none if the
    /// manifest of the tag is not stored.
    pub async fn platforms(&self, image: &ListedImage) -> Vec<ListedPlatform> {
        let Some(manifest) = self.stored_manifest(image, &image.digest).await else {
            return Vec::new();
        };
        if manifest.manifests().is_empty() {
            let platform = self.stored_platform(image, &manifest).await;
            return vec![ListedPlatform {
                platform,
                digest: image.digest.clone(),
                size_bytes: Some(size_of(&manifest)),
            }];
        }
        let entries = manifest.manifests().iter();
        let is_image = |platform: &Option<Platform>| {
            platform
                .as_ref()
                .is_none_or(|platform| !platform.is_unknown())
        };
        let mut platforms = Vec::new();
        for entry in entries
            .filter(|entry| is_image(&entry.platform))
            .take(MAX_PLATFORMS)
        {
            let manifest = self.stored_manifest(image, &entry.digest).await;
            platforms.push(ListedPlatform {
                platform: entry.platform.clone(),
                digest: entry.digest.clone(),
                size_bytes: manifest.as_ref().map(size_of),
            });
        }
        platforms
    }

    async fn stored_manifest(&self, image: &ListedImage, digest: &Digest) -> Option<ImageManifest> {
        let target = Target::parse(&format!("{}manifests/{digest}", image.base)).ok()?;
        let bytes = self.stored_for_operator(&target, MAX_MANIFEST_BYTES).await;
        ImageManifest::parse(&bytes?).ok()
    }

    /// Returns the platform that the stored configuration of an image states.
    async fn stored_platform(
        &self,
        image: &ListedImage,
        manifest: &ImageManifest,
    ) -> Option<Platform> {
        let digest = &manifest.config()?.digest;
        let target = Target::parse(&format!("{}blobs/{digest}", image.base)).ok()?;
        let bytes = self.stored_for_operator(&target, MAX_CONFIG_BYTES).await;
        platform_of_config(&bytes?)
    }

    /// Returns a stored document, whether or not it needed a credential.
    async fn stored_for_operator(&self, target: &Target, max_bytes: usize) -> Option<Vec<u8>> {
        for audience in [ContentAudience::Everyone, ContentAudience::Permitted] {
            let access = UpstreamAccess {
                audience,
                ..UpstreamAccess::default()
            };
            let own = self.gateway.own();
            let stored = own.stored_document(target, &access, max_bytes).await;
            if let Ok(Some(bytes)) = stored {
                return Some(bytes);
            }
        }
        None
    }
}

/// Returns the size of configuration and layers. A layer may occur twice, and counts once.
fn size_of(manifest: &ImageManifest) -> u64 {
    let mut seen = HashSet::new();
    let blobs = manifest.blobs().filter(|blob| seen.insert(&blob.digest));
    blobs.fold(0, |sum, blob| sum.saturating_add(blob.size_bytes))
}
