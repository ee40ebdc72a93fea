//! `GET /api/v1/node/pieces`: the digests of the pieces of an object, for peers that copy it.

use utoipa::ToSchema;

use super::node::prove;
use super::query::Query;
use super::response::{ApiResponse, json_of, ok};
use super::values::ObjectDigest;
use crate::admin::{AdminError, Operator};
use crate::cache::CacheError;
use crate::cluster::{OfferedPieces, PeerProof};
use crate::gateway::RequestError;
use crate::http::state::HttpService;

/// Pieces of an object.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `OfferedPieces`")]
pub struct NodePieces {
    /// Size of the object. Null until its pieces are computed, and without the object.
    size_bytes: Option<u64>,
    /// SHA-256 of each MiB.
    pieces: Vec<ObjectDigest>,
}

/// Shows the pieces of an object to a peer, with the proof that they come from a node with the
/// secret.
pub async fn show_to_peer(
    service: &HttpService,
    peer: PeerProof,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let document = json_of(&read(service, query).await?)?;
    Ok(prove(service, peer, document))
}

/// Shows the digests of the pieces of an object, which has 16 MiB to 64 GiB
///
/// Peers prove the secret of the cluster with the field `Millpond-Peer` in place of a token.
#[utoipa::path(
    get, path = "/api/v1/node/pieces", operation_id = "showNodePieces", tag = "nodes",
    params(("sha256" = String, Query, description = "SHA-256 in hexadecimal",
            pattern = "^[0-9a-fA-F]{64}$")),
    responses((status = 200, description = "The pieces", body = NodePieces)),
    security(("operator" = [])),
)]
pub async fn show(
    service: &HttpService,
    _operator: &Operator,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    ok(&read(service, query).await?)
}

async fn read(service: &HttpService, mut query: Query<'_>) -> Result<OfferedPieces, AdminError> {
    let sha256 = query.text("sha256")?.and_then(|text| text.parse().ok());
    let sha256 =
        sha256.ok_or_else(|| RequestError::BadRequest("sha256 is no digest".to_owned()))?;
    query.finish()?;
    let list = service.operators.offer.pieces_of(sha256).await;
    let list = list.map_err(|error: CacheError| {
        tracing::warn!(%error, "pieces for a peer were not read");
        RequestError::Unavailable
    })?;
    Ok(OfferedPieces::new(list.as_ref()))
}
