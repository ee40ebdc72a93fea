//! State of this process at one time, as the page shows it. The main type is [`Snapshot`].

use std::time::SystemTime;

use super::failure_log::{HostFailure, SeenFailure};
use super::series::PeriodTraffic;
use crate::cache::{DiskUsage, PinnedUse};
use crate::cluster::PeerView;
use crate::fetch::{FetchView, OpenCircuit};
use crate::jobs::{JobView, ScrubRound};
use crate::metrics::{Cost, Gauges, TrafficTotals};
use crate::model::{ClientNet, Sha256};
use crate::notify::Incident;

/// State of this process at one time.
pub struct Snapshot {
    pub name: String,
    pub started_at: SystemTime,
    /// Date of the first known traffic.
    pub traffic_since: SystemTime,
    /// Warnings of an instance that should get requests, or the reason why it should get none.
    pub readiness: Result<Vec<String>, String>,
    /// Newest first.
    pub incidents: Vec<Incident>,
    pub gauges: Gauges,
    pub periods: Vec<PeriodTraffic>,
    pub since_start: TrafficTotals,
    /// Oldest first.
    pub fetches: Vec<FetchView>,
    pub failures: Vec<HostFailure>,
    pub circuits: Vec<OpenCircuit>,
    /// `None` if the disk does not answer.
    pub disk: Option<DiskUsage>,
    /// `None` if it is unknown.
    pub pinned: Option<PinnedUse>,
    /// `None` without a bucket.
    pub bucket: Option<BucketFacts>,
    pub changed: Vec<ChangedTarget>,
    /// Wrong file types and digests, newest first.
    pub mismatches: Vec<SeenFailure>,
    pub hosts: Vec<(Box<str>, Cost)>,
    pub clients: Vec<(ClientNet, Cost)>,
    /// `None` before the first scrub of the service.
    pub scrub: Option<ScrubRound>,
    /// Peers of this node. Empty without a cluster.
    pub peers: Vec<PeerView>,
    /// Newest first.
    pub jobs: Vec<JobView>,
    /// `None` if the known tags cannot be read.
    pub images: Option<KnownImages>,
}

/// Container images whose tags are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownImages {
    pub total: usize,
    /// Those that were checked last, the newest first.
    pub newest: Vec<ShownImage>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownImage {
    /// `HOST/NAME:TAG`.
    pub name: String,
    pub digest: String,
    /// `None` for an adopted image.
    pub checked_at: Option<SystemTime>,
    /// Platforms with their sizes, which are known if the manifest is stored.
    pub platforms: Vec<(String, Option<u64>)>,
}

/// State of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketFacts {
    pub id: String,
    pub last_error: Option<String>,
    pub is_failing_reads: bool,
    pub is_failing_writes: bool,
}

/// A target that has returned other bytes than before, about which no operator has decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedTarget {
    pub url: String,
    /// Bytes that answer.
    pub active: Option<OtherBytes>,
    /// Bytes that came later, the newest first.
    pub others: Vec<OtherBytes>,
}

/// Bytes of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherBytes {
    pub sha256: Sha256,
    pub size_bytes: u64,
    pub first_seen: SystemTime,
    pub source: String,
}
