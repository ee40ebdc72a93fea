//! Texts below `/mirror/` that Millpond makes itself.

use std::time::SystemTime;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde_json::json;

use super::page_body::in_pieces;

/// Renders the organisation of a mirror.
pub fn layout(text: &'static str) -> HttpResponse {
    page("text/plain; charset=utf-8", text.to_owned())
}

/// Renders what Conan keeps beside a file. Millpond knows no recipes that refer to it.
pub fn references() -> HttpResponse {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let document = json!({"references": {}, "timestamp": now.unwrap_or_default().as_secs()});
    page("application/json", document.to_string())
}

/// Renders the answer to a check before an upload.
pub fn availability(is_available: bool) -> HttpResponse {
    let text = if is_available { "Available" } else { "Missing" };
    page("text/plain; charset=utf-8", text.to_owned())
}

/// Renders the answer to an upload.
pub fn created() -> HttpResponse {
    let mut response = page("text/plain; charset=utf-8", "stored\n".to_owned());
    *response.status_mut() = actix_web::http::StatusCode::CREATED;
    response
}

fn page(content_type: &'static str, text: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(in_pieces(text))
}
