//! Renders responses of class `revalidate`, with the status and the header fields of the origin.
//!
//! The main function is [`render_observed`].

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_RANGES, AGE, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY};

use super::rendered_response::RenderedResponse;
use super::response_context::ResponseContext;
use super::response_facts::BodyExtent;
use super::response_parts::{
    PASSED_BY_GATEWAY, SelectedBody, finish_with_body, status_of_selection,
};
use crate::freshness::Observation;
use crate::gateway::{BodyResponse, Endpoint, Representation, Selection};

/// Renders a stored response, or one that is being stored.
pub fn render_observed(
    body_response: BodyResponse,
    observation: &Observation,
    endpoint: Endpoint,
    context: &ResponseContext<'_>,
) -> RenderedResponse {
    let BodyResponse {
        representation,
        selection,
        source,
        status,
    } = body_response;
    let mut builder = HttpResponse::build(match selection {
        Selection::Whole => {
            StatusCode::from_u16(observation.status).unwrap_or(StatusCode::BAD_GATEWAY)
        }
        part => status_of_selection(part),
    });
    append_fields(&mut builder, observation, selection, endpoint);
    append_own_fields(&mut builder, &representation, endpoint);
    context.apply_common_headers(&mut builder, status);
    if selection == Selection::Whole && observation.status == 204 {
        return RenderedResponse::new(builder.finish(), status);
    }
    let length = representation.length;
    let body = SelectedBody {
        source,
        selection,
        length,
    };
    let (response, file) = finish_with_body(builder, body, context);
    let mut rendered = RenderedResponse::new(response, status).with_file(file);
    rendered.facts = rendered
        .facts
        .with_extent(BodyExtent::of(selection, length));
    rendered
}

/// Appends the fields of the origin. A response without the body has none that describe it (RFC
/// 9110, section 15.4.5).
fn append_fields(
    builder: &mut HttpResponseBuilder,
    observation: &Observation,
    selection: Selection,
    endpoint: Endpoint,
) {
    let has_body = selection.has_body();
    for (name, value) in observation.fields.iter() {
        let is_passed = match endpoint {
            Endpoint::Proxy => true,
            Endpoint::Gateway => PASSED_BY_GATEWAY.contains(&name),
        };
        let describes_body = name.starts_with("content-") && name != "content-location";
        if is_passed && (has_body || !describes_body) {
            builder.append_header((name, value));
        }
    }
}

/// Replaces `Age`, and adds what protects the gateway's own host from a page.
fn append_own_fields(
    builder: &mut HttpResponseBuilder,
    representation: &Representation,
    endpoint: Endpoint,
) {
    if let Some(age) = representation.age {
        builder.insert_header((AGE, age.as_secs().to_string()));
    }
    if endpoint == Endpoint::Proxy {
        return;
    }
    builder.insert_header((CONTENT_SECURITY_POLICY, "sandbox"));
    builder.insert_header((CONTENT_DISPOSITION, representation.content_disposition()));
    if representation.status() == 200 && representation.length.is_some() {
        builder.insert_header((ACCEPT_RANGES, "bytes"));
    }
}
