//! Parts of a response that stored and observed responses have in common.
//!
//! The main function is [`open_body`].

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;

use super::body::{bucket_body, hit_body, in_flight_body, object_body};
use crate::gateway::{BodySource, Selection};
use crate::model::ByteRange;

/// Response header fields of an origin that the gateway endpoint passes on. Other fields, such as
/// `Set-Cookie`, `Refresh` and `Strict-Transport-Security`, would apply to the gateway's own host.
pub const PASSED_BY_GATEWAY: [&str; 14] = [
    "accept-ranges",
    "age",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "retry-after",
    "vary",
];

/// Formats `Content-Range` (RFC 9110, section 14.4). `length` is that of the whole body, in bytes.
pub fn content_range(range: ByteRange, length: Option<u64>) -> String {
    let ByteRange { first, last } = range;
    let complete = length.map_or_else(|| "*".to_owned(), |length| length.to_string());
    format!("bytes {first}-{last}/{complete}")
}

/// Returns the status of a response that would be 200 without conditions and range.
pub fn status_of_selection(selection: Selection) -> StatusCode {
    match selection {
        Selection::Whole => StatusCode::OK,
        Selection::Part(_) => StatusCode::PARTIAL_CONTENT,
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Selection::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    }
}

/// Opens the selected part of a body of `length` bytes.
pub fn open_body(
    source: BodySource,
    range: Option<ByteRange>,
    length: Option<u64>,
    chunk_bytes: usize,
) -> BoxBody {
    let whole = length
        .and_then(|length| length.checked_sub(1))
        .map(|last| ByteRange { first: 0, last });
    // `None` if the representation is empty.
    let part = range.or(whole);
    match (source, part) {
        (BodySource::DiskFile(hit), Some(part)) => hit_body(hit, part, chunk_bytes),
        (BodySource::Object(object), Some(part)) => object_body(object, part, chunk_bytes),
        (
            BodySource::InFlight {
                reader,
                head,
                permit,
            },
            _,
        ) => in_flight_body(reader, head, range, chunk_bytes, permit),
        (BodySource::Bucket(body), _) => bucket_body(*body, chunk_bytes),
        (BodySource::DiskFile(_) | BodySource::Object(_), None)
        | (BodySource::Offloaded { .. } | BodySource::Empty, _) => BoxBody::new(""),
    }
}
