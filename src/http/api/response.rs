//! Results of API calls, and the JSON of types that several resources show.

use std::time::SystemTime;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use serde_json::{Map, Value, json};

use crate::gateway::CacheResponse;
use crate::model::{Record, Target};

/// Result of an API call.
pub enum ApiResponse {
    Json(StatusCode, Value),
    /// Work was accepted that goes on in the background. `location` is its path.
    Created {
        location: String,
        value: Value,
    },
    Object(Box<CacheResponse>),
    /// A response without end.
    Stream(HttpResponse),
}

/// Returns `value` with status 200.
pub fn ok(value: Value) -> ApiResponse {
    ApiResponse::Json(StatusCode::OK, value)
}

/// Renders a JSON document. It must not be cached.
pub fn json_response(status: StatusCode, value: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(format!("{value}\n"))
}

/// Adds `Location` to a response.
pub fn with_location(mut response: HttpResponse, path: &str) -> HttpResponse {
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

/// Returns the URL of a target, without passwords and secret query values.
pub fn redacted_url(target: &Target) -> String {
    target.redacted()
}

pub fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Returns all known digests of a record, by algorithm.
pub fn digests(record: &Record) -> Value {
    let others = record
        .digests
        .iter()
        .map(|(algorithm, hex)| (algorithm.as_str().to_owned(), json!(hex)));
    let all: Map<String, Value> = others
        .chain([("sha256".to_owned(), json!(record.sha256))])
        .collect();
    Value::Object(all)
}
