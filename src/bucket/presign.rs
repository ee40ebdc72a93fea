//! URLs from which clients fetch objects without the gateway.

use std::fmt::Display;

use aws_sdk_s3::presigning::PresigningConfig;

use super::client::BucketClient;
use super::content_headers::{content_disposition, content_type};
use super::error::BucketError;
use crate::model::Record;

/// Returns a URL of an object: below `public_base_url` if that is set, else a signed one that is
/// valid for `presign_ttl`. Sends no request.
pub async fn object_url(client: &BucketClient, record: &Record) -> Result<String, BucketError> {
    let config = client.config();
    let key = client.keys().object(record.sha256);
    let base = config.public_base_url.trim_end_matches('/');
    if !base.is_empty() {
        return Ok(format!("{base}/{key}"));
    }
    let validity =
        PresigningConfig::expires_in(config.presign_ttl.0).map_err(|error| refused(&error))?;
    let request = client
        .sdk()
        .get_object()
        .bucket(client.bucket_name())
        .key(key)
        .response_content_disposition(content_disposition(record))
        .response_content_type(content_type(record));
    let signed = request
        .presigned(validity)
        .await
        .map_err(|error| refused(&error))?;
    Ok(signed.uri().to_owned())
}

fn refused(error: &dyn Display) -> BucketError {
    BucketError::Refused(format!("cannot sign: {error}"))
}
