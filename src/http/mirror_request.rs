//! A request below `/mirror/`, before it is parsed.

use actix_web::HttpRequest;
use actix_web::web::Payload;

use super::client_info::RequestOrigin;
use super::state::HttpService;
use crate::dialects::MirrorPath;

/// A request below `/mirror/`.
pub struct MirrorRequest<'a> {
    pub service: &'a HttpService,
    pub request: &'a HttpRequest,
    pub origin: &'a RequestOrigin,
    pub payload: Payload,
    pub path: MirrorPath<'a>,
}
