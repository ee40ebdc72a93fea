//! Parts of a response that stored and observed responses have in common.
//!
//! The main function is [`finish_with_body`].

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_RANGE;
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::body::{HeadBody, bucket_body, hit_body, in_flight_body, object_body, verified_body};
use super::connection::FileSender;
use super::response_context::ResponseContext;
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

/// Body of a response, and the part of it that is sent.
pub struct SelectedBody {
    pub source: BodySource,
    pub selection: Selection,
    /// Length of the whole body in bytes. `None` if it is not known yet.
    pub length: Option<u64>,
}

/// Adds the selected part of the body and its `Content-Range` (RFC 9110, section 14.4). Also
/// returns the sender of a body that the kernel can send from a file.
pub fn finish_with_body(
    mut builder: HttpResponseBuilder,
    body: SelectedBody,
    context: &ResponseContext<'_>,
) -> (HttpResponse, Option<Box<FileSender>>) {
    let SelectedBody {
        source,
        selection,
        length,
    } = body;
    let range = match selection {
        Selection::NotModified | Selection::PreconditionFailed => {
            return (builder.finish(), None);
        }
        Selection::Unsatisfiable => {
            let content_range = format!("bytes */{}", length.unwrap_or(0));
            builder.insert_header((CONTENT_RANGE, content_range));
            return (builder.finish(), None);
        }
        Selection::Whole => None,
        Selection::Part(part) => Some(part),
    };
    if let Some(ByteRange { first, last }) = range {
        let complete = length.map_or_else(|| "*".to_owned(), |length| length.to_string());
        builder.insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{complete}")));
    }
    if context.is_head {
        return (builder.body(HeadBody { length }), None);
    }
    let file = match (&source, range_or_whole(range, length)) {
        // A small file was read when it was opened.
        (BodySource::DiskFile(hit), Some(part)) if hit.content(part).is_none() => {
            let sender = FileSender::new(hit.clone(), part, context.chunk_bytes);
            Some(Box::new(sender))
        }
        _ => None,
    };
    let body = open_body(source, range, length, context.chunk_bytes);
    (builder.body(body), file)
}

/// Returns the part of a representation of `length` bytes that is sent. `None` if it is empty.
fn range_or_whole(range: Option<ByteRange>, length: Option<u64>) -> Option<ByteRange> {
    let last = length.and_then(|length| length.checked_sub(1));
    range.or(last.map(|last| ByteRange { first: 0, last }))
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
fn open_body(
    source: BodySource,
    range: Option<ByteRange>,
    length: Option<u64>,
    chunk_bytes: usize,
) -> BoxBody {
    match (source, range_or_whole(range, length)) {
        (BodySource::DiskFile(hit), Some(part)) => hit_body(hit, part, chunk_bytes),
        (BodySource::Verifying(reader), Some(part)) => {
            verified_body(*reader, part.size_bytes(), chunk_bytes)
        }
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
        (BodySource::DiskFile(_) | BodySource::Object(_) | BodySource::Verifying(_), None)
        | (BodySource::Offloaded { .. } | BodySource::Empty, _) => BoxBody::new(""),
    }
}
