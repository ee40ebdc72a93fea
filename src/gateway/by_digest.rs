//! Stored bytes by their digest, whatever targets gave them.

use super::response::{BodyResponse, BodySource, CacheResponse, CacheStatus, Representation};
use super::{Conditions, Gateway, RequestError, preconditions};
use crate::model::{RangeSpec, Sha256, StoredHeaders};

#[derive(Debug)]
pub struct DigestRequest {
    pub sha256: Sha256,
    pub range: Option<RangeSpec>,
    pub conditions: Conditions,
}

impl Gateway {
    /// Answers a request for an object. There is nothing to be fetched: a digest names no origin.
    pub async fn serve_object(&self, request: DigestRequest) -> CacheResponse {
        let object = match self.cache.admin().open_object(request.sha256).await {
            Ok(Some(object)) => object,
            Ok(None) => {
                return CacheResponse::Error(RequestError::NotFound(
                    "no object of this digest is held",
                ));
            }
            Err(error) => {
                tracing::warn!(%error, "an object could not be opened");
                return CacheResponse::Error(RequestError::Unavailable);
            }
        };
        let representation = Representation {
            length: Some(object.size_bytes),
            sha256: Some(object.sha256),
            headers: StoredHeaders::default(),
        };
        let selection = preconditions::select(&request.conditions, request.range, &representation);
        let source = BodySource::Object(object);
        CacheResponse::Body(Box::new(BodyResponse {
            representation,
            selection,
            source,
            status: CacheStatus::Hit,
        }))
    }
}
