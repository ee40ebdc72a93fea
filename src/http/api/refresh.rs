//! `POST /api/v1/refresh?url=`: fetches a target again.

use actix_web::http::header::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::{ObjectDigest, redacted_url};
use crate::admin::{AdminError, AdminService, Operator};
use crate::http::parse_request::read_expected;
use crate::model::ExpectedDigests;

/// Result of a refresh.
#[derive(Serialize, ToSchema)]
pub struct TargetRefreshed {
    url: String,
    /// Digest of the bytes that the origin has now.
    sha256: ObjectDigest,
    size_bytes: u64,
    /// Digest of the active record before.
    previous_sha256: Option<ObjectDigest>,
    changed: bool,
    /// Whether the changed bytes are the active record now.
    accepted: bool,
}

/// Fetches a target again
///
/// Changed bytes are stored beside the old ones. With `accept=true` they become the active record.
#[utoipa::path(
    post, path = "/api/v1/refresh", operation_id = "refreshTarget", tag = "targets",
    params(
        ("url" = String, Query, format = "uri", description = "URL of the target",
         example = "https://example.org/x-1.0.tar.gz"),
        ("accept" = Option<bool>, Query, description = "Whether changed bytes become active"),
        ("X-Expected-Sha256" = Option<String>, Header,
         description = "Digest that the bytes must have; also X-Expected-Sha512, -Sha1 and -Md5",
         pattern = "^[0-9a-fA-F]{64}$"),
    ),
    responses((status = 200, description = "The target was fetched", body = TargetRefreshed)),
    security(("operator" = [])),
)]
pub async fn refresh(
    admin: &AdminService,
    operator: &Operator,
    headers: &HeaderMap,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (target, accept) = (query.target()?, query.flag("accept")?);
    query.finish()?;
    let mut expected = ExpectedDigests::nothing();
    read_expected(headers, &mut expected)?;
    let refreshed = admin.refresh(operator, target, expected, accept).await?;
    let record = &refreshed.record;
    let changed = refreshed
        .previous
        .is_some_and(|previous| previous != record.sha256);
    ok(&TargetRefreshed {
        url: redacted_url(&record.target),
        sha256: record.sha256.into(),
        size_bytes: record.size_bytes,
        previous_sha256: refreshed.previous.map(Into::into),
        changed,
        accepted: changed && accept,
    })
}
