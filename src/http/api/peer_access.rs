//! Access of peers to some resources of the API, by a mark in place of a token.
//!
//! The main function is [`peer_of`].

use actix_web::http::Method;

use super::request::ApiRequest;
use super::resource::Resource;
use crate::admin::AdminError;
use crate::cluster::{MARK_FIELD, MarkedRequest, POLL_REQUEST, PeerProof, WAKE_FIELD};
use crate::gateway::RequestError;
use crate::http::parse_request::single;
use crate::http::state::HttpService;

/// Returns the proof of a request with a mark, for a resource that is open to peers. A request
/// without one is that of a client.
///
/// # Errors
/// [`RequestError::PeerRefused`] for a mark that is not valid.
pub fn peer_of(
    service: &HttpService,
    api_request: &ApiRequest<'_>,
    resource: &Resource,
) -> Result<Option<PeerProof>, AdminError> {
    let request = api_request.request;
    let is_open = matches!(
        resource,
        Resource::Node | Resource::NodeRecords | Resource::NodePieces | Resource::Object(_)
    );
    let is_allowed = match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::POST => matches!(resource, Resource::NodeRecords),
        _ => false,
    };
    let has_mark = request.headers().contains_key(MARK_FIELD);
    if service.cluster.key().is_none() || !is_open || !is_allowed || !has_mark {
        return Ok(None);
    }
    let mark = single(request.headers(), MARK_FIELD).unwrap_or_default();
    let (method, path) = (request.method().as_str(), api_request.path);
    let target = match api_request.query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let received = match resource {
        Resource::Node => MarkedRequest {
            method,
            ..POLL_REQUEST
        },
        _ => MarkedRequest {
            recipient: &service.cluster.own().run,
            method,
            target: &target,
        },
    };
    let verified = service.cluster.verify(received, mark);
    let proof = verified.map_err(RequestError::from)?;
    if request.headers().contains_key(WAKE_FIELD) {
        service.cluster.wake();
    }
    Ok(Some(proof))
}
