//! Import of an operator's copy of a target.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

use super::error::AdminError;
use super::storage_error::storage_error;
use crate::cache::{Cache, Finished};
use crate::model::{ExpectedDigests, FileType, Hasher, Size, Target};
use crate::policy::PolicyDenied;

/// How long a client may send no bytes of an upload.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// Whether the first bytes of an upload must be those that its name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindCheck {
    Apply,
    /// The operator forces the import.
    Skip,
}

/// Bounds on an upload.
#[derive(Debug, Clone, Copy)]
pub struct UploadBounds {
    pub max_size: Size,
    /// Length in bytes, if the request states it.
    pub length: Option<u64>,
    /// Type that the first bytes must have.
    pub file_type: FileType,
}

/// Upload of an operator's copy of a target.
pub struct ImportUpload<S> {
    pub target: Target,
    /// Digests that the bytes must have.
    pub expected: ExpectedDigests,
    pub kind_check: KindCheck,
    /// Length in bytes, if the request states it.
    pub length: Option<u64>,
    pub body: S,
}

/// Stages the body of an upload.
///
/// # Errors
/// - [`AdminError::InvalidUpload`] if the body is empty, has not the stated length, or breaks off
/// - [`AdminError::WrongFileType`] if its first bytes are not those of `bounds.file_type`
/// - [`PolicyDenied::TooLarge`] if it is larger than `bounds.max_size`
/// - [`AdminError::NoSpace`], or another error of the cache
pub async fn stage_upload<E: Display>(
    cache: &Cache,
    bounds: UploadBounds,
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Finished, AdminError> {
    let mut staging = cache
        .stage(bounds.length, Hasher::with_all_algorithms())
        .await
        .map_err(|error| storage_error(&error))?;
    let mut head = Vec::new();
    let sniff_bytes = bounds.file_type.sniff_bytes();
    while let Some(chunk) = next_chunk(&mut body).await? {
        let size_bytes = staging.written_bytes() + chunk.len() as u64;
        if size_bytes > bounds.max_size.bytes {
            return Err(PolicyDenied::TooLarge(bounds.max_size).into());
        }
        if head.len() < sniff_bytes {
            let count = chunk.len().min(sniff_bytes - head.len());
            head.extend_from_slice(&chunk[..count]);
            if head.len() == sniff_bytes && !bounds.file_type.matches(&head) {
                return Err(AdminError::WrongFileType);
            }
        }
        staging
            .append(chunk)
            .await
            .map_err(|error| storage_error(&error.into()))?;
    }
    let size_bytes = staging.written_bytes();
    if size_bytes == 0 && bounds.length.is_none_or(|length| length == 0) {
        let reason = "the file is empty, and an empty file cannot be imported";
        return Err(AdminError::InvalidUpload(reason.to_owned()));
    }
    if size_bytes == 0 || bounds.length.is_some_and(|length| length != size_bytes) {
        return Err(AdminError::InvalidUpload(format!(
            "the upload ended after {size_bytes} bytes"
        )));
    }
    if !bounds.file_type.matches(&head) {
        return Err(AdminError::WrongFileType);
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
