//! Lists of referrers below `/v2/`, such as the signatures of an image.
//!
//! The main type is [`ReferrerRequest`].

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};

use super::state::HttpService;
use crate::gateway::RequestError;
use crate::limits::TransferKind;
use crate::model::{Digest, Target};
use crate::registry::{
    ContainerRegistry, INDEX_TYPE, ImageReader, ImageSource, ReferrerList, RepositoryName,
};

/// Field that names the filters of a list (OCI distribution specification 1.1).
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The filter by the type of an artifact.
const TYPE_FILTER: &str = "artifactType";

/// Request for the referrers of a manifest.
pub struct ReferrerRequest {
    pub registry: Arc<ContainerRegistry>,
    pub name: RepositoryName,
    pub subject: Digest,
    /// Type of the referrers that are meant. `None` for all.
    pub artifact_type: Option<String>,
    pub target: Target,
    pub client: IpAddr,
    /// Whether the registry must not be asked.
    pub only_if_cached: bool,
}

impl ReferrerRequest {
    /// Returns the list.
    ///
    /// # Errors
    /// [`RequestError`] if the client is not admitted, or there is no list.
    pub async fn get(&self, service: &HttpService) -> Result<ReferrerList, RequestError> {
        let gateway = &service.gateway;
        gateway.admit_client(self.client, TransferKind::Download)?;
        let source = ImageSource {
            registry: &self.registry,
            name: &self.name,
            reader: ImageReader::Client(self.client),
        };
        let filter = self.artifact_type.as_deref();
        let only_if_cached = self.only_if_cached;
        let images = &service.images;
        Box::pin(images.referrers(&source, &self.subject, filter, only_if_cached)).await
    }
}

/// Renders a list.
pub fn referrers_page(list: ReferrerList) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, INDEX_TYPE));
    response.insert_header((CACHE_CONTROL, "no-cache"));
    if list.is_filtered {
        response.insert_header((FILTERS_APPLIED, TYPE_FILTER));
    }
    response.body(list.body)
}
