//! `/api/v1/pins`: pins a target to one digest, and removes pins.

use serde_json::json;

use super::query::Query;
use super::response::{ApiResponse, ok, redacted_url};
use crate::admin::{AdminError, AdminService, Operator};

/// Pins a target to the digest `sha256`, or to its active record if there is no such parameter.
pub async fn pin(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (target, sha256) = (query.target()?, query.sha256()?);
    query.finish()?;
    let sha256 = admin.pin(operator, &target, sha256).await?;
    Ok(ok(
        json!({ "url": redacted_url(&target), "pinned": sha256 }),
    ))
}

/// Removes the pin to the digest `sha256`, or all pins if there is no such parameter.
pub async fn unpin(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (target, sha256) = (query.target()?, query.sha256()?);
    query.finish()?;
    let unpinned = admin.unpin(operator, &target, sha256).await?;
    Ok(ok(
        json!({ "url": redacted_url(&target), "unpinned": unpinned }),
    ))
}
