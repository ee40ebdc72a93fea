//! Facts about a request that the form of its response depends on.
//!
//! The main type is [`ResponseContext`].

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, VIA, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponseBuilder};

use crate::gateway::CacheStatus;

/// Facts about a request that the form of its response depends on.
pub struct ResponseContext<'a> {
    /// Name of this node in `Via` and `Cache-Status`.
    pub name: &'a str,
    pub is_head: bool,
    pub wants_problem_json: bool,
    /// Size of the chunks in which a body is sent.
    pub chunk_bytes: usize,
}

impl<'a> ResponseContext<'a> {
    pub fn new(request: &HttpRequest, name: &'a str, chunk_bytes: usize) -> Self {
        let accept = request
            .headers()
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Self {
            name,
            is_head: request.method() == Method::HEAD,
            wants_problem_json: accept.contains("application/problem+json"),
            chunk_bytes,
        }
    }

    /// Adds the header fields that every response has.
    pub fn apply_common_headers(&self, builder: &mut HttpResponseBuilder, status: CacheStatus) {
        builder.append_header((VIA, format!("1.1 {}", self.name)));
        builder.append_header(("Cache-Status", format!("{}; {status}", self.name)));
        builder.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    }
}
