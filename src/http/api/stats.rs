//! `GET /api/v1/stats`: a summary of this instance, from the same ledger as `/metrics`. All
//! admitted clients may read it, since it contains no target and no secret.

use std::net::IpAddr;

use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::response::{ApiResponse, ok};
use crate::admin::AdminError;
use crate::cache::DiskUsage;
use crate::http::builtin_pages::readiness;
use crate::http::client_info::{Frontend, RequestOrigin};
use crate::http::state::HttpService;
use crate::metrics::TrafficTotals;

/// Summary of this instance.
#[derive(Serialize, ToSchema)]
pub struct InstanceStats {
    /// Name of this node in `Via`.
    name: String,
    version: &'static str,
    ready: bool,
    /// Reason why this instance should get no requests.
    reason: Option<&'static str>,
    warnings: Vec<String>,
    /// Null while the disk does not answer.
    disk: Option<DiskStats>,
    /// Number of in-flight fetches.
    in_flight: usize,
    since_start: TrafficStats,
    incidents: IncidentCounts,
    request: RequestFacts,
}

/// Use of the cache disk.
#[derive(Serialize, ToSchema)]
pub struct DiskStats {
    /// Total length of the cached objects.
    cached_bytes: u64,
    /// Bytes on the disk of objects, unfinished bodies and small files.
    used_bytes: u64,
    /// Those of them that belong to records, observations and digests.
    metadata_bytes: u64,
    used_inodes: u64,
    max_size_bytes: u64,
    /// Bytes of the file system that this process may still use.
    free_bytes: u64,
    free_inodes: u64,
}

/// Sums of the counters of this process.
#[derive(Serialize, ToSchema)]
pub struct TrafficStats {
    requests: u64,
    /// Downloads of targets. The ratios refer to them.
    downloads: u64,
    hits: u64,
    /// Null before the first download.
    hit_ratio: Option<f64>,
    sent_bytes: u64,
    hit_bytes: u64,
    byte_hit_ratio: Option<f64>,
    /// Bytes that came from origins.
    received_bytes: u64,
    aborted_responses: u64,
    fetches_stored: u64,
    fetches_failed: u64,
}

/// Numbers of open incidents.
#[derive(Serialize, ToSchema)]
pub struct IncidentCounts {
    alerts: usize,
    notices: usize,
}

/// The request as this instance sees it, which depends on `gateway.trusted_proxies`.
#[derive(Serialize, ToSchema)]
pub struct RequestFacts {
    #[schema(value_type = String)]
    client: IpAddr,
    frontend: FrontendName,
}

/// The way of a request to this instance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FrontendName {
    Direct,
    /// Through the proxy port of this instance.
    Proxy,
    /// Through a trusted nginx.
    Nginx,
}

/// Shows version, readiness, disk, in-flight fetches and open incidents
///
/// Needs no token, since the summary contains no target and no secret.
#[utoipa::path(
    get, path = "/api/v1/stats", operation_id = "showStats", tag = "stats",
    responses((status = 200, description = "The summary", body = InstanceStats)),
)]
pub async fn show(
    service: &HttpService,
    origin: &RequestOrigin,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let readiness = readiness(service);
    let counts = service.reports.incidents.count_open();
    ok(&InstanceStats {
        name: service.name.as_str().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        ready: readiness.is_ok(),
        reason: readiness.as_ref().err().copied(),
        warnings: readiness.unwrap_or_default(),
        // A disk that does not answer is a fact to show, and no reason to fail.
        disk: service.admin.disk_usage().await.ok().map(Into::into),
        in_flight: service.admin.fetch_load().in_flight,
        since_start: service.reports.facts.totals().into(),
        incidents: IncidentCounts {
            alerts: counts.alerts,
            notices: counts.notices,
        },
        request: RequestFacts {
            client: origin.client,
            frontend: match origin.frontend {
                Frontend::Direct => FrontendName::Direct,
                Frontend::OwnProxy => FrontendName::Proxy,
                Frontend::TrustedNginx { .. } => FrontendName::Nginx,
            },
        },
    })
}

impl From<DiskUsage> for DiskStats {
    fn from(usage: DiskUsage) -> Self {
        Self {
            cached_bytes: usage.cached_bytes,
            used_bytes: usage.used_bytes,
            metadata_bytes: usage.metadata_bytes,
            used_inodes: usage.used_inodes,
            max_size_bytes: usage.max_size_bytes,
            free_bytes: usage.free_bytes,
            free_inodes: usage.free_inodes,
        }
    }
}

impl From<TrafficTotals> for TrafficStats {
    fn from(totals: TrafficTotals) -> Self {
        Self {
            requests: totals.requests,
            downloads: totals.downloads,
            hits: totals.hits,
            hit_ratio: totals.hit_ratio(),
            sent_bytes: totals.sent_bytes,
            hit_bytes: totals.hit_bytes,
            byte_hit_ratio: totals.byte_hit_ratio(),
            received_bytes: totals.received_bytes,
            aborted_responses: totals.aborted_responses,
            fetches_stored: totals.fetches_stored,
            fetches_failed: totals.fetches_failed,
        }
    }
}
