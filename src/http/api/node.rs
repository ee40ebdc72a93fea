//! `GET /api/v1/node`: the facts that this node states to its peers, which prove the secret of the
//! cluster. Readers may see them too.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::response::{ApiResponse, json_of, json_response, ok};
use crate::admin::{AdminError, ListReader};
use crate::cluster::{
    MARK_FIELD, MarkedRequest, NodeDocument, POLL_REQUEST, PROOF_FIELD, PeerProof, WAKE_FIELD,
};
use crate::gateway::RequestError;
use crate::http::builtin_pages::readiness;
use crate::http::parse_request::single;
use crate::http::state::HttpService;

/// Facts about a node.
#[derive(Serialize, ToSchema)]
pub struct NodeFacts {
    /// Random number that the node keeps in its state folder.
    id: String,
    /// Random number of the process, for which marks of peers are made.
    run: String,
    /// Name in `Via`.
    name: String,
    version: String,
    /// Version of the layout of the cache folder.
    layout: u32,
    /// Size of the cache. The share of the targets that a node owns is in proportion.
    space_bytes: u64,
    /// Identity of the cache folder, the same for all processes that use it.
    folder: String,
    ready: bool,
    /// Clock of the node, in milliseconds since 1970.
    clock_ms: u64,
    /// URL of the node, by its own configuration.
    advertise: Option<String>,
}

impl From<NodeDocument> for NodeFacts {
    fn from(node: NodeDocument) -> Self {
        Self {
            id: node.id,
            run: node.run,
            name: node.name,
            version: node.version,
            layout: node.layout,
            space_bytes: node.space_bytes,
            folder: node.folder,
            ready: node.ready,
            clock_ms: node.clock_ms,
            advertise: node.advertise,
        }
    }
}

/// Returns the proof of a request with a mark. A request without one is that of a client.
///
/// # Errors
/// [`RequestError::PeerRefused`] for a mark that is not valid.
pub fn peer_of(
    service: &HttpService,
    request: &HttpRequest,
) -> Result<Option<PeerProof>, AdminError> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let has_mark = request.headers().contains_key(MARK_FIELD);
    if service.cluster.key().is_none() || !is_read || !has_mark {
        return Ok(None);
    }
    let mark = single(request.headers(), MARK_FIELD).unwrap_or_default();
    let received = MarkedRequest {
        method: request.method().as_str(),
        ..POLL_REQUEST
    };
    let verified = service.cluster.verify(received, mark);
    let proof = verified.map_err(RequestError::from)?;
    if request.headers().contains_key(WAKE_FIELD) {
        service.cluster.wake();
    }
    Ok(Some(proof))
}

/// Shows the facts to a peer, with the proof that they come from a node with the secret.
pub fn show_to_peer(
    service: &HttpService,
    peer: PeerProof,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let mut document = json_of(&own_facts(service))?;
    let mut response: HttpResponse = json_response(StatusCode::OK, &document);
    // The body of the response ends with a line break.
    document.push('\n');
    let key = service.cluster.key();
    let proof = key.map(|key| key.prove(peer, document.as_bytes()));
    if let Some(Ok(proof)) = proof.as_deref().map(HeaderValue::from_str) {
        let name = HeaderName::from_static(PROOF_FIELD);
        response.headers_mut().insert(name, proof);
    }
    Ok(ApiResponse::Stream(response))
}

/// Shows the facts that this node states to its peers
///
/// Peers prove the secret of the cluster with the field `Millpond-Peer` in place of a token.
#[utoipa::path(
    get, path = "/api/v1/node", operation_id = "showNode", tag = "nodes",
    responses((status = 200, description = "The facts", body = NodeFacts)),
    security(("reader" = []), ("operator" = [])),
)]
pub fn show(
    service: &HttpService,
    _reader: &ListReader,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    ok(&own_facts(service))
}

/// Returns the facts about this node.
pub fn own_facts(service: &HttpService) -> NodeFacts {
    service.cluster.document(readiness(service).is_ok()).into()
}
