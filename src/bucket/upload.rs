//! Uploads objects, and verifies the bucket's copy.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256 as Sha256Hasher};

use super::client::BucketClient;
use super::config::Config;
use super::content_headers::{content_disposition, content_type};
use super::download::BucketBody;
use super::error::BucketError;
use super::key_requests::{self, ObjectInfo};
use super::object_upload::{ObjectUpload, UploadResult};
use super::{local_file, multipart};
use crate::model::{ByteRange, Record};

/// Age at which a store rejects a signed request, by SigV4.
const MAX_REQUEST_AGE: Duration = Duration::from_mins(15);

/// Returns the time within which a removal that another node has requested takes effect.
pub fn removal_grace(config: &Config) -> Duration {
    MAX_REQUEST_AGE.min(config.gc_grace.0 / 8)
}

/// Ensures that the bucket has an intact copy of an object.
///
/// If this fails, the bucket's copy may be missing, incomplete or damaged.
pub async fn put_object(
    client: &BucketClient,
    upload: &ObjectUpload<'_>,
) -> Result<UploadResult, BucketError> {
    let record = upload.record;
    let key = client.keys().object(record.sha256);
    let existing = key_requests::head(client, &key).await?;
    if !upload.is_suspect
        && existing
            .as_ref()
            .is_some_and(|existing| is_recent(client.config(), existing))
    {
        let etag = expected_etag(client.config(), upload).await?;
        if verify(client, record, &etag).await.is_ok() {
            return Ok(UploadResult::Safe);
        }
    }
    let etag = if record.size_bytes > client.config().multipart_threshold.bytes {
        multipart::put(client, upload).await?
    } else {
        put_single(client, upload).await?
    };
    verify(client, record, &etag).await?;
    Ok(if existing.is_some() {
        UploadResult::RecheckNeeded
    } else {
        UploadResult::Safe
    })
}

/// Whether an object is so recent that no garbage collection removes it before its record is
/// uploaded.
fn is_recent(config: &Config, existing: &ObjectInfo) -> bool {
    let age = SystemTime::now()
        .duration_since(existing.modified_at)
        .unwrap_or_default();
    age < config.gc_grace.0 / 2
}

/// Returns the entity tag that the object has if it was uploaded with this configuration.
async fn expected_etag(config: &Config, upload: &ObjectUpload<'_>) -> Result<String, BucketError> {
    let ObjectUpload { path, record, .. } = *upload;
    if record.size_bytes > config.multipart_threshold.bytes {
        return multipart::expected_etag(config, upload).await;
    }
    let md5 = local_file::part_md5(path, 0, record.size_bytes, &mut Sha256Hasher::new()).await?;
    Ok(hex::encode(md5))
}

/// Uploads an object in one request, and returns its entity tag.
async fn put_single(
    client: &BucketClient,
    upload: &ObjectUpload<'_>,
) -> Result<String, BucketError> {
    let ObjectUpload { path, record, .. } = *upload;
    let mut whole = Sha256Hasher::new();
    let md5 = local_file::part_md5(path, 0, record.size_bytes, &mut whole).await?;
    local_file::verify_digest(record, whole)?;
    let request = client
        .sdk()
        .put_object()
        .bucket(client.bucket_name())
        .key(client.keys().object(record.sha256))
        .content_type(content_type(record))
        .content_disposition(content_disposition(record))
        .content_md5(BASE64_STANDARD.encode(md5))
        .body(local_file::body(path, 0, record.size_bytes).await?);
    let timeout = multipart::transfer_timeout(record.size_bytes);
    client.write(timeout, request.send()).await?;
    Ok(hex::encode(md5))
}

/// Verifies the bucket's copy: by length and entity tag if the store computes the tag from the
/// bytes, else by downloading the object.
async fn verify(client: &BucketClient, record: &Record, etag: &str) -> Result<(), BucketError> {
    let key = client.keys().object(record.sha256);
    let stored = key_requests::head(client, &key)
        .await?
        .ok_or(BucketError::Damaged)?;
    if stored.size_bytes != record.size_bytes {
        return Err(BucketError::Damaged);
    }
    if stored.etag.eq_ignore_ascii_case(etag) || record.size_bytes == 0 {
        return Ok(());
    }
    let whole = ByteRange {
        first: 0,
        last: record.size_bytes - 1,
    };
    let mut body = BucketBody::open(client, record.sha256, record.size_bytes, whole).await?;
    while body.next().await?.is_some() {}
    Ok(())
}
