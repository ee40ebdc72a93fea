//! `/api/v1/pins`: pins a target to one digest, and removes pins.

use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::{ObjectDigest, redacted_url};
use crate::admin::{AdminError, AdminService, Operator};

/// Pinned target.
#[derive(Serialize, ToSchema)]
pub struct TargetPinned {
    url: String,
    pinned: ObjectDigest,
}

/// Target without its pins.
#[derive(Serialize, ToSchema)]
pub struct TargetUnpinned {
    url: String,
    /// Number of removed pins.
    unpinned: u64,
}

/// Pins a target to its active record, or to the record of one digest
#[utoipa::path(
    put, path = "/api/v1/pins", operation_id = "pinTarget", tag = "pins",
    params(
        ("url" = String, Query, description = "URL of the target, percent-encoded"),
        ("sha256" = Option<String>, Query, description = "Digest of one record",
         pattern = "^[0-9a-fA-F]{64}$"),
    ),
    responses((status = 200, description = "The target is pinned", body = TargetPinned)),
    security(("operator" = [])),
)]
pub async fn pin(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (target, sha256) = (query.target()?, query.sha256()?);
    query.finish()?;
    let sha256 = admin.pin(operator, &target, sha256).await?;
    ok(&TargetPinned {
        url: redacted_url(&target),
        pinned: sha256.into(),
    })
}

/// Removes the pin to one digest, or all pins of a target
#[utoipa::path(
    delete, path = "/api/v1/pins", operation_id = "unpinTarget", tag = "pins",
    params(
        ("url" = String, Query, description = "URL of the target, percent-encoded"),
        ("sha256" = Option<String>, Query, description = "Digest of one pin",
         pattern = "^[0-9a-fA-F]{64}$"),
    ),
    responses((status = 200, description = "The pins are removed", body = TargetUnpinned)),
    security(("operator" = [])),
)]
pub async fn unpin(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (target, sha256) = (query.target()?, query.sha256()?);
    query.finish()?;
    let unpinned = admin.unpin(operator, &target, sha256).await?;
    ok(&TargetUnpinned {
        url: redacted_url(&target),
        unpinned,
    })
}
