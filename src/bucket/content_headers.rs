//! Header fields of an object, for clients that fetch it from the bucket.

use percent_encoding::percent_decode_str;

use crate::model::Record;

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
    let from_origin = record.headers.content_disposition.as_deref();
    let is_attachment = |value: &&str| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("attachment") && value.contains("filename")
    };
    from_origin.filter(is_attachment).map_or_else(
        || format!("attachment; filename=\"{}\"", file_name(record)),
        str::to_owned,
    )
}

/// Returns the last path segment of the target that looks like a file name. Characters that would
/// need quoting are replaced.
fn file_name(record: &Record) -> String {
    let path = record.target.path();
    let mut segments = path.rsplit('/').filter(|segment| !segment.is_empty());
    let segment = segments
        .clone()
        .find(|segment| segment.contains('.'))
        .or_else(|| segments.next());
    let replace_special = |c: char| {
        if c.is_ascii_alphanumeric() || "._+-~".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name = percent_decode_str(segment.unwrap_or("download")).decode_utf8_lossy();
    name.chars().map(replace_special).collect()
}
