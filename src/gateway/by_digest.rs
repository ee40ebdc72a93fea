//! Stored objects by digest, whatever target they belong to.

use super::error::RequestError;
use super::preconditions::{self, Conditions};
use super::representation::{Representation, RepresentationHead};
use super::response::{BodyResponse, BodySource, CacheResponse, CacheStatus};
use crate::cache::Cache;
use crate::model::{RangeSpec, Sha256, StoredHeaders};

/// Request for an object.
#[derive(Debug)]
pub struct DigestRequest {
    pub sha256: Sha256,
    pub range: Option<RangeSpec>,
    pub conditions: Conditions,
}

/// Serves an object from the cache. A digest names no origin, so a miss is not fetched.
///
/// # Errors
/// [`RequestError::NotFound`] if the object is not stored, [`RequestError::Unavailable`] if the
/// cache cannot be read.
pub async fn serve_object(
    cache: &Cache,
    request: DigestRequest,
) -> Result<CacheResponse, RequestError> {
    let object = match cache.admin().open_object(request.sha256).await {
        Ok(Some(object)) => object,
        Ok(None) => {
            return Err(RequestError::NotFound("no object of this digest is stored"));
        }
        Err(error) => {
            tracing::warn!(%error, sha256 = %request.sha256, "opening an object failed");
            return Err(RequestError::Unavailable);
        }
    };
    let representation = Representation {
        length: Some(object.size_bytes),
        sha256: Some(object.sha256),
        head: RepresentationHead::Recorded(StoredHeaders::default()),
        age: None,
        attachment: None,
    };
    let selection = preconditions::select(&request.conditions, request.range, &representation);
    Ok(CacheResponse::Body(Box::new(BodyResponse {
        representation,
        selection,
        source: BodySource::Object(object),
        status: CacheStatus::Hit,
    })))
}
