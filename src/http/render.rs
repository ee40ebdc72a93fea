//! Renders the gateway's response as an HTTP response. It decides nothing.
//!
//! The main function is [`render`].

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION,
};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::body::{
    HeadBody, bucket_body, hit_body, in_flight_body, object_body, pass_through_body,
};
use super::error_response::render_error;
use super::rendered_response::RenderedResponse;
use super::response_context::ResponseContext;
use crate::gateway::{
    BodyResponse, BodySource, CacheResponse, CacheStatus, Endpoint, PassThroughResponse,
    Representation, Selection,
};
use crate::model::ByteRange;

/// Names the file that nginx is to send. Only a trusted nginx gets this field, since the path is
/// internal.
const ACCEL_REDIRECT: &str = "x-accel-redirect";

/// RFC 9530, section 3.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

const OCTET_STREAM: &str = "application/octet-stream";

/// Response header fields of an origin that the gateway endpoint passes on. Other fields, such as
/// `Set-Cookie`, `Refresh` and `Strict-Transport-Security`, would apply to the gateway's own host.
const PASSED_BY_GATEWAY: [&str; 14] = [
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

/// Renders a response of the gateway.
pub fn render(
    response: CacheResponse,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    match response {
        CacheResponse::Body(body_response) => render_body(*body_response, context),
        CacheResponse::Redirect(target) => {
            render_redirect(target.as_str(), CacheStatus::Redirect, context)
        }
        CacheResponse::BucketRedirect { location } => {
            render_redirect(&location, CacheStatus::BucketHit, context)
        }
        CacheResponse::PassThrough(passed) => {
            let response = render_pass_through(*passed, endpoint, context);
            RenderedResponse::new(response, CacheStatus::Bypass)
        }
        CacheResponse::Error(error) => render_error(&error, endpoint, context),
    }
}

fn render_redirect(
    location: &str,
    status: CacheStatus,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    let mut builder = HttpResponse::Found();
    context.apply_common_headers(&mut builder, status);
    builder.insert_header((LOCATION, location));
    builder.insert_header((CACHE_CONTROL, "no-store"));
    RenderedResponse::new(builder.finish(), status)
}

fn render_body(body_response: BodyResponse, context: &ResponseContext<'_>) -> RenderedResponse {
    let BodyResponse {
        representation,
        selection,
        source,
        status,
    } = body_response;
    let mut builder = HttpResponse::build(status_of_selection(selection));
    context.apply_common_headers(&mut builder, status);
    insert_validators(&mut builder, &representation);
    if let BodySource::Offloaded { location } = &source {
        let response = render_offloaded(builder, &representation, location);
        return RenderedResponse::offloaded(response, status);
    }
    let length = representation.length;
    let range = match selection {
        Selection::NotModified | Selection::PreconditionFailed => {
            return RenderedResponse::new(builder.finish(), status);
        }
        Selection::Unsatisfiable => {
            let content_range = format!("bytes */{}", length.unwrap_or(0));
            builder.insert_header((CONTENT_RANGE, content_range));
            return RenderedResponse::new(builder.finish(), status);
        }
        Selection::Whole => None,
        Selection::Part(part) => Some(part),
    };
    insert_representation_headers(&mut builder, &representation);
    if let Some(ByteRange { first, last }) = range {
        let complete = length.map_or_else(|| "*".to_owned(), |length| length.to_string());
        builder.insert_header((CONTENT_RANGE, format!("bytes {first}-{last}/{complete}")));
    }
    let response = if context.is_head {
        builder.body(HeadBody { length })
    } else {
        builder.body(open_body(source, range, length, context.chunk_bytes))
    };
    RenderedResponse::new(response, status)
}

fn status_of_selection(selection: Selection) -> StatusCode {
    match selection {
        Selection::Whole => StatusCode::OK,
        Selection::Part(_) => StatusCode::PARTIAL_CONTENT,
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Selection::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    }
}

/// Renders a response whose body nginx sends. nginx applies the range to the file itself, and adds
/// `Accept-Ranges`.
fn render_offloaded(
    mut builder: HttpResponseBuilder,
    representation: &Representation,
    location: &str,
) -> HttpResponse {
    insert_representation_headers(&mut builder, representation);
    builder.insert_header((ACCEL_REDIRECT, location));
    let mut response = builder.status(StatusCode::OK).finish();
    response.headers_mut().remove(ACCEPT_RANGES);
    response
}

fn open_body(
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

fn insert_validators(builder: &mut HttpResponseBuilder, representation: &Representation) {
    if let Some(etag) = representation.etag() {
        builder.insert_header((ETAG, etag));
    }
    if let Some(last_modified) = &representation.headers.last_modified {
        builder.insert_header((LAST_MODIFIED, last_modified.as_str()));
    }
    if representation.length.is_some() {
        builder.insert_header((ACCEPT_RANGES, HeaderValue::from_static("bytes")));
    }
}

fn insert_representation_headers(
    builder: &mut HttpResponseBuilder,
    representation: &Representation,
) {
    let headers = &representation.headers;
    builder.insert_header((
        CONTENT_TYPE,
        headers.content_type.as_deref().unwrap_or(OCTET_STREAM),
    ));
    // A browser must not show stored bytes as a page of the gateway's own host.
    let disposition = headers.content_disposition.as_deref().filter(|value| {
        value
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("attachment"))
    });
    builder.insert_header((CONTENT_DISPOSITION, disposition.unwrap_or("attachment")));
    if let Some(sha256) = representation.sha256 {
        builder.insert_header((REPR_DIGEST, sha256.repr_digest()));
    }
}

fn render_pass_through(
    passed: PassThroughResponse,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> HttpResponse {
    let status = StatusCode::from_u16(passed.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut builder = HttpResponse::build(status);
    for (name, value) in &passed.headers {
        if endpoint == Endpoint::Proxy || PASSED_BY_GATEWAY.contains(&name.as_str()) {
            builder.append_header((name.as_str(), value.as_slice()));
        }
    }
    context.apply_common_headers(&mut builder, CacheStatus::Bypass);
    if endpoint == Endpoint::Gateway {
        // A browser would treat the origin's page as one of the gateway's own host.
        builder.insert_header((CONTENT_SECURITY_POLICY, "sandbox"));
    }
    let is_empty = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if is_empty {
        return builder.finish();
    }
    if context.is_head {
        return builder.body(HeadBody {
            length: passed.length,
        });
    }
    builder.body(pass_through_body(passed, context.chunk_bytes))
}
