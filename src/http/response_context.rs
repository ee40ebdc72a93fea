//! Facts about a request that the form of its response depends on.
//!
//! The main type is [`ResponseContext`].

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, CACHE_STATUS, HeaderValue, VIA, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponseBuilder};

use super::node_name::NodeName;
use crate::gateway::CacheStatus;
use crate::model::HttpVersion;
use crate::registry::RegistryErrorCode;

/// Media types of clients that read problem documents. A problem document is
/// JSON (RFC 9457, section 3).
const PROBLEM_TYPES: [&str; 2] = ["application/problem+json", "application/json"];

/// Form of an error in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    Text,
    /// A problem document (RFC 9457).
    Problem,
    /// A problem document with the member that npm shows.
    Npm,
    /// The document of a container registry. Holds the code of what is unknown.
    Registry(RegistryErrorCode),
}

impl ErrorForm {
    fn of_accept(accept: &str) -> Self {
        if PROBLEM_TYPES.iter().any(|wanted| accept.contains(wanted)) {
            Self::Problem
        } else {
            Self::Text
        }
    }
}

/// Facts about a request that the form of its response depends on.
pub struct ResponseContext<'a> {
    pub name: &'a NodeName,
    pub is_head: bool,
    /// A node of the cluster gets the validator of the origin too.
    pub is_for_peer: bool,
    pub error_form: ErrorForm,
    /// Size of the chunks in which a body is sent.
    pub chunk_bytes: usize,
}

impl<'a> ResponseContext<'a> {
    pub fn new(request: &HttpRequest, name: &'a NodeName, chunk_bytes: usize) -> Self {
        let accept = request
            .headers()
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Self {
            name,
            is_head: request.method() == Method::HEAD,
            is_for_peer: false,
            error_form: ErrorForm::of_accept(accept),
            chunk_bytes,
        }
    }

    /// Adds the header fields that every response has.
    pub fn apply_common_headers(&self, builder: &mut HttpResponseBuilder, status: CacheStatus) {
        self.apply_headers(builder, status, HttpVersion::Http11);
    }

    /// Adds the same header fields to a response that the origin has sent in this version.
    pub fn apply_headers(
        &self,
        builder: &mut HttpResponseBuilder,
        status: CacheStatus,
        received: HttpVersion,
    ) {
        builder.append_header((VIA, self.name.via(received)));
        builder.append_header((CACHE_STATUS, self.name.cache_status(status)));
        builder.insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    }
}
