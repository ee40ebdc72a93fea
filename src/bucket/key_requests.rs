//! Requests about a single key: metadata, removal, and empty objects that serve as markers.

use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};

use super::client::{BucketClient, REQUEST_TIMEOUT};
use super::error::BucketError;
use super::sdk;

/// Metadata of one object.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    pub size_bytes: u64,
    /// Time of the last write, in whole seconds.
    pub modified_at: SystemTime,
    /// Entity tag without its quotes.
    pub etag: String,
}

/// Reads the metadata of an object. Returns `None` if the key does not exist.
pub async fn head(client: &BucketClient, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
    let request = client
        .sdk()
        .head_object()
        .bucket(client.bucket_name())
        .key(key);
    match client.read(request.send()).await {
        Ok(output) => Ok(Some(ObjectInfo {
            size_bytes: sdk::size_bytes(output.content_length()),
            modified_at: sdk::system_time(output.last_modified()),
            etag: output
                .e_tag()
                .unwrap_or_default()
                .trim_matches('"')
                .to_owned(),
        })),
        Err(BucketError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a key. A key that does not exist is no error.
pub async fn remove(client: &BucketClient, key: &str) -> Result<(), BucketError> {
    let request = client
        .sdk()
        .delete_object()
        .bucket(client.bucket_name())
        .key(key);
    match client.write(REQUEST_TIMEOUT, request.send()).await {
        Ok(_) | Err(BucketError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes an empty object. Only its key and its modification time matter.
pub async fn put_marker(client: &BucketClient, key: String) -> Result<(), BucketError> {
    let request = client
        .sdk()
        .put_object()
        .bucket(client.bucket_name())
        .key(key)
        .content_md5(BASE64_STANDARD.encode(Md5::digest(b"")))
        .body(Vec::new().into());
    client.write(REQUEST_TIMEOUT, request.send()).await?;
    Ok(())
}
