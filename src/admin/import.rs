//! Import of an operator's copy of a target.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

use super::error::AdminError;
use super::storage_error::storage_error;
use crate::cache::{Cache, Finished};
use crate::model::{ExpectedDigests, Hasher, Size, Target};
use crate::policy::PolicyDenied;

/// How long a client may send no bytes of an upload.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// Upload of an operator's copy of a target.
pub struct ImportUpload<S> {
    pub target: Target,
    /// Digests that the bytes must have.
    pub expected: ExpectedDigests,
    /// Length in bytes, if the request states it.
    pub length: Option<u64>,
    pub body: S,
}

/// Stages the body of an upload, of at most `limit`.
///
/// # Errors
/// - [`AdminError::InvalidUpload`] if the body is empty, has not the stated length, or breaks off
/// - [`PolicyDenied::TooLarge`] if it is larger than `limit`
/// - [`AdminError::NoSpace`], or another error of the cache
pub async fn stage_upload<E: Display>(
    cache: &Cache,
    limit: Size,
    length: Option<u64>,
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Finished, AdminError> {
    let mut staging = cache
        .stage(length, Hasher::with_all_algorithms())
        .await
        .map_err(|error| storage_error(&error))?;
    while let Some(chunk) = next_chunk(&mut body).await? {
        let size_bytes = staging.written_bytes() + chunk.len() as u64;
        if size_bytes > limit.bytes {
            return Err(PolicyDenied::TooLarge(limit).into());
        }
        staging
            .append(chunk)
            .await
            .map_err(|error| storage_error(&error.into()))?;
    }
    let size_bytes = staging.written_bytes();
    if size_bytes == 0 || length.is_some_and(|length| length != size_bytes) {
        return Err(AdminError::InvalidUpload(format!(
            "the upload ended after {size_bytes} bytes"
        )));
    }
    staging
        .finish()
        .map_err(|error| storage_error(&error.into()))
}

/// Returns the next bytes of an upload, or `None` at its end.
async fn next_chunk<E: Display>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Option<Bytes>, AdminError> {
    let invalid = |text: String| Err(AdminError::InvalidUpload(text));
    match timeout(UPLOAD_IDLE_TIMEOUT, body.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => invalid(format!("the upload was interrupted: {error}")),
        Err(_) => invalid(format!(
            "the upload sent no bytes for {} s",
            UPLOAD_IDLE_TIMEOUT.as_secs()
        )),
    }
}
