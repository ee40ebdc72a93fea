//! Parts of images for jobs: from the store, or from the registry with its token.
//!
//! The main type is [`ImagePreheater`].

use std::sync::Arc;

use super::ensure_image::{EnsureImageError, EnsuredImage, ImageParts, StoredPart, ensure_image};
use super::image_name::ImageName;
use super::images::ContainerImages;
use super::manifest::{Descriptor, MAX_MANIFEST_BYTES};
use super::platform::Platform;
use super::reference::ImageReference;
use super::source::{ImageReader, ImageSource};
use crate::gateway::RequestError;
use crate::model::Digest;

/// Has images stored for jobs of operators.
pub struct ImagePreheater {
    images: Arc<ContainerImages>,
}

/// The parts of one image at its registry.
struct RegistryParts<'a> {
    images: &'a ContainerImages,
    source: ImageSource<'a>,
}

impl ImagePreheater {
    #[must_use]
    pub fn new(images: Arc<ContainerImages>) -> Self {
        Self { images }
    }

    /// Has an image stored, for these platforms, or for all if there are none. No limit of a client
    /// applies.
    ///
    /// # Errors
    /// [`EnsureImageError`] for the first part that is not stored.
    pub async fn ensure(
        &self,
        name: &ImageName,
        platforms: &[Platform],
    ) -> Result<EnsuredImage, EnsureImageError<RequestError>> {
        let registries = self.images.registries();
        let resolved = registries.resolve(Some(&name.registry), name.repository.as_str());
        let (registry, repository) = resolved.map_err(|error| EnsureImageError::Part {
            part: name.to_string(),
            error: error.into(),
        })?;
        let parts = RegistryParts {
            images: &self.images,
            source: ImageSource {
                registry: &registry,
                name: &repository,
                reader: ImageReader::Job,
            },
        };
        Box::pin(ensure_image(&parts, &name.reference, platforms)).await
    }
}

impl ImageParts for RegistryParts<'_> {
    type Error = RequestError;

    async fn manifest(
        &self,
        reference: &ImageReference,
    ) -> Result<StoredPart<(Digest, Vec<u8>)>, RequestError> {
        let (images, source) = (self.images, &self.source);
        let digest = match reference {
            ImageReference::Digest(digest) => digest.clone(),
            ImageReference::Tag(_) => {
                let tag = source.registry.manifest(source.name, reference)?;
                images.digest_of_tag(source, &tag).await?
            }
        };
        let by_digest = ImageReference::Digest(digest.clone());
        let target = source.registry.manifest(source.name, &by_digest)?;
        let fetched_bytes = images.ensure(source, &target, &digest).await?;
        let bytes = images.document(source, &target, MAX_MANIFEST_BYTES).await?;
        Ok(StoredPart {
            size_bytes: bytes.len() as u64,
            content: (digest, bytes),
            fetched_bytes,
        })
    }

    async fn blob(&self, blob: &Descriptor) -> Result<StoredPart<()>, RequestError> {
        let target = self.source.registry.blob(self.source.name, &blob.digest)?;
        let fetched_bytes = self
            .images
            .ensure(&self.source, &target, &blob.digest)
            .await?;
        Ok(StoredPart {
            content: (),
            size_bytes: blob.size_bytes,
            fetched_bytes,
        })
    }

    async fn document(&self, blob: &Descriptor) -> Result<Vec<u8>, RequestError> {
        let target = self.source.registry.blob(self.source.name, &blob.digest)?;
        self.images
            .document(&self.source, &target, MAX_MANIFEST_BYTES)
            .await
    }
}
