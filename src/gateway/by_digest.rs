//! Stored objects by digest, whatever target they belong to.

use std::net::IpAddr;

use super::catalog_files::targets_of_object;
use super::error::RequestError;
use super::preconditions::{self, Conditions, Selection};
use super::representation::{Representation, RepresentationHead};
use super::response::{BodyResponse, BodySource, CacheResponse, CacheStatus};
use super::serve_hit::MIN_HASHED_WHILE_SENT_BYTES;
use super::services::GatewayServices;
use crate::cache::{ObjectHandle, StoredBytes, Verification};
use crate::model::{RangeSpec, Sha256, StoredHeaders, Target};

/// Text for a digest that no stored object has.
pub(super) const NOT_STORED: &str = "no object of this digest is stored for your address";

/// Request for an object.
#[derive(Debug)]
pub struct DigestRequest {
    pub client: IpAddr,
    /// Whether a client over its daily quota is refused.
    pub has_quota: bool,
    pub sha256: Sha256,
    pub range: Option<RangeSpec>,
    pub conditions: Conditions,
}

/// Serves an object from the cache, if `may_have` allows it by the targets on record. A digest
/// names no origin, so a miss is not fetched.
///
/// # Errors
/// [`RequestError::Denied`] if the digest is denied,
/// [`RequestError::NotFound`] if the object is not stored, [`RequestError::Unavailable`] if the
/// cache cannot be read.
pub async fn serve_object(
    services: &GatewayServices,
    request: DigestRequest,
    may_have: impl FnOnce(&[Target]) -> bool,
) -> Result<CacheResponse, RequestError> {
    let (cache, policy) = (&services.cache, &services.policy);
    policy.check_digests([&request.sha256.into()])?;
    if !may_have(&targets_of_object(cache, request.sha256).await) {
        return Err(RequestError::NotFound(NOT_STORED));
    }
    let client = policy.pool_client(request.client);
    let object = match cache.admin().open_object(request.sha256).await {
        Ok(Some(object)) => object,
        Ok(None) => {
            return Err(RequestError::NotFound(NOT_STORED));
        }
        Err(error) => {
            tracing::warn!(%error, sha256 = %request.sha256, "opening an object failed");
            return Err(RequestError::Unavailable);
        }
    };
    let representation = Representation {
        length: Some(object.size_bytes),
        sha256: Some(object.sha256),
        head: RepresentationHead::Stated(StoredHeaders::default()),
        age: None,
        attachment: None,
    };
    let selection = preconditions::select(&request.conditions, request.range, &representation);
    Ok(CacheResponse::Body(Box::new(BodyResponse {
        source: open_source(cache.verification().for_client(client), object, selection).await?,
        representation,
        selection,
        status: CacheStatus::Hit,
    })))
}

/// Returns the source of the selected bytes. The request states their digest, so the object is
/// hashed unless it was hashed lately.
async fn open_source(
    verification: Verification<'_>,
    object: ObjectHandle,
    selection: Selection,
) -> Result<BodySource, RequestError> {
    let (sha256, file) = (object.sha256, object.file());
    if !selection.has_body() || verification.is_verified(sha256, file) {
        return Ok(BodySource::Object(object));
    }
    if selection == Selection::Whole && object.size_bytes >= MIN_HASHED_WHILE_SENT_BYTES {
        let reader = verification.reader(sha256, file.clone(), None);
        return Ok(BodySource::Verifying(Box::new(reader)));
    }
    match verification.verify(&object).await? {
        StoredBytes::Intact => Ok(BodySource::Object(object)),
        StoredBytes::Corrupt => Err(RequestError::NotFound(NOT_STORED)),
    }
}
