//! Multipart uploads, for objects above `multipart_threshold`.

use std::time::Duration;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256 as Sha256Hasher;

use super::client::{BucketClient, REQUEST_TIMEOUT};
use super::config::Config;
use super::content_headers::{content_disposition, content_type};
use super::error::BucketError;
use super::local_file;
use super::object_upload::ObjectUpload;

/// Smallest part that stores accept.
const MIN_PART_BYTES: u64 = 5 << 20;

/// Largest part, unless [`MAX_PARTS`] requires more. A failed request repeats one part.
const MAX_USUAL_PART_BYTES: u64 = 64 << 20;

/// Bound on the parts of one upload, by the protocol.
const MAX_PARTS: u64 = 10_000;

/// Slowest upload that does not time out, on top of [`REQUEST_TIMEOUT`].
const MIN_BYTES_PER_SECOND: u64 = 64 << 10;

/// A multipart upload that the store has opened.
struct OpenUpload<'a> {
    client: &'a BucketClient,
    upload: &'a ObjectUpload<'a>,
    key: &'a str,
    id: &'a str,
}

/// Parts that were sent, and digests of their bytes.
#[derive(Default)]
struct SentParts {
    parts: Vec<CompletedPart>,
    /// MD5 of the MD5s of the parts: the store's entity tag.
    md5s: Md5,
    /// SHA-256 of all bytes.
    whole: Sha256Hasher,
}

/// Returns the timeout for a request with a body of this size.
pub fn transfer_timeout(size_bytes: u64) -> Duration {
    REQUEST_TIMEOUT + Duration::from_secs(size_bytes / MIN_BYTES_PER_SECOND)
}

/// Returns the size of the parts of an object, except its last.
fn part_bytes(config: &Config, size_bytes: u64) -> u64 {
    let usual = (config.multipart_threshold.bytes / 2).clamp(MIN_PART_BYTES, MAX_USUAL_PART_BYTES);
    usual.max(size_bytes.div_ceil(MAX_PARTS))
}

/// Returns the entity tag that the object has once it was uploaded in parts.
pub async fn expected_etag(
    config: &Config,
    upload: &ObjectUpload<'_>,
) -> Result<String, BucketError> {
    let ObjectUpload { path, record, .. } = *upload;
    let part_bytes = part_bytes(config, record.size_bytes);
    let mut md5s = Md5::new();
    let mut count = 0;
    let mut offset = 0;
    while offset < record.size_bytes {
        let length = part_bytes.min(record.size_bytes - offset);
        let md5 = local_file::part_md5(path, offset, length, &mut Sha256Hasher::new()).await?;
        md5s.update(md5);
        offset += part_bytes;
        count += 1;
    }
    Ok(format!("{}-{count}", hex::encode(md5s.finalize())))
}

/// Uploads an object in parts, and returns its entity tag. If that fails, the parts are removed.
pub async fn put(client: &BucketClient, upload: &ObjectUpload<'_>) -> Result<String, BucketError> {
    let key = client.keys().object(upload.record.sha256);
    let request = client
        .sdk()
        .create_multipart_upload()
        .bucket(client.bucket_name())
        .key(&key)
        .content_type(content_type(upload.record))
        .content_disposition(content_disposition(upload.record));
    let output = client.write(REQUEST_TIMEOUT, request.send()).await?;
    let id = output
        .upload_id()
        .ok_or_else(|| BucketError::Refused("it gives no upload id".to_owned()))?;
    let open = OpenUpload {
        client,
        upload,
        key: &key,
        id,
    };
    let outcome = open.put_parts().await;
    if outcome.is_err()
        && let Err(error) = abort(client, &key, id).await
    {
        tracing::debug!(
            %error,
            "parts of a failed upload were not removed, will retry within a day"
        );
    }
    outcome
}

/// Aborts a multipart upload. An upload that does not exist is no error.
pub async fn abort(client: &BucketClient, key: &str, id: &str) -> Result<(), BucketError> {
    let request = client
        .sdk()
        .abort_multipart_upload()
        .bucket(client.bucket_name())
        .key(key)
        .upload_id(id);
    match client.write(REQUEST_TIMEOUT, request.send()).await {
        Ok(_) | Err(BucketError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

impl OpenUpload<'_> {
    async fn put_parts(&self) -> Result<String, BucketError> {
        let size_bytes = self.upload.record.size_bytes;
        let part_bytes = part_bytes(self.client.config(), size_bytes);
        let mut sent = SentParts::default();
        let mut offset = 0;
        for number in 1.. {
            let length = part_bytes.min(size_bytes - offset);
            self.put_part(number, offset, length, &mut sent).await?;
            offset += length;
            if offset >= size_bytes {
                break;
            }
        }
        self.complete(sent).await
    }

    async fn put_part(
        &self,
        number: i32,
        offset: u64,
        length: u64,
        sent: &mut SentParts,
    ) -> Result<(), BucketError> {
        let path = self.upload.path;
        let md5 = local_file::part_md5(path, offset, length, &mut sent.whole).await?;
        sent.md5s.update(md5);
        let request = self
            .client
            .sdk()
            .upload_part()
            .bucket(self.client.bucket_name())
            .key(self.key)
            .upload_id(self.id)
            .part_number(number)
            .content_md5(BASE64_STANDARD.encode(md5))
            .body(local_file::body(path, offset, length).await?);
        let timeout = transfer_timeout(length);
        let output = self.client.write(timeout, request.send()).await?;
        sent.parts.push(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(output.e_tag)
                .build(),
        );
        Ok(())
    }

    /// Completes the upload if all bytes have the record's digest. Returns the entity tag.
    async fn complete(&self, sent: SentParts) -> Result<String, BucketError> {
        local_file::verify_digest(self.upload.record, sent.whole)?;
        let etag = format!("{}-{}", hex::encode(sent.md5s.finalize()), sent.parts.len());
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(sent.parts))
            .build();
        let request = self
            .client
            .sdk()
            .complete_multipart_upload()
            .bucket(self.client.bucket_name())
            .key(self.key)
            .upload_id(self.id)
            .multipart_upload(parts);
        // Some stores copy all parts into one object before they answer.
        let timeout = transfer_timeout(self.upload.record.size_bytes);
        self.client.write(timeout, request.send()).await?;
        Ok(etag)
    }
}
