//! Walk through an image: its manifest, the manifests of the chosen platforms, and all their blobs.
//!
//! The walk must not know where the parts come from. The main function is [`ensure_image`].

use std::collections::HashSet;
use std::fmt;

use futures_util::{StreamExt as _, stream};

use super::manifest::{Descriptor, ImageManifest, ManifestError, platform_of_config};
use super::platform::Platform;
use super::reference::ImageReference;
use crate::model::Digest;

/// Blobs of one image that are fetched at the same time. Container clients fetch as many.
const BLOBS_AT_ONCE: usize = 4;

/// Bound on the manifests of one image. Indexes have two for each platform.
const MAX_MANIFESTS: usize = 500;

/// Bound on the blobs of one image with all its platforms.
const MAX_BLOBS: usize = 10_000;

/// Bound on indexes within indexes.
const MAX_DEPTH: usize = 4;

/// Bound on the platforms that an error names.
const MAX_NAMED_PLATFORMS: usize = 20;

/// A manifest or a blob that is stored now.
#[derive(Debug)]
pub struct StoredPart<T> {
    pub content: T,
    pub size_bytes: u64,
    /// Bytes that were fetched for it.
    pub fetched_bytes: u64,
}

/// The parts of one image. Each function has a part stored.
pub trait ImageParts: Sync {
    type Error: Send;

    /// Returns a manifest with its digest.
    fn manifest(
        &self,
        reference: &ImageReference,
    ) -> impl Future<Output = Result<StoredPart<(Digest, Vec<u8>)>, Self::Error>> + Send;

    fn blob(
        &self,
        blob: &Descriptor,
    ) -> impl Future<Output = Result<StoredPart<()>, Self::Error>> + Send;

    /// Returns the bytes of a stored blob, if it is small.
    fn document(
        &self,
        blob: &Descriptor,
    ) -> impl Future<Output = Result<Vec<u8>, Self::Error>> + Send;
}

/// An image whose parts are all stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsuredImage {
    /// Digest of the manifest that the name means.
    pub digest: Digest,
    pub platforms: Vec<Platform>,
    pub manifests: usize,
    pub blobs: usize,
    pub size_bytes: u64,
    pub fetched_bytes: u64,
}

/// Error returned for an image that is not stored as a whole. Other parts are stored.
#[derive(Debug, thiserror::Error)]
pub enum EnsureImageError<E> {
    #[error("{part}: {error}")]
    Part { part: String, error: E },
    #[error(transparent)]
    Image(#[from] ImageFault),
}

/// Fault of an image, whatever its registry.
#[derive(Debug, thiserror::Error)]
pub enum ImageFault {
    #[error("{part}: {error}")]
    Manifest { part: String, error: ManifestError },
    #[error("the image is not for {wanted}, but for {}", Platforms(has))]
    NoPlatform {
        wanted: Platform,
        has: Vec<Platform>,
    },
    #[error("the image has too many parts, or indexes within indexes")]
    TooManyParts,
}

/// Platforms in the text of an error.
struct Platforms<'a>(&'a [Platform]);

impl fmt::Display for Platforms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no stated platform");
        }
        let named = self.0.iter().take(MAX_NAMED_PLATFORMS);
        let named: Vec<String> = named.map(ToString::to_string).collect();
        f.write_str(&named.join(", "))
    }
}

/// Has all parts of an image stored, for these platforms, or for all if there are none.
///
/// # Errors
/// [`EnsureImageError`] for the first part that failed. The others are tried all the same.
pub async fn ensure_image<P: ImageParts>(
    parts: &P,
    reference: &ImageReference,
    platforms: &[Platform],
) -> Result<EnsuredImage, EnsureImageError<P::Error>> {
    let (digest, chosen) = read_manifests(parts, reference, platforms).await?;
    let Chosen {
        manifests,
        mut image,
    } = chosen;
    let mut seen = HashSet::new();
    let blobs = manifests.iter().flat_map(ImageManifest::blobs);
    let blobs: Vec<_> = blobs.filter(|blob| seen.insert(&blob.digest)).collect();
    if blobs.len() > MAX_BLOBS {
        return Err(ImageFault::TooManyParts.into());
    }
    let storing: Vec<_> = blobs.iter().map(|blob| store_blob(parts, blob)).collect();
    let mut stored = std::pin::pin!(stream::iter(storing).buffer_unordered(BLOBS_AT_ONCE));
    let mut failure = None;
    while let Some(result) = stored.next().await {
        match result {
            Ok(part) => image.count(&part),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    if let ([manifest], [wanted, ..]) = (&manifests[..], platforms)
        && image.platforms.is_empty()
    {
        let found = platform_of(parts, manifest).await?;
        let is_meant = |has: &Platform| platforms.iter().any(|wanted| wanted.includes(has));
        if !found.as_ref().is_some_and(is_meant) {
            return Err(ImageFault::NoPlatform {
                wanted: wanted.clone(),
                has: found.into_iter().collect(),
            }
            .into());
        }
        image.platforms.extend(found);
    }
    Ok(EnsuredImage {
        digest,
        blobs: blobs.len(),
        manifests: manifests.len(),
        platforms: image.platforms,
        size_bytes: image.size_bytes,
        fetched_bytes: image.fetched_bytes,
    })
}

async fn store_blob<P: ImageParts>(
    parts: &P,
    blob: &Descriptor,
) -> Result<StoredPart<()>, EnsureImageError<P::Error>> {
    let stored = parts.blob(blob).await;
    stored.map_err(|error| EnsureImageError::Part {
        part: format!("blob {}", blob.digest),
        error,
    })
}

/// The manifests of the chosen platforms.
#[derive(Default)]
struct Chosen {
    manifests: Vec<ImageManifest>,
    image: Counted,
}

/// Sums of the parts that are stored.
#[derive(Default)]
struct Counted {
    platforms: Vec<Platform>,
    size_bytes: u64,
    fetched_bytes: u64,
}

impl Counted {
    fn count<T>(&mut self, part: &StoredPart<T>) {
        self.size_bytes += part.size_bytes;
        self.fetched_bytes += part.fetched_bytes;
    }
}

/// Reads the manifest, and those of the chosen platforms below it.
async fn read_manifests<P: ImageParts>(
    parts: &P,
    reference: &ImageReference,
    platforms: &[Platform],
) -> Result<(Digest, Chosen), EnsureImageError<P::Error>> {
    let mut chosen = Chosen::default();
    let (mut first, mut seen) = (None, HashSet::new());
    let mut queue = vec![(reference.clone(), 0)];
    while let Some((reference, depth)) = queue.pop() {
        let name = || format!("manifest {reference}");
        let read = parts.manifest(&reference).await;
        let stored = read.map_err(|error| EnsureImageError::Part {
            part: name(),
            error,
        })?;
        chosen.image.count(&stored);
        let (digest, bytes) = stored.content;
        let manifest = ImageManifest::parse(&bytes).map_err(|error| {
            let part = name();
            ImageFault::Manifest { part, error }
        })?;
        let entries = choose(manifest.manifests(), platforms, &mut chosen.image.platforms)?;
        seen.insert(digest.clone());
        first.get_or_insert(digest);
        for entry in entries
            .into_iter()
            .filter(|entry| seen.insert(entry.digest.clone()))
        {
            queue.push((ImageReference::Digest(entry.digest.clone()), depth + 1));
        }
        chosen.manifests.push(manifest);
        if depth >= MAX_DEPTH || chosen.manifests.len() + queue.len() > MAX_MANIFESTS {
            return Err(ImageFault::TooManyParts.into());
        }
    }
    let digest = first.ok_or(ImageFault::TooManyParts)?;
    Ok((digest, chosen))
}

/// Chooses the entries of an index by their platforms, and notes the platforms. All entries without
/// a platform are indexes, which are looked through.
fn choose<'a>(
    entries: &'a [Descriptor],
    platforms: &[Platform],
    noted: &mut Vec<Platform>,
) -> Result<Vec<&'a Descriptor>, ImageFault> {
    let stated = || entries.iter().filter_map(|entry| entry.platform.as_ref());
    let has_indexes = entries.iter().any(|entry| entry.platform.is_none());
    for wanted in platforms {
        if !entries.is_empty() && !has_indexes && !stated().any(|has| wanted.includes(has)) {
            return Err(ImageFault::NoPlatform {
                wanted: wanted.clone(),
                has: stated().filter(|has| !has.is_unknown()).cloned().collect(),
            });
        }
    }
    let is_meant = |entry: &&Descriptor| match &entry.platform {
        Some(has) => platforms.is_empty() || platforms.iter().any(|wanted| wanted.includes(has)),
        None => true,
    };
    let chosen: Vec<&Descriptor> = entries.iter().filter(is_meant).collect();
    for platform in chosen.iter().filter_map(|entry| entry.platform.as_ref()) {
        if !platform.is_unknown() && !noted.contains(platform) {
            noted.push(platform.clone());
        }
    }
    Ok(chosen)
}

/// Returns the platform that the configuration of an image states.
async fn platform_of<P: ImageParts>(
    parts: &P,
    manifest: &ImageManifest,
) -> Result<Option<Platform>, EnsureImageError<P::Error>> {
    let Some(config) = manifest.config() else {
        return Ok(None);
    };
    let document = parts.document(config).await;
    let document = document.map_err(|error| EnsureImageError::Part {
        part: format!("blob {}", config.digest),
        error,
    })?;
    Ok(platform_of_config(&document))
}
