//! Images that a layout or an archive names, with the names under which they are stored.
//!
//! The functions block. The main function is [`find_roots`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::Deserialize;
use serde_json::json;

use super::image_files::{FoundPart, ImageFiles, ImageFilesError};
use super::stop_flag::StopFlag;
use crate::model::{Digest, ExpectedDigests, Hasher, Sha256};
use crate::registry::{
    ContainerRegistry, Descriptor, ImageManifest, ImageReference, ImageTag, ManifestError,
    RegistryError, RegistryTable, RepositoryName,
};

/// Annotations with the name of an image, the complete one first.
const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Media types of a manifest that is made for an archive of docker, whose layers are not
/// compressed.
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Bound on the images of one archive.
const MAX_IMAGES: usize = 1000;

/// Error returned for an image without a valid name or manifest.
#[derive(Debug, thiserror::Error)]
pub enum ImageRootError {
    #[error(transparent)]
    Files(#[from] ImageFilesError),
    #[error("{0} is missing; a layout of OCI has it, and an archive has it or manifest.json")]
    NoIndex(&'static str),
    #[error("{0}: {1}")]
    Manifest(String, ManifestError),
    #[error("manifest.json is not that of docker save")]
    DockerForm,
    #[error("it has more than {MAX_IMAGES} images")]
    TooManyImages,
    #[error("it does not name an image of a known registry; use --image HOST/NAME:TAG")]
    NoName,
    #[error("it has several images; use --image HOST/NAME without a tag, or --image-registry HOST")]
    SeveralImages,
    #[error("{0}: {1}")]
    Name(String, RegistryError),
    #[error("{0}: the file {1} has other bytes than its name states")]
    WrongConfig(String, String),
    #[error("{0}: no file has the digest {1} of a layer")]
    NoLayer(String, String),
}

/// Options that name images.
#[derive(Debug, Clone, Default)]
pub struct ImageNaming {
    /// `HOST/NAME:TAG`, or `HOST/NAME` for the tags that the files state.
    pub image: Option<String>,
    /// Registry of all names in the files.
    pub registry: Option<String>,
}

/// Name of an image at its registry.
#[derive(Debug, Clone)]
pub struct StoredName {
    pub registry: Arc<ContainerRegistry>,
    pub repository: RepositoryName,
    /// `None` for an image that is found by its digest only.
    pub tag: Option<ImageTag>,
}

/// An image of the files.
#[derive(Debug)]
pub struct ImageRoot {
    pub name: StoredName,
    pub digest: Digest,
    /// Media type that the index states.
    pub media_type: String,
    /// Parts that are no files of their own name: those of an archive of docker.
    pub parts: HashMap<Digest, RootPart>,
}

/// Content of a part.
#[derive(Debug, Clone)]
pub enum RootPart {
    File(FoundPart),
    /// A manifest that was made for the image.
    Made(Vec<u8>),
}

/// Image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
}

/// Configuration of an image, as far as it is compared.
#[derive(Deserialize)]
struct ConfigDocument {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl StoredName {
    /// Returns the name for messages.
    #[must_use]
    pub fn text(&self) -> String {
        let (registry, repository) = (self.registry.name(), &self.repository);
        match &self.tag {
            Some(tag) => format!("{registry}/{repository}:{}", tag.as_str()),
            None => format!("{registry}/{repository}"),
        }
    }

    /// Returns the reference of the tag.
    #[must_use]
    pub fn reference(&self) -> Option<ImageReference> {
        self.tag.clone().map(ImageReference::Tag)
    }
}

/// Returns the images that `index.json` or `manifest.json` name.
///
/// # Errors
/// [`ImageRootError`] if one of them has no valid name, or is damaged.
pub fn find_roots(
    files: &ImageFiles,
    naming: &ImageNaming,
    table: &RegistryTable,
    (read_bytes, stop): (&AtomicU64, &StopFlag),
) -> Result<Vec<ImageRoot>, ImageRootError> {
    let namer = Namer { naming, table };
    if let Some(index) = files.document("index.json")? {
        let index = ImageManifest::parse(&index);
        let index = index.map_err(|error| ImageRootError::Manifest("index.json".into(), error))?;
        return roots_of_index(index.manifests(), &namer);
    }
    let Some(document) = files.document("manifest.json")? else {
        return Err(ImageRootError::NoIndex("index.json"));
    };
    let images: Vec<DockerImage> =
        serde_json::from_slice(&document).map_err(|_| ImageRootError::DockerForm)?;
    if images.len() > MAX_IMAGES {
        return Err(ImageRootError::TooManyImages);
    }
    let by_digest = files.hash_all(read_bytes, stop)?;
    let mut roots = Vec::new();
    for image in &images {
        let (digest, parts) = docker_parts(files, image, &by_digest)?;
        let stated = image.repo_tags.as_deref().unwrap_or_default();
        for name in namer.names(stated, images.len())? {
            roots.push(ImageRoot {
                name,
                digest: digest.clone(),
                media_type: DOCKER_MANIFEST.to_owned(),
                parts: parts.clone(),
            });
        }
    }
    Ok(roots)
}

fn roots_of_index(
    entries: &[Descriptor],
    namer: &Namer<'_>,
) -> Result<Vec<ImageRoot>, ImageRootError> {
    if entries.len() > MAX_IMAGES {
        return Err(ImageRootError::TooManyImages);
    }
    let mut roots = Vec::new();
    for entry in entries {
        let name = entry
            .annotations
            .get(FULL_NAME)
            .or_else(|| entry.annotations.get(REF_NAME));
        let stated: Vec<String> = name.into_iter().cloned().collect();
        for name in namer.names(&stated, entries.len())? {
            roots.push(ImageRoot {
                name,
                digest: entry.digest.clone(),
                media_type: entry.media_type.clone(),
                parts: HashMap::new(),
            });
        }
    }
    if roots.is_empty() {
        return Err(ImageRootError::NoName);
    }
    Ok(roots)
}

/// Gives images their names.
struct Namer<'a> {
    naming: &'a ImageNaming,
    table: &'a RegistryTable,
}

impl Namer<'_> {
    /// Returns the names of one of `images` images, for which the files state these names.
    fn names(&self, stated: &[String], images: usize) -> Result<Vec<StoredName>, ImageRootError> {
        let Some(wanted) = &self.naming.image else {
            let named: Result<Vec<_>, _> =
                stated.iter().map(|name| self.stated_name(name)).collect();
            let named: Vec<StoredName> = named?;
            return if named.is_empty() {
                Err(ImageRootError::NoName)
            } else {
                Ok(named)
            };
        };
        let (name, tag) = split_tag(wanted);
        if tag.is_some() && images > 1 {
            return Err(ImageRootError::SeveralImages);
        }
        let (host, rest) = name.split_once('/').ok_or(ImageRootError::NoName)?;
        let tags: Vec<Option<&str>> = match tag {
            Some(tag) => vec![Some(tag)],
            None if stated.is_empty() => vec![None],
            // The name of a layout may be a tag only.
            None => stated
                .iter()
                .map(|name| Some(split_tag(name).1.unwrap_or(name)))
                .collect(),
        };
        let resolve = |tag: Option<&str>| self.resolve(wanted, host, rest, tag);
        tags.into_iter().map(resolve).collect()
    }

    /// Returns the name of an image by a name in the files, such as `mill/app:1.0`.
    fn stated_name(&self, stated: &str) -> Result<StoredName, ImageRootError> {
        let (name, tag) = split_tag(stated);
        let tag = tag.ok_or(ImageRootError::NoName)?;
        let host = name.split_once('/').filter(|(host, _)| is_host(host));
        let (host, rest) = match (&self.naming.registry, host) {
            (Some(registry), host) => (registry.as_str(), host.map_or(name, |(_, rest)| rest)),
            (None, Some((host, rest))) => (host, rest),
            (None, None) => return Err(ImageRootError::NoName),
        };
        self.resolve(stated, host, rest, Some(tag))
    }

    fn resolve(
        &self,
        text: &str,
        host: &str,
        name: &str,
        tag: Option<&str>,
    ) -> Result<StoredName, ImageRootError> {
        let invalid = |error| ImageRootError::Name(text.to_owned(), error);
        let (registry, repository) = self.table.resolve(Some(host), name).map_err(invalid)?;
        let tag = tag.map(ImageTag::parse).transpose().map_err(invalid)?;
        Ok(StoredName {
            registry,
            repository,
            tag,
        })
    }
}

/// Whether the first part of a name is a host, as for container clients.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

/// Separates the tag of a name, which is behind the last slash.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        _ => (name, None),
    }
}

/// Makes the manifest of an image in an archive of docker. Its layers are found by the digests that
/// the configuration states, and not by names.
fn docker_parts(
    files: &ImageFiles,
    image: &DockerImage,
    by_digest: &HashMap<Sha256, FoundPart>,
) -> Result<(Digest, HashMap<Digest, RootPart>), ImageRootError> {
    let name = || {
        image
            .repo_tags
            .iter()
            .flatten()
            .next()
            .cloned()
            .unwrap_or_default()
    };
    let config = files.find(&image.config).map_err(ImageFilesError::from)?;
    let config = config.ok_or(ImageRootError::DockerForm)?;
    let bytes = config.document()?;
    let config_digest = digest_of(&bytes);
    let file_name = image.config.rsplit('/').next().unwrap_or_default();
    let stated = file_name.strip_suffix(".json").unwrap_or(file_name);
    if stated != config_digest.hex() {
        return Err(ImageRootError::WrongConfig(name(), image.config.clone()));
    }
    let document: ConfigDocument =
        serde_json::from_slice(&bytes).map_err(|_| ImageRootError::DockerForm)?;
    let mut parts = HashMap::new();
    let mut layers = Vec::new();
    for diff_id in &document.rootfs.diff_ids {
        let hex = diff_id.strip_prefix("sha256:").unwrap_or_default();
        let found = hex.parse::<Sha256>().ok();
        let found = found.and_then(|sha256| Some((sha256, by_digest.get(&sha256)?)));
        let (sha256, part) =
            found.ok_or_else(|| ImageRootError::NoLayer(name(), diff_id.clone()))?;
        let digest = Digest::from(sha256);
        layers.push(json!({"mediaType": DOCKER_LAYER, "size": part.size_bytes,
            "digest": digest.to_string()}));
        parts.insert(digest, RootPart::File(part.clone()));
    }
    let manifest = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": config.size_bytes,
            "digest": config_digest.to_string()},
        "layers": layers});
    let manifest = manifest.to_string().into_bytes();
    let digest = digest_of(&manifest);
    parts.insert(config_digest, RootPart::File(config));
    parts.insert(digest.clone(), RootPart::Made(manifest));
    Ok((digest, parts))
}

/// Returns the SHA-256 of some bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(bytes);
    hasher.finish().sha256.into()
}
