//! Results of API calls.
//!
//! The main type is [`ApiResponse`].

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use serde::Serialize;

use crate::admin::AdminError;
use crate::gateway::{CacheResponse, RequestError};
use crate::http::page_body::in_pieces;

/// Result of an API call.
pub enum ApiResponse {
    /// A JSON document.
    Json(StatusCode, String),
    /// Work was accepted that goes on in the background. `location` is its path.
    Created {
        location: String,
        document: String,
    },
    Object(Box<CacheResponse>),
    /// A response without end.
    Stream(HttpResponse),
}

/// Returns `value` as a JSON document with status 200.
///
/// # Errors
/// As [`json_of`].
pub fn ok(value: &impl Serialize) -> Result<ApiResponse, AdminError> {
    Ok(ApiResponse::Json(StatusCode::OK, json_of(value)?))
}

/// Returns the JSON document of a value.
///
/// # Errors
/// [`RequestError::Unavailable`] if the value has no JSON form. No value of the API is one.
pub fn json_of(value: &impl Serialize) -> Result<String, AdminError> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!(%error, "response of the API was not rendered");
        RequestError::Unavailable.into()
    })
}

/// Renders a JSON document. It must not be cached.
pub fn json_response(status: StatusCode, document: &str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(in_pieces(format!("{document}\n")))
}

/// Adds `Location` to a response.
pub fn with_location(mut response: HttpResponse, path: &str) -> HttpResponse {
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}
