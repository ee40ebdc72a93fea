//! State of the process at one time, which other modules report for a scrape. The main type is
//! [`Gauges`].

use super::label::label_enum;
use super::process::ProcessGauges;

label_enum! {
    /// Pool of permits.
    Pool {
        Connections = "connections",
        /// Request heads that have begun and not ended.
        Heads = "heads",
        Responses = "responses",
        /// Responses that come from upstream.
        Upstream = "upstream",
        PassThrough = "pass_through",
        Tunnels = "tunnels",
        /// Fetches that have begun, those that wait included.
        Fetches = "fetches",
        /// Exchanges of class `revalidate`.
        Exchanges = "exchanges",
        /// Fetches that may use the network.
        FetchSlots = "fetch_slots",
    }
}

label_enum! {
    /// Requests that a circuit breaker holds back.
    Circuit {
        /// Fetches from hosts. More than one host may have an open circuit.
        Hosts = "hosts",
        Registries = "registries",
        BucketReads = "bucket_reads",
        BucketWrites = "bucket_writes",
    }
}

/// State of the index that nodes of a cluster share, and its use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexGauges {
    pub is_answering: bool,
    /// Lookups by their result.
    pub lookups: [(&'static str, u64); 3],
    /// Entries that were removed, because the node did not have the object.
    pub removed: u64,
}

/// Level of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolGauges {
    pub size: u64,
    pub taken: u64,
    /// Requests in the queue of the pool.
    pub waiting: u64,
    /// Requests that got no permit since the start of the process.
    pub rejected: u64,
}

/// Use of the cache disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageGauges {
    /// Objects by the ledger of the index.
    pub cached_bytes: u64,
    /// Objects of class `revalidate`, which are part of the cached bytes.
    pub revalidate_bytes: u64,
    pub max_size_bytes: u64,
    pub free_bytes: u64,
    pub free_inodes: u64,
    /// Objects that wait for their upload to the bucket.
    pub queued_uploads: u64,
    /// How long the oldest of them has waited. 0 without one.
    pub oldest_upload_seconds: u64,
}

/// State of the process at one time.
#[derive(Debug, Clone)]
pub struct Gauges {
    pub is_ready: bool,
    pub pools: Vec<(Pool, PoolGauges)>,
    /// Number of open circuits.
    pub circuits: Vec<(Circuit, u64)>,
    pub in_flight_fetches: u64,
    /// `None` if the disk does not answer.
    pub storage: Option<StorageGauges>,
    /// Time since the scrub of the service began its round. 0 before the first one.
    pub scrub_round_age_seconds: u64,
    pub open_alerts: u64,
    pub open_notices: u64,
    /// Peers of the cluster by their state, and refused marks by the reason. Empty without a
    /// cluster.
    pub peers: Vec<(&'static str, u64)>,
    pub peer_refusals: Vec<(&'static str, u64)>,
    pub peer_traffic: Vec<PeerTrafficCounts>,
    /// `None` without a shared index.
    pub index: Option<IndexGauges>,
    /// Log lines that were lost since the start of the process.
    pub lost_log_lines: u64,
    /// `None` if the kernel does not show it.
    pub process: Option<ProcessGauges>,
}

/// Bytes of bodies between this node and a peer of the configuration.
#[derive(Debug, Clone)]
pub struct PeerTrafficCounts {
    /// URL of the configuration.
    pub peer: String,
    pub received_bytes: u64,
    pub sent_bytes: u64,
}
