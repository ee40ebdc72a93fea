//! `GET /api/v1/incidents`: the recent incidents. Readers may see them, since they name the targets
//! of other clients.

use serde_json::json;

use super::query::Query;
use super::response::{ApiResponse, ok};
use crate::admin::{AdminError, ListReader};
use crate::notify::Incidents;

/// Lists the incidents, the newest first.
pub fn list(
    incidents: &Incidents,
    _: &ListReader,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    Ok(ok(json!({ "incidents": incidents.newest_first() })))
}
