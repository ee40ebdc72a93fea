//! Reads the file that is uploaded: as request bodies, and for digests.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use aws_sdk_s3::primitives::{ByteStream, Length};
use md5::{Digest as _, Md5};
use sha2::Sha256 as Sha256Hasher;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::error::BucketError;
use crate::model::{Record, Sha256};

/// Size of one read for a digest.
const READ_BYTES: usize = 256 * 1024;

/// Returns a part of a file as the body of a request.
pub async fn body(path: &Path, offset: u64, length: u64) -> Result<ByteStream, BucketError> {
    ByteStream::read_from()
        .path(PathBuf::from(path))
        .offset(offset)
        .length(Length::Exact(length))
        .build()
        .await
        .map_err(|error| BucketError::LocalReadFailed(error.to_string()))
}

/// Returns the MD5 of a part of a file, and feeds the same bytes to `whole`.
pub async fn part_md5(
    path: &Path,
    offset: u64,
    length: u64,
    whole: &mut Sha256Hasher,
) -> Result<[u8; 16], BucketError> {
    let read_error = |error: std::io::Error| BucketError::LocalReadFailed(error.to_string());
    let mut file = tokio::fs::File::open(path).await.map_err(read_error)?;
    file.seek(SeekFrom::Start(offset))
        .await
        .map_err(read_error)?;
    let mut part = file.take(length);
    let mut md5 = Md5::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read_bytes = part.read(&mut buffer).await.map_err(read_error)?;
        if read_bytes == 0 {
            return Ok(md5.finalize().into());
        }
        md5.update(&buffer[..read_bytes]);
        whole.update(&buffer[..read_bytes]);
    }
}

/// Compares the file that was read with the record's digest. A corrupt file must not reach the
/// bucket.
pub fn verify_digest(record: &Record, whole: Sha256Hasher) -> Result<(), BucketError> {
    if Sha256::from_bytes(whole.finalize().into()) == record.sha256 {
        return Ok(());
    }
    Err(BucketError::LocalReadFailed(
        "it has other bytes than its name says".to_owned(),
    ))
}
