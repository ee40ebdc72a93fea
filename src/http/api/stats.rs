//! `GET /api/v1/stats`: a summary of this instance, from the same ledger as `/metrics`. All
//! admitted clients may read it, since it contains no target and no secret.

use serde_json::{Value, json};

use super::query::Query;
use super::response::{ApiResponse, ok};
use crate::admin::AdminError;
use crate::http::builtin_pages::readiness;
use crate::http::client_info::{Frontend, RequestOrigin};
use crate::http::state::HttpService;

/// Shows version, readiness, disk, in-flight fetches and open incidents. `request` shows the client
/// as this instance sees it, which depends on `gateway.trusted_proxies`.
pub async fn show(
    service: &HttpService,
    origin: &RequestOrigin,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let readiness = readiness(service);
    // A disk that does not answer is a fact to show, and no reason to fail.
    let disk = service
        .operators
        .admin
        .disk_usage()
        .await
        .ok()
        .map(|usage| {
            json!({
                "cached_bytes": usage.cached_bytes,
                "used_bytes": usage.used_bytes,
                "metadata_bytes": usage.metadata_bytes,
                "used_inodes": usage.used_inodes,
                "max_size_bytes": usage.max_size_bytes,
                "free_bytes": usage.free_bytes,
                "free_inodes": usage.free_inodes,
            })
        });
    let counts = service.operators.incidents.count_open();
    let totals = service.reports.facts.totals();
    Ok(ok(json!({
        "name": service.name.as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "ready": readiness.is_ok(),
        "reason": readiness.as_ref().err(),
        "warnings": readiness.as_ref().cloned().unwrap_or_default(),
        "disk": disk.unwrap_or(Value::Null),
        "in_flight": service.operators.admin.fetch_load().in_flight,
        "since_start": {
            "requests": totals.requests,
            "downloads": totals.downloads,
            "hits": totals.hits,
            "hit_ratio": totals.hit_ratio(),
            "sent_bytes": totals.sent_bytes,
            "hit_bytes": totals.hit_bytes,
            "byte_hit_ratio": totals.byte_hit_ratio(),
            "received_bytes": totals.received_bytes,
            "aborted_responses": totals.aborted_responses,
            "fetches_stored": totals.fetches_stored,
            "fetches_failed": totals.fetches_failed,
        },
        "incidents": { "alerts": counts.alerts, "notices": counts.notices },
        "request": {
            "client": origin.client,
            "frontend": match origin.frontend {
                Frontend::Direct => "direct",
                Frontend::OwnProxy => "proxy",
                Frontend::TrustedNginx { .. } => "nginx",
            },
        },
    })))
}
