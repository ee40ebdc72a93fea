//! `POST /api/v1/refresh?url=`: fetches a target again.

use actix_web::http::header::HeaderMap;
use serde_json::json;

use super::query::Query;
use super::response::{ApiResponse, ok, redacted_url};
use crate::admin::{AdminError, AdminService, Operator};
use crate::http::parse_request::read_expected;
use crate::model::ExpectedDigests;

/// Fetches a target again. With `accept=true`, changed content becomes the active record.
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
    let is_changed = refreshed
        .previous
        .is_some_and(|previous| previous != record.sha256);
    Ok(ok(json!({
        "url": redacted_url(&record.target),
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "previous_sha256": refreshed.previous,
        "changed": is_changed,
        "accepted": is_changed && accept,
    })))
}
