//! Request to the API, with its path and query. The main type is [`ApiRequest`].

use actix_web::HttpRequest;
use actix_web::web::Payload;

use crate::http::client_info::RequestOrigin;
use crate::http::state::HttpService;

/// A request to the API.
pub struct ApiRequest<'a> {
    pub service: &'a HttpService,
    pub request: &'a HttpRequest,
    pub origin: &'a RequestOrigin,
    pub payload: Payload,
    pub path: &'a str,
    pub query: &'a str,
}
