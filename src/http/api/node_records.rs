//! `GET /api/v1/node/records`: the records that this node offers to its peers, one page at a time.

use utoipa::ToSchema;

use super::node::prove;
use super::query::Query;
use super::response::{ApiResponse, json_of, ok};
use super::values::{Moment, ObjectDigest};
use crate::admin::{AdminError, Operator};
use crate::cluster::PeerProof;
use crate::gateway::RequestError;
use crate::http::state::HttpService;
use crate::migrate::{OfferedPage, PullState};

/// One page of records.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `OfferedPage`")]
pub struct NodeRecordPage {
    targets: Vec<NodeTarget>,
    /// Objects of the page whose records cannot be read, so that they are not offered.
    unreadable: u64,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
}

/// A target with its records and pins.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `OfferedTarget`")]
struct NodeTarget {
    records: Vec<NodeRecord>,
    pins: Vec<NodePin>,
}

/// A record.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `OfferedRecord`")]
struct NodeRecord {
    /// Content of the record file.
    record: String,
    /// Whether the object is on the disk of the node.
    is_cached: bool,
    /// Whether the bucket of the node has the record and the object.
    is_in_bucket: bool,
}

/// A pin.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `OfferedPin`")]
struct NodePin {
    sha256: ObjectDigest,
    pinned_at: Moment,
}

/// Shows a page of records to a peer, with the proof that they come from a node with the secret.
pub async fn show_to_peer(
    service: &HttpService,
    peer: PeerProof,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let document = json_of(&read(service, query).await?)?;
    Ok(prove(service, peer, document))
}

/// State of a target after a pull.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form of `PullState`")]
pub struct NodePull {
    /// Whether the pull goes on, or has not begun. The same request waits for it.
    is_pending: bool,
    /// Digests of the objects of the target that this node has. Each was compared.
    stored: Vec<ObjectDigest>,
    /// Bytes that the pull has copied.
    copied_bytes: u64,
    /// Objects for which this node has no space.
    without_space: u64,
    /// Whether the copy has failed. Records and pins may be missing then.
    has_failed: bool,
}

/// Copies a target from the peer that asks for it, and shows with a proof what is stored then.
pub async fn pull_for_peer(
    service: &HttpService,
    peer: PeerProof,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let document = json_of(&copy(service, query).await?)?;
    Ok(prove(service, peer, document))
}

/// Copies a target from a peer, and shows which of its objects this node has then
///
/// A node that drains asks the next owners of its targets for that. Without `from`, nothing is
/// copied.
#[utoipa::path(
    post, path = "/api/v1/node/records", operation_id = "pullNodeRecords", tag = "nodes",
    params(
        ("keys" = String, Query, pattern = "^[0-9a-f]{64}$",
         description = "Key of the target, which is the SHA-256 of its URL"),
        ("from" = Option<String>, Query, description = "Identity of the peer"),
    ),
    responses((status = 200, description = "What is stored", body = NodePull)),
    security(("operator" = [])),
)]
pub async fn pull(
    service: &HttpService,
    _operator: &Operator,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    ok(&copy(service, query).await?)
}

async fn copy(service: &HttpService, mut query: Query<'_>) -> Result<PullState, AdminError> {
    let key = query.text("keys")?.and_then(|key| key.parse().ok());
    let key = key.ok_or_else(|| RequestError::BadRequest("keys is no key".to_owned()))?;
    let from = query.text("from")?;
    query.finish()?;
    let pulled = service.operators.pulls.pull(from.as_deref(), key).await;
    Ok(pulled.map_err(|error| RequestError::BadRequest(error.to_string()))?)
}

/// Lists the records that this node offers to its peers, one page at a time
///
/// Peers prove the secret of the cluster with the field `Millpond-Peer` in place of a token.
#[utoipa::path(
    get, path = "/api/v1/node/records", operation_id = "listNodeRecords", tag = "nodes",
    params(
        ("keys" = String, Query, pattern = "^([0-9a-f]{2}|[0-9a-f]{64})$",
         description = "Key of a target, which is the SHA-256 of its URL, or its first two digits",
         example = "ab"),
        ("after" = Option<String>, Query, pattern = "^[0-9a-f]{64}$",
         description = "Only targets behind this key, which is `next` of the page before"),
    ),
    responses((status = 200, description = "A page of records", body = NodeRecordPage)),
    security(("operator" = [])),
)]
pub async fn list(
    service: &HttpService,
    _operator: &Operator,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    ok(&read(service, query).await?)
}

async fn read(service: &HttpService, mut query: Query<'_>) -> Result<OfferedPage, AdminError> {
    let invalid = |name: &str| RequestError::BadRequest(format!("{name} is no key"));
    let keys = query.text("keys")?.ok_or_else(|| invalid("keys"))?;
    let part = keys.parse().map_err(|_| invalid("keys"))?;
    let after = query.text("after")?.map(|key| key.parse()).transpose();
    let after = after.map_err(|_| invalid("after"))?;
    query.finish()?;
    let page = service.operators.offer.page(part, after).await;
    page.map_err(|error| {
        tracing::warn!(%error, "records for a peer were not read");
        RequestError::Unavailable.into()
    })
}
