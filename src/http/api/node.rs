//! `GET /api/v1/node`: the facts that this node states to its peers, which prove the secret of the
//! cluster. Readers may see them too.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::response::{ApiResponse, json_of, json_response, ok};
use crate::admin::{AdminError, ListReader, Operator};
use crate::cluster::{NodeDocument, PROOF_FIELD, PeerProof};
use crate::gateway::RequestError;
use crate::http::builtin_pages::readiness;
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
    /// Identity of the bucket, the same for all nodes that use it. Empty without one.
    bucket: String,
    ready: bool,
    /// Whether the node owns nothing any more, and serves what it has.
    draining: bool,
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
            bucket: node.bucket,
            ready: node.ready,
            draining: node.draining,
            clock_ms: node.clock_ms,
            advertise: node.advertise,
        }
    }
}

/// Shows the facts to a peer, with the proof that they come from a node with the secret.
pub fn show_to_peer(
    service: &HttpService,
    peer: PeerProof,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    Ok(prove(service, peer, json_of(&own_facts(service))?))
}

/// Returns the response with a document and its proof.
pub fn prove(service: &HttpService, peer: PeerProof, mut document: String) -> ApiResponse {
    let mut response: HttpResponse = json_response(StatusCode::OK, &document);
    // The body of the response ends with a line break.
    document.push('\n');
    let key = service.cluster.key();
    let proof = key.map(|key| key.prove(peer, document.as_bytes()));
    if let Some(Ok(proof)) = proof.as_deref().map(HeaderValue::from_str) {
        let name = HeaderName::from_static(PROOF_FIELD);
        response.headers_mut().insert(name, proof);
    }
    ApiResponse::Stream(response)
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

/// Has this node own nothing any more; it serves what it has
///
/// The other nodes ask it for stored targets only. The state survives a restart.
#[utoipa::path(
    put, path = "/api/v1/node/draining", operation_id = "startDraining", tag = "nodes",
    responses((status = 200, description = "The facts", body = NodeFacts)),
    security(("operator" = [])),
)]
pub async fn start_draining(
    service: &HttpService,
    operator: &Operator,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    set_draining(service, operator, query, true).await
}

/// Has this node own its targets again
#[utoipa::path(
    delete, path = "/api/v1/node/draining", operation_id = "endDraining", tag = "nodes",
    responses((status = 200, description = "The facts", body = NodeFacts)),
    security(("operator" = [])),
)]
pub async fn end_draining(
    service: &HttpService,
    operator: &Operator,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    set_draining(service, operator, query, false).await
}

async fn set_draining(
    service: &HttpService,
    _operator: &Operator,
    query: Query<'_>,
    is_on: bool,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let cluster = Arc::clone(&service.cluster);
    let set = tokio::task::spawn_blocking(move || cluster.set_draining(is_on)).await;
    let set = set.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    set.map_err(|error| {
        tracing::error!(%error, "draining was not recorded in gateway.state_dir");
        RequestError::Unavailable
    })?;
    ok(&own_facts(service))
}

/// Returns the facts about this node.
pub fn own_facts(service: &HttpService) -> NodeFacts {
    service.cluster.document(readiness(service).is_ok()).into()
}
