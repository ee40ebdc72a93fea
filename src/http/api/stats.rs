//! `GET /api/v1/stats`: a summary of this instance, from the same ledger as `/metrics`. All
//! admitted clients may read it, since it contains no target and no secret.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::host_totals::{HostTotals, MAX_GROUPS, totals_by_host};
use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::Moment;
use crate::admin::{AdminError, Permission};
use crate::cache::DiskUsage;
use crate::gateway::RequestError;
use crate::http::builtin_pages::readiness;
use crate::http::client_info::{Frontend, RequestOrigin};
use crate::http::state::HttpService;
use crate::metrics::TrafficTotals;
use crate::registry::RateLimit;

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
    /// Limits that container registries have stated for the requests of this instance.
    registries: Vec<RegistryLimits>,
    /// Totals of stored targets by host, those with most cached bytes first, for `by=host`.
    hosts: Option<Vec<HostTotals>>,
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
    /// Objects that wait for their upload to the bucket.
    queued_uploads: u64,
    /// When the one that has waited longest was queued.
    oldest_upload: Option<Moment>,
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

/// Limits of a container registry, as its last answers state them.
#[derive(Serialize, ToSchema)]
pub struct RegistryLimits {
    registry: String,
    /// Requests in the window of the registry.
    limit: Option<u64>,
    remaining: Option<u64>,
    /// Time for which the registry is not asked.
    paused_seconds: Option<u64>,
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

/// Groups of stored targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    Host,
}

/// Shows version, readiness, disk, in-flight fetches and open incidents
///
/// Needs no token, since the summary contains no target and no secret. The totals by host need one.
#[utoipa::path(
    get, path = "/api/v1/stats", operation_id = "showStats", tag = "stats",
    params(
        ("by" = Option<GroupBy>, Query, description = "Adds the totals of these groups"),
        ("limit" = Option<usize>, Query, description = "Number of groups",
         minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "The summary", body = InstanceStats)),
    security((), ("reader" = []), ("operator" = [])),
)]
pub async fn show(
    service: &HttpService,
    origin: &RequestOrigin,
    permission: Permission,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let by = query.choice("by")?;
    if by.is_none() && query.text("limit")?.is_some() {
        let text = "limit is the number of groups, so that it needs by";
        return Err(RequestError::BadRequest(text.to_owned()).into());
    }
    let limit = query.limit(MAX_GROUPS)?;
    query.finish()?;
    let hosts = match by {
        None => None,
        Some(GroupBy::Host) => {
            let reader = permission.into_reader()?;
            Some(totals_by_host(&service.operators.admin, &reader, limit).await?)
        }
    };
    let readiness = readiness(service);
    let counts = service.operators.incidents.count_open();
    ok(&InstanceStats {
        name: service.name.as_str().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        ready: readiness.is_ok(),
        reason: readiness.as_ref().err().copied(),
        warnings: readiness.unwrap_or_default(),
        // A disk that does not answer is a fact to show, and no reason to fail.
        disk: service
            .operators
            .admin
            .disk_usage()
            .await
            .ok()
            .map(Into::into),
        in_flight: service.operators.admin.fetch_load().in_flight,
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
        registries: service
            .images
            .rate_limits()
            .into_iter()
            .map(Into::into)
            .collect(),
        hosts,
    })
}

impl From<RateLimit> for RegistryLimits {
    fn from(limit: RateLimit) -> Self {
        Self {
            paused_seconds: limit.pause().map(|pause| pause.as_secs() + 1),
            registry: limit.registry,
            limit: limit.limit,
            remaining: limit.remaining,
        }
    }
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
            queued_uploads: usage.queued_uploads,
            oldest_upload: usage.oldest_upload.map(Into::into),
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
