//! From an answer to a response: headers and a body, and nothing decided.

use actix_web::HttpRequest;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION, VIA,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::body::{self, HeadBody};
use super::{HttpService, error_response};
use crate::gateway::{
    BodyResponse, BodySource, CacheResponse, CacheStatus, Endpoint, PassThroughResponse,
    Representation, Selection,
};
use crate::model::ByteRange;

/// Names a file to our own nginx. To nobody else: it would show them our paths.
pub const ACCEL_REDIRECT: &str = "x-accel-redirect";

const OCTET_STREAM: &str = "application/octet-stream";

/// What of an origin's header is repeated at the rewrite door. Whatever else there is would act on
/// the gateway's own name: cookies, refreshes, policies of transport.
const REPEATED_BY_GATEWAY: [&str; 14] = [
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

/// What every answer wears, and what of the request its form depends on.
pub struct ResponseContext<'a> {
    /// Ours, in `Via` and `Cache-Status`.
    pub name: &'a str,
    pub is_head: bool,
    pub wants_problem_json: bool,
    /// In what pieces a body is handed over.
    pub piece_bytes: usize,
}

impl<'a> ResponseContext<'a> {
    pub fn new(request: &HttpRequest, service: &'a HttpService) -> Self {
        let accept = request
            .headers()
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Self {
            name: &service.name,
            is_head: request.method() == actix_web::http::Method::HEAD,
            wants_problem_json: accept.contains("application/problem+json"),
            piece_bytes: service.admission.piece_bytes(),
        }
    }

    pub fn apply_common_headers(&self, builder: &mut HttpResponseBuilder, status: CacheStatus) {
        builder.append_header((VIA, format!("1.1 {}", self.name)));
        builder.append_header(("Cache-Status", format!("{}; {status}", self.name)));
        builder.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    }
}

pub fn render(
    response: CacheResponse,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> HttpResponse {
    match response {
        CacheResponse::Body(body_response) => render_body(*body_response, context),
        CacheResponse::Redirect(target) => {
            redirect(target.as_str(), CacheStatus::Redirect, context)
        }
        CacheResponse::BucketRedirect { location } => {
            redirect(&location, CacheStatus::BucketHit, context)
        }
        CacheResponse::PassThrough(passed) => render_pass_through(*passed, endpoint, context),
        CacheResponse::Error(error) => error_response::render(&error, Some(endpoint), context),
    }
}

fn redirect(location: &str, status: CacheStatus, context: &ResponseContext<'_>) -> HttpResponse {
    let mut builder = HttpResponse::Found();
    context.apply_common_headers(&mut builder, status);
    builder.insert_header((LOCATION, location));
    builder.insert_header((CACHE_CONTROL, "no-store"));
    builder.finish()
}

fn render_body(body_response: BodyResponse, context: &ResponseContext<'_>) -> HttpResponse {
    let BodyResponse {
        representation,
        selection,
        source,
        status,
    } = body_response;
    let mut builder = HttpResponse::build(match selection {
        Selection::Whole => StatusCode::OK,
        Selection::Part(_) => StatusCode::PARTIAL_CONTENT,
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Selection::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    });
    context.apply_common_headers(&mut builder, status);
    validators(&mut builder, &representation);
    if let BodySource::Offloaded { location } = &source {
        // nginx applies the range itself, to the file.
        representation_headers(&mut builder, &representation);
        builder.insert_header((ACCEL_REDIRECT, location.as_str()));
        let mut response = builder.status(StatusCode::OK).finish();
        // nginx says so itself of a file that it sends.
        response.headers_mut().remove(ACCEPT_RANGES);
        return response;
    }
    let length = representation.length;
    match selection {
        Selection::NotModified | Selection::PreconditionFailed => return builder.finish(),
        Selection::Unsatisfiable => {
            builder.insert_header((CONTENT_RANGE, format!("bytes */{}", length.unwrap_or(0))));
            return builder.finish();
        }
        Selection::Whole | Selection::Part(_) => {
            representation_headers(&mut builder, &representation);
        }
    }
    let range = match selection {
        Selection::Part(part) => {
            let complete = length.map_or_else(|| "*".to_owned(), |length| length.to_string());
            builder.insert_header((
                CONTENT_RANGE,
                format!("bytes {}-{}/{complete}", part.first, part.last),
            ));
            Some(part)
        }
        _ => None,
    };
    if context.is_head {
        return builder.body(HeadBody { length });
    }
    builder.body(content_body(source, range, length, context.piece_bytes))
}

fn content_body(
    source: BodySource,
    range: Option<ByteRange>,
    length: Option<u64>,
    piece_bytes: usize,
) -> BoxBody {
    let whole = length
        .and_then(|length| length.checked_sub(1))
        .map(|last| ByteRange { first: 0, last });
    let part = range.or(whole);
    match source {
        BodySource::DiskFile(hit) => part.map_or_else(
            || BoxBody::new(""),
            |part| body::of_hit(hit, part, piece_bytes),
        ),
        BodySource::Object(object) => part.map_or_else(
            || BoxBody::new(""),
            |part| body::of_object(object, part, piece_bytes),
        ),
        BodySource::InFlight {
            reader,
            head,
            permit,
        } => body::of_in_flight(reader, head, range, piece_bytes, permit),
        BodySource::Bucket(body) => body::of_bucket(*body, piece_bytes),
        BodySource::Offloaded { .. } | BodySource::Empty => BoxBody::new(""),
    }
}

fn validators(builder: &mut HttpResponseBuilder, representation: &Representation) {
    if let Some(etag) = representation.etag() {
        builder.insert_header((ETAG, etag));
    }
    if let Some(last_modified) = &representation.headers.last_modified {
        builder.insert_header((LAST_MODIFIED, last_modified.as_str()));
    }
    if representation.length.is_some() {
        builder.insert_header((ACCEPT_RANGES, "bytes"));
    }
}

fn representation_headers(builder: &mut HttpResponseBuilder, representation: &Representation) {
    let headers = &representation.headers;
    builder.insert_header((
        CONTENT_TYPE,
        headers.content_type.as_deref().unwrap_or(OCTET_STREAM),
    ));
    // Stored bytes are never shown as a page under the gateway's name.
    let disposition = headers.content_disposition.as_deref().filter(|value| {
        value
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("attachment"))
    });
    builder.insert_header((CONTENT_DISPOSITION, disposition.unwrap_or("attachment")));
    if let Some(sha256) = representation.sha256 {
        builder.insert_header(("Repr-Digest", sha256.repr_digest()));
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
        if endpoint == Endpoint::Proxy || REPEATED_BY_GATEWAY.contains(&name.as_str()) {
            builder.append_header((name.as_str(), value.as_slice()));
        }
    }
    context.apply_common_headers(&mut builder, CacheStatus::Bypass);
    if endpoint == Endpoint::Gateway {
        // To a browser the page would be one of the gateway's own.
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
    builder.body(body::of_pass_through(passed, context.piece_bytes))
}
