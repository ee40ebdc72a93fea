//! Responses from stored objects, on disk or in the bucket.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::config::Config;
use super::digest_check::{check_digests, mismatch};
use super::error::RequestError;
use super::preconditions::{self, Selection};
use super::representation::Representation;
use super::request::{CacheRequest, ClientRedirects, FileDelivery, RequestMethod};
use super::response::{BodyResponse, BodySource, CacheResponse, CacheStatus};
use super::services::GatewayServices;
use crate::cache::{self, BucketHit, FileHit, Hit, StoredBytes, Verification};
use crate::model::{ByteRange, DigestMatch, Record, Sha256};

/// Smallest file that is offloaded to nginx, in bytes. A smaller one is in memory once it is open,
/// so that sending it costs less than the offload.
const MIN_ACCEL_BYTES: u64 = 16 * 1024;

/// Smallest object that is hashed while it is sent, in bytes. A smaller one is hashed before, so
/// that a corrupt one can be fetched again for the same request.
pub const MIN_HASHED_WHILE_SENT_BYTES: u64 = 4 << 20;

/// Outcome of serving a hit.
pub enum ServedHit {
    Response(CacheResponse),
    /// The bucket does not have the object, although it should, or the object is corrupt.
    Unavailable(Sha256),
    /// The object does not have the digests that the client states.
    OtherBytes(Sha256),
}

/// Serves stored objects for one request.
pub struct HitResponder<'a> {
    pub services: &'a GatewayServices,
    pub config: &'a ArcSwap<Config>,
    pub request: &'a CacheRequest,
    pub verification: Verification<'a>,
}

impl HitResponder<'_> {
    /// Serves a hit, with the status that its response shall have.
    ///
    /// Returns `None` if the bucket does not have the object, although it should, or if the client
    /// states a digest and the object on the disk is corrupt.
    ///
    /// # Errors
    /// [`RequestError::Denied`] if the digest of the object is denied,
    /// [`RequestError::Mismatch`] if the object does not have the digests that the client expects,
    /// [`RequestError::Unavailable`] if it cannot be read to compute them.
    pub async fn serve(
        &self,
        hit: Hit,
        status: CacheStatus,
    ) -> Result<Option<CacheResponse>, RequestError> {
        self.services
            .policy
            .check_digests([&hit.record().sha256.into()])?;
        match hit {
            Hit::OnDisk(hit) => {
                let (sha256, size_bytes) = (hit.record.sha256, hit.size_bytes());
                let served = self.serve_from_disk(hit, status).await?;
                if let (Some(_), Some(index)) = (&served, self.services.cluster.shared_index()) {
                    index.state_held(sha256, size_bytes);
                }
                Ok(served)
            }
            Hit::InBucket(hit) => Box::pin(self.serve_from_bucket(hit, status)).await,
        }
    }

    async fn serve_from_disk(
        &self,
        hit: FileHit,
        status: CacheStatus,
    ) -> Result<Option<CacheResponse>, RequestError> {
        let expected = &self.request.expected;
        if check_digests(self.verification, expected, &hit).await? == StoredBytes::Corrupt {
            return Ok(None);
        }
        let (representation, selection) = self.select(&hit.record);
        let has_body = self.body_range(selection, &hit.record).is_some();
        let must_verify = has_body
            && !expected.is_empty()
            && !self.verification.is_verified(hit.record.sha256, hit.file());
        let is_hashed_while_sent = must_verify
            && selection == Selection::Whole
            && hit.size_bytes() >= MIN_HASHED_WHILE_SENT_BYTES;
        if must_verify
            && !is_hashed_while_sent
            && self.verification.verify(&hit).await? == StoredBytes::Corrupt
        {
            return Ok(None);
        }
        let source = if is_hashed_while_sent {
            let (sha256, target) = (hit.record.sha256, hit.record.target.clone());
            let file = hit.file().clone();
            let reader = self.verification.reader(sha256, file, Some(target));
            BodySource::Verifying(Box::new(reader))
        } else if let Some(location) = self.accel_location(&hit, selection) {
            BodySource::Offloaded { location }
        } else {
            BodySource::DiskFile(hit)
        };
        Ok(Some(CacheResponse::Body(Box::new(BodyResponse {
            representation,
            selection,
            source,
            status,
        }))))
    }

    /// Redirects the client to the bucket if possible, and otherwise relays the object.
    async fn serve_from_bucket(
        &self,
        hit: BucketHit,
        status: CacheStatus,
    ) -> Result<Option<CacheResponse>, RequestError> {
        let expected = &self.request.expected;
        let by_record = hit.record.known_digests().compare(expected);
        if by_record == DigestMatch::Other {
            return Err(mismatch(expected, hit.record.sha256));
        }
        // A range cannot be verified against the digest of the whole object while it is relayed.
        let is_part = self.request.range.is_some() && !expected.is_empty();
        if is_part || by_record == DigestMatch::Unknown {
            return match self.services.cache.ensure_on_disk(Hit::InBucket(hit)).await {
                Ok(hit) => self.serve_from_disk(hit, status).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot copy an object to disk to compare its digest");
                    Ok(None)
                }
            };
        }
        if self.can_redirect_to_bucket() {
            match hit.presigned_url().await {
                Ok(location) => return Ok(Some(CacheResponse::BucketRedirect { location })),
                Err(error) => tracing::warn!(%error, "cannot redirect a client to the bucket"),
            }
        }
        let (representation, selection) = self.select(&hit.record);
        let source = match self.body_range(selection, &hit.record) {
            None => BodySource::Empty,
            Some(range) => match hit.open(range).await {
                Ok(body) => BodySource::Bucket(Box::new(body)),
                Err(error) => {
                    tracing::warn!(
                        %error,
                        sha256 = %hit.record.sha256,
                        "cannot read an object from the bucket"
                    );
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

    fn select(&self, record: &Arc<Record>) -> (Representation, Selection) {
        let representation = Representation::from_record(Arc::clone(record));
        let request = self.request;
        let selection = preconditions::select(&request.conditions, request.range, &representation);
        (representation, selection)
    }

    /// Returns whether the client may be redirected to the bucket.
    ///
    /// A presigned URL allows GET only. The bucket does not know Millpond's entity tags, and does
    /// not compare its bytes with the digests that the client expects.
    fn can_redirect_to_bucket(&self) -> bool {
        let request = self.request;
        let bucket_redirects = || {
            self.services
                .cache
                .bucket()
                .is_some_and(|bucket| bucket.config().delivery == cache::BucketDelivery::Redirect)
        };
        request.redirects == ClientRedirects::Allowed
            && request.method == RequestMethod::Get
            && request.conditions.is_empty()
            && request.expected.is_empty()
            // Another gateway that sends `only-if-cached` needs the digest of the bytes.
            && !request.only_if_cached
            && bucket_redirects()
            && self.config.load().follows_redirects(&request.user_agent)
    }

    /// Returns the internal URI of the file if nginx shall send the response.
    fn accel_location(&self, hit: &FileHit, selection: Selection) -> Option<String> {
        let config = self.config.load();
        let has_body = match selection {
            Selection::Whole => self.request.range.is_none(),
            Selection::Part(_) => true,
            Selection::NotModified | Selection::PreconditionFailed | Selection::Unsatisfiable => {
                false
            }
        };
        let is_offloaded = self.request.delivery == FileDelivery::AccelRedirect
            && self.request.method == RequestMethod::Get
            && has_body
            && hit.size_bytes() >= MIN_ACCEL_BYTES
            && !config.accel_redirect.is_empty();
        is_offloaded.then(|| format!("{}{}", config.accel_redirect, hit.object_name()))
    }

    /// Returns the bytes of the response body, or `None` if it has none.
    fn body_range(&self, selection: Selection, record: &Record) -> Option<ByteRange> {
        match selection {
            _ if self.request.method != RequestMethod::Get => None,
            Selection::Whole => record
                .size_bytes
                .checked_sub(1)
                .map(|last| ByteRange { first: 0, last }),
            Selection::Part(part) => Some(part),
            Selection::NotModified | Selection::PreconditionFailed | Selection::Unsatisfiable => {
                None
            }
        }
    }
}
