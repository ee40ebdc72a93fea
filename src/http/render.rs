//! Renders the gateway's response as an HTTP response. It decides nothing.
//!
//! The main function is [`render`].

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION,
};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::body::{HeadBody, pass_through_body};
use super::render_observed::render_observed;
use super::rendered_response::RenderedResponse;
use super::response_context::ResponseContext;
use super::response_facts::BodyExtent;
use super::response_parts::{
    PASSED_BY_GATEWAY, SelectedBody, finish_with_body, status_of_selection,
};
use crate::cluster::ORIGIN_TAG_FIELD;
use crate::gateway::{
    BodyResponse, BodySource, CacheResponse, CacheStatus, Endpoint, PassThroughResponse,
    Representation, RepresentationHead, Selection,
};
use crate::model::StoredHeaders;

/// Names the file that nginx is to send. Only a trusted nginx gets this field, since the path is
/// internal.
const ACCEL_REDIRECT: &str = "x-accel-redirect";

/// RFC 9530, section 3.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

const OCTET_STREAM: &str = "application/octet-stream";

/// Renders a response of the gateway.
pub fn render(
    response: CacheResponse,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    match response {
        CacheResponse::Body(body_response) => match body_response.representation.head.clone() {
            RepresentationHead::Recorded(record) => {
                render_body(*body_response, &record.headers, context)
            }
            RepresentationHead::Stated(headers) => render_body(*body_response, &headers, context),
            RepresentationHead::Observed(observation) => {
                render_observed(*body_response, &observation, endpoint, context)
            }
        },
        CacheResponse::Redirect(target) => {
            render_redirect(target.as_str(), CacheStatus::Redirect, context)
        }
        CacheResponse::PageRedirect(target) => {
            let location = format!("/{}", target.as_str());
            let mut rendered = render_redirect(&location, CacheStatus::Redirect, context);
            // The client asks this gateway for the page next.
            rendered.facts = rendered.facts.with_extent(BodyExtent::Part);
            rendered
        }
        CacheResponse::BucketRedirect { location } => {
            render_redirect(&location, CacheStatus::BucketHit, context)
        }
        CacheResponse::PassThrough(passed) => {
            let response = render_pass_through(*passed, endpoint, context);
            let mut rendered = RenderedResponse::new(response, CacheStatus::Bypass);
            if rendered.response.status() == StatusCode::PARTIAL_CONTENT {
                rendered.facts = rendered.facts.with_extent(BodyExtent::Part);
            }
            rendered
        }
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
    builder.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    RenderedResponse::new(builder.finish(), status)
}

fn render_body(
    body_response: BodyResponse,
    headers: &StoredHeaders,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    let BodyResponse {
        representation,
        selection,
        source,
        status,
    } = body_response;
    let mut builder = HttpResponse::build(status_of_selection(selection));
    context.apply_common_headers(&mut builder, status);
    insert_validators(&mut builder, &representation, headers);
    if let Some(tag) = headers.etag.as_deref().filter(|_| context.is_for_peer) {
        builder.insert_header((ORIGIN_TAG_FIELD, tag));
    }
    let length = representation.length;
    let extent = BodyExtent::of(selection, length);
    if let BodySource::Offloaded { location } = &source {
        let response = render_offloaded(builder, &representation, headers, location);
        let body_bytes = match selection {
            Selection::Part(part) => part.size_bytes(),
            _ => length.unwrap_or(0),
        };
        let mut rendered = RenderedResponse::offloaded(response, status, body_bytes);
        rendered.facts = rendered.facts.with_extent(extent);
        return rendered;
    }
    if selection.has_body() {
        insert_representation_headers(&mut builder, &representation, headers);
    }
    let body = SelectedBody {
        source,
        selection,
        length,
    };
    let (response, file) = finish_with_body(builder, body, context);
    let mut rendered = RenderedResponse::new(response, status).with_file(file);
    rendered.facts = rendered.facts.with_extent(extent);
    rendered
}

/// Renders a response whose body nginx sends. nginx applies the range to the file itself, and adds
/// `Accept-Ranges`.
fn render_offloaded(
    mut builder: HttpResponseBuilder,
    representation: &Representation,
    headers: &StoredHeaders,
    location: &str,
) -> HttpResponse {
    insert_representation_headers(&mut builder, representation, headers);
    builder.insert_header((ACCEL_REDIRECT, location));
    let mut response = builder.status(StatusCode::OK).finish();
    response.headers_mut().remove(ACCEPT_RANGES);
    response
}

fn insert_validators(
    builder: &mut HttpResponseBuilder,
    representation: &Representation,
    headers: &StoredHeaders,
) {
    if let Some(etag) = representation.etag() {
        builder.insert_header((ETAG, etag));
    }
    if let Some(last_modified) = &headers.last_modified {
        builder.insert_header((LAST_MODIFIED, last_modified.as_str()));
    }
    if representation.length.is_some() {
        builder.insert_header((ACCEPT_RANGES, HeaderValue::from_static("bytes")));
    }
    if let Some(age) = representation.age {
        builder.insert_header((AGE, age.as_secs().to_string()));
    }
}

fn insert_representation_headers(
    builder: &mut HttpResponseBuilder,
    representation: &Representation,
    headers: &StoredHeaders,
) {
    builder.insert_header((
        CONTENT_TYPE,
        headers.content_type.as_deref().unwrap_or(OCTET_STREAM),
    ));
    // A browser must not show stored bytes as a page of the gateway's own host.
    builder.insert_header((CONTENT_DISPOSITION, representation.content_disposition()));
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
    context.apply_headers(&mut builder, CacheStatus::Bypass, passed.version);
    if endpoint == Endpoint::Gateway {
        // A browser would treat the origin's page as one of the gateway's own host.
        builder.insert_header((CONTENT_SECURITY_POLICY, "sandbox"));
        let disposition = passed
            .headers
            .iter()
            .find(|(name, _)| name == "content-disposition");
        if !disposition.is_some_and(|(_, value)| is_attachment(value)) {
            builder.insert_header((CONTENT_DISPOSITION, "attachment"));
        }
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

/// Whether a value of `Content-Disposition` makes a browser save the file (RFC 6266, section 4.2).
fn is_attachment(value: &[u8]) -> bool {
    let kind = value.split(|byte| *byte == b';').next();
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"attachment"))
}
