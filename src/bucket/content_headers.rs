//! Header fields of an object, for clients that fetch it from the bucket.

use crate::model::{Attachment, Record};

/// Returns the media type that the origin sent, or else `application/octet-stream`.
pub fn content_type(record: &Record) -> &str {
    record
        .headers
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream")
}

/// Returns a Content-Disposition with a file name. The URL in the bucket ends with a digest, so
/// clients cannot take the name from the URL.
pub fn content_disposition(record: &Record) -> String {
    let stated = record.headers.content_disposition.as_deref();
    stated
        .and_then(|value| Attachment::from_header(value.as_bytes()))
        .or_else(|| Attachment::from_path(record.target.path()))
        .map_or_else(
            || "attachment; filename=\"download\"".to_owned(),
            |attachment| attachment.to_string(),
        )
}
