//! `GET /api/v1/targets?url=`: the history of a target, and the removal of a target.

use serde_json::{Value, json};

use super::query::Query;
use super::response::{ApiResponse, date, digests, ok, redacted_url};
use crate::admin::{AdminError, AdminService, Operator};
use crate::cache::{PinnedTarget, RecordStatus};
use crate::freshness::Observation;

/// Shows the class of a target, its records and stored responses, and the digest that the checksum
/// file requires.
pub async fn history(
    admin: &AdminService,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let target = query.target()?;
    query.finish()?;
    let (records, observations) = admin.stored(&target).await?;
    Ok(ok(json!({
        "url": redacted_url(&target),
        "class": admin.class(&target),
        "required_sha256": admin.required_sha256(&target),
        "records": records.iter().map(record_json).collect::<Vec<_>>(),
        "observations": observations.iter().map(observation_json).collect::<Vec<_>>(),
    })))
}

/// Removes a target with its records and objects. The path is `DELETE /api/v1/objects?url=`. With
/// `keep_pinned=true`, a pinned target is an error.
pub async fn remove(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let target = query.target()?;
    let pinned = if query.flag("keep_pinned")? {
        PinnedTarget::Keep
    } else {
        PinnedTarget::Remove
    };
    query.finish()?;
    let removed = admin.remove_target(operator, &target, pinned).await?;
    Ok(ok(json!({
        "url": redacted_url(&target),
        "records": removed.records,
        "freed_bytes": removed.freed_bytes,
    })))
}

fn record_json(status: &RecordStatus) -> Value {
    let record = &status.record;
    json!({
        "sha256": record.sha256,
        "digests": digests(record),
        "size_bytes": record.size_bytes,
        "generation": record.generation,
        "standing": record.standing,
        "first_seen": date(record.first_seen),
        "source": record.source,
        "cached": status.is_cached,
        "pinned": status.pinned_at.map(date),
        "active": status.is_active,
    })
}

fn observation_json(observation: &Observation) -> Value {
    json!({
        "sha256": observation.sha256,
        "size_bytes": observation.size_bytes,
        "status": observation.status,
        "received_at": date(observation.received_at),
        "source": observation.source,
        "vary": observation.vary.fields().collect::<Vec<_>>(),
        "completeness": observation.completeness,
        "history": observation.history,
    })
}
