//! `/api/v1/images`: container images whose tags are known, with their platforms and sizes.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::list_part::part_of;
use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::Moment;
use crate::admin::{AdminError, AdminService, FullList, ListReader};
use crate::gateway::RequestError;
use crate::registry::{ContainerImages, ListedImage, ListedPlatform};

/// Bound on the images of one page. The manifests of each are read.
const MAX_PAGE_LENGTH: usize = 200;

/// One page of the list of images.
#[derive(Serialize, ToSchema)]
pub struct ImagePage {
    images: Vec<ImageEntry>,
    /// Number of all images that meet the filters.
    total: usize,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
}

/// A tag with the image that it last meant.
#[derive(Serialize, ToSchema)]
pub struct ImageEntry {
    /// `HOST/NAME:TAG`.
    name: String,
    /// Name of the registry in the configuration, or else its host.
    registry: String,
    repository: String,
    tag: String,
    /// Digest of the manifest or index.
    digest: String,
    /// When the registry last stated the digest. Null for an adopted image.
    checked: Option<Moment>,
    /// Empty if the manifest is not stored.
    platforms: Vec<PlatformEntry>,
}

/// Image of one platform.
#[derive(Serialize, ToSchema)]
pub struct PlatformEntry {
    /// Such as `linux/amd64`. Null if it is not known.
    platform: Option<String>,
    digest: String,
    /// Size of its configuration and layers. Null if its manifest is not stored.
    size_bytes: Option<u64>,
}

/// Filter and part of the list of images.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ImageQuery {
    /// Only images whose name `HOST/NAME:TAG` contains this text
    #[param(min_length = 1)]
    name: Option<String>,
    /// Only images of this registry
    #[param(min_length = 1)]
    registry: Option<String>,
    /// Only images behind this one, which is `next` of the page before
    #[param(min_length = 1)]
    after: Option<String>,
    /// Number of images on a page
    #[param(value_type = Option<usize>, minimum = 1, maximum = 200)]
    limit: usize,
}

/// Lists the container images whose tags are known, one page at a time, by name
#[utoipa::path(
    get, path = "/api/v1/images", operation_id = "listImages", tag = "images",
    params(ImageQuery),
    responses((status = 200, description = "A page of the list", body = ImagePage)),
    security(("reader" = []), ("operator" = [])),
)]
pub async fn list(
    (admin, images): (&AdminService, &ContainerImages),
    reader: &ListReader,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let wanted = ImageQuery::take(query)?;
    let _full = FullList::begin(admin, reader)?;
    let listed = images.list().await.map_err(|error| {
        tracing::warn!(%error, "the known tags cannot be read");
        RequestError::Unavailable
    })?;
    let listed = listed
        .into_iter()
        .filter(|image| wanted.accepts(image))
        .collect();
    let after = wanted.after.as_deref();
    let part = part_of(listed, after, wanted.limit, |image: &ListedImage| {
        image.name.as_str()
    })?;
    let mut entries = Vec::new();
    for image in &part.entries {
        let platforms = images.platforms(image).await;
        entries.push(entry(image, &platforms));
    }
    ok(&ImagePage {
        images: entries,
        total: part.total,
        next: part.next,
    })
}

impl ImageQuery {
    fn take(mut query: Query<'_>) -> Result<Self, RequestError> {
        let wanted = Self {
            name: query.text("name")?,
            registry: query.text("registry")?,
            after: query.text("after")?,
            limit: query.limit(MAX_PAGE_LENGTH)?,
        };
        query.finish()?;
        Ok(wanted)
    }

    fn accepts(&self, image: &ListedImage) -> bool {
        self.name
            .as_ref()
            .is_none_or(|name| image.name.contains(name))
            && self
                .registry
                .as_ref()
                .is_none_or(|registry| image.registry == *registry)
    }
}

fn entry(image: &ListedImage, platforms: &[ListedPlatform]) -> ImageEntry {
    let platforms = platforms.iter().map(|listed| PlatformEntry {
        platform: listed.platform.as_ref().map(ToString::to_string),
        digest: listed.digest.to_string(),
        size_bytes: listed.size_bytes,
    });
    ImageEntry {
        name: image.name.clone(),
        registry: image.registry.clone(),
        repository: image.repository.clone(),
        tag: image.tag.clone(),
        digest: image.digest.to_string(),
        checked: image.checked_at.map(Into::into),
        platforms: platforms.collect(),
    }
}
