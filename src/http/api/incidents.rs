//! `GET /api/v1/incidents`: the recent incidents. All admitted clients may read them, since they
//! contain no secret.

use serde_json::json;

use super::query::Query;
use super::response::{ApiResponse, ok};
use crate::admin::AdminError;
use crate::notify::Incidents;

/// Lists the incidents, the newest first.
pub fn list(incidents: &Incidents, query: Query<'_>) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    Ok(ok(json!({ "incidents": incidents.newest_first() })))
}
