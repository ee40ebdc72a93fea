//! Answers from what is stored, on the disk or in the bucket.

use super::preconditions::{self, Selection};
use super::request::{CacheRequest, Delivery, Endpoint, RequestMethod};
use super::response::{BodyResponse, BodySource, CacheResponse, CacheStatus, Representation};
use super::{Gateway, RequestError};
use crate::cache::{self, BucketHit, FileHit, Hit};
use crate::model::{Algorithm, ByteRange, Digests, ExpectedDigests, Record};

/// A smaller file is in memory already once it is opened, and costs less to send than to hand over,
/// in bytes.
const MIN_ACCEL_BYTES: u64 = 16 * 1024;

impl Gateway {
    pub(super) async fn serve_from_disk(
        &self,
        request: &CacheRequest,
        hit: FileHit,
        status: CacheStatus,
    ) -> Result<CacheResponse, RequestError> {
        self.check_digests(request, &hit).await?;
        let representation = Representation::of_record(&hit.record);
        let selection = preconditions::select(&request.conditions, request.range, &representation);
        let source = match self.location_for_nginx(request, &hit, selection) {
            Some(location) => BodySource::Offloaded { location },
            None => BodySource::DiskFile(hit),
        };
        Ok(CacheResponse::Body(Box::new(BodyResponse {
            representation,
            selection,
            source,
            status,
        })))
    }

    /// Sends the client to the bucket where it can follow, and relays otherwise. `None` if the
    /// bucket does not give what it should have.
    pub(super) async fn serve_from_bucket(
        &self,
        request: &CacheRequest,
        hit: &BucketHit,
        status: CacheStatus,
    ) -> Result<Option<CacheResponse>, RequestError> {
        let digests = hit.record.known_digests();
        // A part cannot be compared with the digest of the whole on its way.
        let is_part = request.range.is_some() && !request.expected.is_empty();
        if is_part || needs_other_digests(&request.expected, &digests) {
            return match self.cache.ensure_on_disk(Hit::InBucket(hit.clone())).await {
                Ok(hit) => self.serve_from_disk(request, hit, status).await.map(Some),
                Err(error) => {
                    tracing::warn!(%error, "an object could not be brought back to compare its digest");
                    Ok(None)
                }
            };
        }
        compare(&request.expected, &digests)?;
        if self.can_redirect_to_bucket(request) {
            match hit.presigned_url().await {
                Ok(location) => return Ok(Some(CacheResponse::BucketRedirect { location })),
                Err(error) => tracing::warn!(%error, "a client could not be sent to the bucket"),
            }
        }
        let representation = Representation::of_record(&hit.record);
        let selection = preconditions::select(&request.conditions, request.range, &representation);
        let source = match response_range(request, selection, &hit.record) {
            None => BodySource::Empty,
            Some(range) => match hit.open(range).await {
                Ok(body) => BodySource::Bucket(Box::new(body)),
                Err(error) => {
                    tracing::warn!(%error, sha256 = %hit.record.sha256, "the bucket does not give what it should have");
                    return Ok(None);
                }
            },
        };
        Ok(Some(CacheResponse::Body(Box::new(BodyResponse {
            representation,
            selection,
            source,
            status,
        }))))
    }

    /// An address that was signed is good for GET alone, its answer knows no validator of ours, and
    /// what comes from there is not compared with what the client expects.
    fn can_redirect_to_bucket(&self, request: &CacheRequest) -> bool {
        request.endpoint == Endpoint::Gateway
            && request.method == RequestMethod::Get
            && request.conditions.are_none()
            && request.expected.is_empty()
            // Another gateway that asks so wants to know what the bytes are.
            && !request.only_if_cached
            && self.cache.bucket().is_some_and(|bucket| bucket.config().delivery == cache::BucketDelivery::Redirect)
            && self.config.load().follows_redirects(&request.user_agent)
    }

    /// The name under which our own nginx finds a hit, if nginx is to send it.
    fn location_for_nginx(
        &self,
        request: &CacheRequest,
        hit: &FileHit,
        selection: Selection,
    ) -> Option<String> {
        let config = self.config.load();
        let has_body = match selection {
            Selection::Whole => request.range.is_none(),
            Selection::Part(_) => true,
            Selection::NotModified | Selection::PreconditionFailed | Selection::Unsatisfiable => {
                false
            }
        };
        let is_for_nginx = request.delivery == Delivery::AccelRedirect
            && request.method == RequestMethod::Get
            && has_body
            && hit.size_bytes() >= MIN_ACCEL_BYTES
            && !config.accel_redirect.is_empty()
            && !self.policy.limits_bandwidth();
        is_for_nginx.then(|| format!("{}{}", config.accel_redirect, hit.object_name()))
    }

    /// Holds a hit against what the client expects of it.
    async fn check_digests(
        &self,
        request: &CacheRequest,
        hit: &FileHit,
    ) -> Result<(), RequestError> {
        let mut digests = hit.record.known_digests();
        for expected in request.expected.iter() {
            let algorithm = expected.algorithm();
            if algorithm != Algorithm::Sha256 && !digests.others.contains_key(&algorithm) {
                let digest = self
                    .cache
                    .digest_of(hit, algorithm)
                    .await
                    .map_err(|error| {
                        tracing::warn!(%error, "an object could not be read to compare its digest");
                        RequestError::Unavailable
                    })?;
                digests.others.insert(algorithm, digest.hex());
            }
        }
        compare(&request.expected, &digests)
    }
}

fn compare(expected: &ExpectedDigests, digests: &Digests) -> Result<(), RequestError> {
    match digests.first_mismatch(expected) {
        Some(_) => Err(RequestError::Mismatch {
            expected: expected.clone(),
            found: digests.sha256,
        }),
        None => Ok(()),
    }
}

/// Whether something is expected that only the bytes themselves can tell.
fn needs_other_digests(expected: &ExpectedDigests, digests: &Digests) -> bool {
    let is_known =
        |algorithm| algorithm == Algorithm::Sha256 || digests.others.contains_key(&algorithm);
    expected.iter().any(|digest| !is_known(digest.algorithm()))
}

/// The bytes that an answer shows, if it shows any.
fn response_range(
    request: &CacheRequest,
    selection: Selection,
    record: &Record,
) -> Option<ByteRange> {
    match selection {
        _ if request.method != RequestMethod::Get => None,
        Selection::Whole => record
            .size_bytes
            .checked_sub(1)
            .map(|last| ByteRange { first: 0, last }),
        Selection::Part(part) => Some(part),
        Selection::NotModified | Selection::PreconditionFailed | Selection::Unsatisfiable => None,
    }
}
