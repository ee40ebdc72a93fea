//! Bytes into the bucket, and a look at what came of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use percent_encoding::percent_decode_str;
use sha2::Sha256 as Sha256Hasher;
use tokio::io::AsyncReadExt as _;

use super::{Bucket, BucketError, ObjectInfo, REQUEST_TIMEOUT};
use crate::model::{ByteRange, Record, Sha256};

/// The size of a part, in bytes: the least that stores take, and what is worth a request of its
/// own.
const MIN_PART_BYTES: u64 = 5 << 20;
const MAX_USUAL_PART_BYTES: u64 = 64 << 20;

/// The most parts that a store takes.
const MAX_PARTS: u64 = 10_000;

/// The piece in which a file is read, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// The slowest upload that is waited for, in bytes a second, on top of the time of a small request.
const MIN_BYTES_PER_SECOND: u64 = 64 << 10;

/// A signed request is refused once it is so old (SigV4).
const MAX_REQUEST_AGE: Duration = Duration::from_mins(15);

/// A file that is to be uploaded, with what a client of the bucket shall hear of it.
pub struct Upload<'a> {
    pub path: &'a Path,
    pub record: &'a Record,
    /// What the bucket has of that name was found to be wrong.
    pub is_suspect: bool,
}

/// How an object has come to be in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadResult {
    /// Nobody removes it: it is young, or was not there before.
    Safe,
    /// It was there, and old enough that somebody may be about to remove it. It has to be looked at
    /// again after [`Bucket::removal_grace`].
    RecheckNeeded,
}

impl Bucket {
    /// How long a removal that was asked for may take to happen.
    #[must_use]
    pub fn removal_grace(&self) -> Duration {
        MAX_REQUEST_AGE.min(self.config().gc_grace.0 / 8)
    }

    /// Whether what was found is so young that nobody removes it within the time that a publisher
    /// needs.
    fn is_recent(&self, found: &ObjectInfo) -> bool {
        let age = SystemTime::now()
            .duration_since(found.modified_at)
            .unwrap_or_default();
        age < self.config().gc_grace.0 / 2
    }

    /// Sees to it that the bucket has an object, whole.
    ///
    /// # Errors
    /// [`BucketError`]. What the bucket has of it then is not to be believed.
    pub async fn put_object(&self, upload: &Upload<'_>) -> Result<UploadResult, BucketError> {
        let Upload { record, .. } = upload;
        let before = self.head_object(record.sha256).await?;
        if !upload.is_suspect
            && before.as_ref().is_some_and(|found| self.is_recent(found))
            && self.verify(record, &self.etag(upload).await?).await.is_ok()
        {
            return Ok(UploadResult::Safe);
        }
        let etag = if record.size_bytes > self.config().multipart_threshold.bytes {
            self.put_multipart(upload).await?
        } else {
            self.put_single(upload).await?
        };
        self.verify(record, &etag).await?;
        Ok(if before.is_some() {
            UploadResult::RecheckNeeded
        } else {
            UploadResult::Safe
        })
    }

    /// Puts a record. Whoever had the target's bytes first is asked before.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn put_record(&self, record: &Record) -> Result<(), BucketError> {
        let bytes = record.to_bytes();
        let request = self
            .client()
            .put_object()
            .bucket(self.name())
            .key(self.keys().record(record.key(), record.sha256))
            .content_type("application/json")
            .content_md5(BASE64_STANDARD.encode(Md5::digest(&bytes)))
            .body(bytes.into());
        self.write(REQUEST_TIMEOUT, request.send()).await?;
        Ok(())
    }

    /// Marks an object as asked for just now.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn put_use(&self, sha256: Sha256) -> Result<(), BucketError> {
        self.put_marker(self.keys().used(sha256)).await
    }

    pub(super) async fn put_marker(&self, name: String) -> Result<(), BucketError> {
        let request = self
            .client()
            .put_object()
            .bucket(self.name())
            .key(name)
            .content_md5(BASE64_STANDARD.encode(Md5::digest(b"")))
            .body(Vec::new().into());
        self.write(REQUEST_TIMEOUT, request.send()).await?;
        Ok(())
    }

    /// The tag that an object has that was uploaded as it would be now.
    async fn etag(&self, upload: &Upload<'_>) -> Result<String, BucketError> {
        let Upload { path, record, .. } = *upload;
        if record.size_bytes <= self.config().multipart_threshold.bytes {
            return Ok(hex::encode(
                md5_of(path, 0, record.size_bytes, &mut Sha256Hasher::new()).await?,
            ));
        }
        let part_bytes = self.part_bytes(record.size_bytes);
        let mut md5s = Md5::new();
        let mut count = 0;
        let mut offset = 0;
        while offset < record.size_bytes {
            let length = part_bytes.min(record.size_bytes - offset);
            md5s.update(md5_of(path, offset, length, &mut Sha256Hasher::new()).await?);
            offset += part_bytes;
            count += 1;
        }
        Ok(format!("{}-{count}", hex::encode(md5s.finalize())))
    }

    async fn put_single(&self, upload: &Upload<'_>) -> Result<String, BucketError> {
        let Upload { path, record, .. } = *upload;
        let mut whole = Sha256Hasher::new();
        let md5 = md5_of(path, 0, record.size_bytes, &mut whole).await?;
        verify_local_digest(record, whole)?;
        let request = self
            .client()
            .put_object()
            .bucket(self.name())
            .key(self.keys().object(record.sha256))
            .content_type(content_type(record))
            .content_disposition(disposition(record))
            .content_md5(BASE64_STANDARD.encode(md5))
            .body(body(path, 0, record.size_bytes).await?);
        self.write(wait_for(record.size_bytes), request.send())
            .await?;
        Ok(hex::encode(md5))
    }

    async fn put_multipart(&self, upload: &Upload<'_>) -> Result<String, BucketError> {
        let Upload { record, .. } = upload;
        let name = self.keys().object(record.sha256);
        let request = self
            .client()
            .create_multipart_upload()
            .bucket(self.name())
            .key(&name)
            .content_type(content_type(record))
            .content_disposition(disposition(record));
        let output = self.write(REQUEST_TIMEOUT, request.send()).await?;
        let id = output
            .upload_id()
            .ok_or_else(|| BucketError::Refused("it gives no upload id".to_owned()))?;
        let outcome = self.put_parts(upload, &name, id).await;
        if outcome.is_err()
            && let Err(error) = self.abort(&name, id).await
        {
            tracing::debug!(%error, "the parts of a failed upload were not removed; it is done within a day");
        }
        outcome
    }

    pub(super) async fn abort(&self, name: &str, id: &str) -> Result<(), BucketError> {
        let request = self
            .client()
            .abort_multipart_upload()
            .bucket(self.name())
            .key(name)
            .upload_id(id);
        match self.write(REQUEST_TIMEOUT, request.send()).await {
            Ok(_) | Err(BucketError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn put_parts(
        &self,
        upload: &Upload<'_>,
        name: &str,
        id: &str,
    ) -> Result<String, BucketError> {
        let Upload { path, record, .. } = *upload;
        let part_bytes = self.part_bytes(record.size_bytes);
        let mut parts = Vec::new();
        let mut md5s = Md5::new();
        let mut whole = Sha256Hasher::new();
        let mut offset = 0;
        for number in 1.. {
            let length = part_bytes.min(record.size_bytes - offset);
            let md5 = md5_of(path, offset, length, &mut whole).await?;
            md5s.update(md5);
            let request = self
                .client()
                .upload_part()
                .bucket(self.name())
                .key(name)
                .upload_id(id)
                .part_number(number)
                .content_md5(BASE64_STANDARD.encode(md5))
                .body(body(path, offset, length).await?);
            let output = self.write(wait_for(length), request.send()).await?;
            parts.push(
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(output.e_tag)
                    .build(),
            );
            offset += length;
            if offset >= record.size_bytes {
                break;
            }
        }
        verify_local_digest(record, whole)?;
        let etag = format!("{}-{}", hex::encode(md5s.finalize()), parts.len());
        let request = self
            .client()
            .complete_multipart_upload()
            .bucket(self.name())
            .key(name)
            .upload_id(id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            );
        // The store may put the parts together before it answers.
        self.write(wait_for(record.size_bytes), request.send())
            .await?;
        Ok(etag)
    }

    fn part_bytes(&self, size_bytes: u64) -> u64 {
        let usual = (self.config().multipart_threshold.bytes / 2)
            .clamp(MIN_PART_BYTES, MAX_USUAL_PART_BYTES);
        usual.max(size_bytes.div_ceil(MAX_PARTS))
    }

    /// Looks at what was uploaded. Length and tag say enough where the tag comes from the bytes;
    /// otherwise they are read.
    async fn verify(&self, record: &Record, etag: &str) -> Result<(), BucketError> {
        let found = self
            .head_object(record.sha256)
            .await?
            .ok_or(BucketError::Damaged)?;
        if found.size_bytes != record.size_bytes {
            return Err(BucketError::Damaged);
        }
        if found.etag.eq_ignore_ascii_case(etag) || record.size_bytes == 0 {
            return Ok(());
        }
        let whole = ByteRange {
            first: 0,
            last: record.size_bytes - 1,
        };
        let mut body = self.open(record.sha256, record.size_bytes, whole).await?;
        while body.next().await?.is_some() {}
        Ok(())
    }
}

/// How long a body of this size may take.
fn wait_for(size_bytes: u64) -> Duration {
    REQUEST_TIMEOUT + Duration::from_secs(size_bytes / MIN_BYTES_PER_SECOND)
}

async fn body(path: &Path, offset: u64, length: u64) -> Result<ByteStream, BucketError> {
    let stream = ByteStream::read_from()
        .path(PathBuf::from(path))
        .offset(offset)
        .length(Length::Exact(length));
    stream
        .build()
        .await
        .map_err(|error| BucketError::LocalReadFailed(error.to_string()))
}

/// What lies on a disk may rot there. It must not be taken for what it was.
fn verify_local_digest(record: &Record, whole: Sha256Hasher) -> Result<(), BucketError> {
    if Sha256::from_bytes(whole.finalize().into()) == record.sha256 {
        return Ok(());
    }
    Err(BucketError::LocalReadFailed(
        "it has other bytes than its name says".to_owned(),
    ))
}

/// Of a part of a file; `whole` gets the same bytes.
async fn md5_of(
    path: &Path,
    offset: u64,
    length: u64,
    whole: &mut Sha256Hasher,
) -> Result<[u8; 16], BucketError> {
    let read_error = |error: std::io::Error| BucketError::LocalReadFailed(error.to_string());
    let mut file = tokio::fs::File::open(path).await.map_err(read_error)?;
    tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(offset))
        .await
        .map_err(read_error)?;
    let mut part = file.take(length);
    let mut md5 = Md5::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let size = part.read(&mut piece).await.map_err(read_error)?;
        if size == 0 {
            return Ok(md5.finalize().into());
        }
        md5.update(&piece[..size]);
        whole.update(&piece[..size]);
    }
}

pub fn content_type(record: &Record) -> &str {
    record
        .headers
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream")
}

/// How a client that was sent to the bucket keys the file: there the path ends with a digest.
pub fn disposition(record: &Record) -> String {
    let given = record.headers.content_disposition.as_deref();
    let is_attachment = |value: &&str| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("attachment") && value.contains("filename")
    };
    given.filter(is_attachment).map_or_else(
        || format!("attachment; filename=\"{}\"", file_name(record)),
        str::to_owned,
    )
}

/// The last segment of the target's path that looks like a file, with nothing in it that would need
/// quoting.
fn file_name(record: &Record) -> String {
    let path = record.target.path();
    let mut segments = path.rsplit('/').filter(|segment| !segment.is_empty());
    let named = segments
        .clone()
        .find(|segment| segment.contains('.'))
        .or_else(|| segments.next());
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || "._+-~".contains(c) {
            c
        } else {
            '_'
        }
    };
    let named = percent_decode_str(named.unwrap_or("download")).decode_utf8_lossy();
    named.chars().map(keep).collect()
}
