//! `/metrics`: the ledger of facts and the present state, for Prometheus.
//!
//! The main function is [`serve`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::builtin_pages::readiness;
use super::parse_request::single;
use super::responder::Responder;
use super::state::HttpService;
use crate::cache::{Bucket, DiskUsage};
use crate::cluster::PeerState;
use crate::gateway::RequestError;
use crate::jobs::ScrubRound;
use crate::limits::PoolLevel;
use crate::metrics::{
    Circuit, Gauges, IndexGauges, MetricsFormat, PeerTrafficCounts, Pool, PoolGauges,
    ProcessGauges, StorageGauges, render,
};

/// Path of the page at the gateway port.
pub const METRICS_PATH: &str = "/metrics";

/// Longest wait for the disk. Prometheus waits for ten seconds by default, and the other metrics
/// matter most while the disk hangs.
const DISK_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves the page to the clients of `gateway.metrics_clients`.
pub async fn serve(
    request: &HttpRequest,
    service: &HttpService,
    client: IpAddr,
    responder: Responder<'_>,
) -> HttpResponse {
    if !service.settings.load().may_read_metrics(client) {
        let error = RequestError::UnlistedClient("gateway.metrics_clients");
        return responder.send_error(&error);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let method = request.method().to_string();
        return responder.send_error(&RequestError::MethodNotSupported(method));
    }
    let accept = single(request.headers(), ACCEPT.as_str()).unwrap_or_default();
    let format = MetricsFormat::accepted_by(accept);
    let facts = Arc::clone(&service.reports.facts);
    let usage = read_usage(service).await;
    let gauges = read_gauges(service, usage.as_ref()).await;
    let page = match render(&facts, gauges, format) {
        Ok(page) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, format.content_type()))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(page),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            HttpResponse::new(StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    responder.send_page(page)
}

/// Returns the use of the disk, or `None` if the disk does not answer.
pub async fn read_usage(service: &HttpService) -> Option<DiskUsage> {
    let usage = timeout(DISK_TIMEOUT, service.operators.admin.disk_usage()).await;
    usage.ok().and_then(Result::ok)
}

/// Returns the round of the scrub, or `None` if there is none or the disk does not answer.
pub async fn read_round(service: &HttpService) -> Option<ScrubRound> {
    let round = timeout(DISK_TIMEOUT, service.operators.jobs.scrub_round()).await;
    round.ok().flatten()
}

fn seconds_since(moment: SystemTime) -> u64 {
    // A clock that was set back makes it 0.
    moment.elapsed().unwrap_or_default().as_secs()
}

/// Reads the state of all modules. `usage` is that of the disk.
pub async fn read_gauges(service: &HttpService, usage: Option<&DiskUsage>) -> Gauges {
    let storage = usage.map(|usage| StorageGauges {
        cached_bytes: usage.cached_bytes,
        revalidate_bytes: usage.observed_bytes,
        max_size_bytes: usage.max_size_bytes,
        free_bytes: usage.free_bytes,
        free_inodes: usage.free_inodes,
        queued_uploads: usage.queued_uploads,
        oldest_upload_seconds: usage.oldest_upload.map_or(0, seconds_since),
    });
    let process = spawn_blocking(ProcessGauges::read).await;
    let incidents = service.operators.incidents.count_open();
    Gauges {
        is_ready: readiness(service).is_ok(),
        pools: pools(service),
        circuits: circuits(service),
        in_flight_fetches: service.operators.admin.fetch_load().in_flight as u64,
        storage,
        scrub_round_age_seconds: read_round(service)
            .await
            .and_then(|round| round.began)
            .map_or(0, seconds_since),
        open_alerts: incidents.alerts as u64,
        open_notices: incidents.notices as u64,
        peers: peers(service),
        peer_refusals: peer_refusals(service),
        peer_traffic: peer_traffic(service),
        index: index_gauges(service),
        lost_log_lines: service.reports.log.lost_lines(),
        process: process.ok().flatten(),
    }
}

/// Counts the peers of each state. Empty without a cluster.
fn peers(service: &HttpService) -> Vec<(&'static str, u64)> {
    if service.cluster.key().is_none() {
        return Vec::new();
    }
    let peers = service.cluster.peers();
    let count = |state| peers.iter().filter(|peer| peer.state == state).count() as u64;
    PeerState::ALL
        .map(|state| (state.as_str(), count(state)))
        .into()
}

fn peer_refusals(service: &HttpService) -> Vec<(&'static str, u64)> {
    let refusals = service.cluster.refusals();
    refusals
        .map(|(reason, count)| (reason.as_str(), count))
        .into()
}

fn peer_traffic(service: &HttpService) -> Vec<PeerTrafficCounts> {
    let peers = service.cluster.peers().into_iter();
    // Anybody who may write to Redis could add a series.
    let proven = peers.filter(|peer| !peer.is_found || peer.node.is_some());
    let counts = proven.map(|peer| PeerTrafficCounts {
        peer: peer.url.redacted(),
        received_bytes: peer.traffic.received_bytes,
        sent_bytes: peer.traffic.sent_bytes,
    });
    counts.collect()
}

fn index_gauges(service: &HttpService) -> Option<IndexGauges> {
    let index = service.cluster.shared_index()?;
    let counts = index.counts();
    Some(IndexGauges {
        is_answering: index.is_answering(),
        lookups: [
            ("named", counts.named.get()),
            ("unnamed", counts.unnamed.get()),
            ("unanswered", counts.unanswered.get()),
        ],
        removed: counts.removed.get(),
    })
}

fn pools(service: &HttpService) -> Vec<(Pool, PoolGauges)> {
    let (own, upstream) = (
        service.admission.levels(),
        service.gateway.upstream_levels(),
    );
    let fetches = service.operators.admin.fetch_load();
    let levels = [
        (Pool::Connections, own.connections),
        (Pool::Heads, own.heads),
        (Pool::Responses, own.responses),
        (Pool::Upstream, upstream.responses),
        (Pool::PassThrough, upstream.pass_through),
        (Pool::Tunnels, upstream.tunnels),
        (Pool::Fetches, fetches.begun),
        (Pool::Exchanges, fetches.exchanges),
        (Pool::FetchSlots, fetches.slots),
    ];
    levels.map(|(pool, level)| (pool, gauges_of(level))).into()
}

fn gauges_of(level: PoolLevel) -> PoolGauges {
    PoolGauges {
        size: level.size as u64,
        taken: level.taken as u64,
        waiting: level.waiting as u64,
        rejected: level.rejected,
    }
}

fn paused_registries(service: &HttpService) -> u64 {
    let limits = service.images.rate_limits().into_iter();
    limits.filter(|limit| limit.pause().is_some()).count() as u64
}

fn circuits(service: &HttpService) -> Vec<(Circuit, u64)> {
    let hosts = service.operators.admin.fetch_load().open_circuits as u64;
    let bucket = service.gateway.bucket();
    let reads = bucket.is_some_and(Bucket::is_failing);
    let writes = bucket.is_some_and(Bucket::is_failing_writes);
    vec![
        (Circuit::Hosts, hosts),
        (Circuit::Registries, paused_registries(service)),
        (Circuit::BucketReads, u64::from(reads)),
        (Circuit::BucketWrites, u64::from(writes)),
    ]
}
