//! `OPTIONS` requests that Millpond answers itself, and `Max-Forwards`.
//!
//! The main functions are [`asks_gateway`] and [`asks_proxy`].

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, MAX_FORWARDS};
use actix_web::{HttpRequest, HttpResponse};

use super::client_info::TargetForm;
use super::error_response::allowed_methods;
use super::parse_request::single;
use crate::gateway::Endpoint;

/// Target of a request for the server itself (RFC 9112, section 3.2.4).
const ASTERISK: &str = "*";

/// Returns whether a request of the gateway port asks for the options of the server.
pub fn asks_gateway(request: &HttpRequest, form: &TargetForm) -> bool {
    *request.method() == Method::OPTIONS && form.as_str() == ASTERISK
}

/// Returns whether this node is the last recipient of a proxy request for options (RFC 9110,
/// section 7.6.2).
pub fn asks_proxy(request: &HttpRequest, form: &TargetForm) -> bool {
    *request.method() == Method::OPTIONS
        && (form.as_str() == ASTERISK || max_forwards(request) == Some(0))
}

/// Returns the number of times that the request may still be forwarded, if it is stated.
fn max_forwards(request: &HttpRequest) -> Option<u32> {
    let text = single(request.headers(), MAX_FORWARDS)?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)?.parse().ok()
}

/// Counts this node in the `Max-Forwards` of a forwarded `OPTIONS` request.
pub fn count_hop(request: &HttpRequest, forwarded: &mut [(String, Vec<u8>)]) {
    let Some(left) = max_forwards(request).filter(|_| *request.method() == Method::OPTIONS) else {
        return;
    };
    for (name, value) in forwarded {
        if name == MAX_FORWARDS.as_str() {
            *value = left.saturating_sub(1).to_string().into_bytes();
        }
    }
}

/// Renders the methods of an endpoint (RFC 9110, section 9.3.7).
pub fn page(endpoint: Endpoint) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((ALLOW, allowed_methods(endpoint)))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}
