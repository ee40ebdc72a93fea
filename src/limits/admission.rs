//! Admission control: limits open connections and responses, so that a process under load rejects
//! the excess at once and serves the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::idle_connections::{IdleConnections, RegisteredConnection};
use super::pool::{ClientShare, FairPool, PoolClient, PoolLevel, PoolPermit};

/// Maximum number of connections, however many descriptors there are. Each one costs memory.
const MAX_CONNECTIONS: usize = 10_500;

/// Maximum number of responses and tunnels, however many descriptors there are.
const MAX_RESPONSES: usize = 4096;

/// Maximum number of connections above the limit, for rejections and health checks.
const MAX_RESERVE: usize = 64;

/// Divisor of the descriptors that gives the share of these connections.
const RESERVE_FRACTION: usize = 8;

/// Maximum number of request heads that have begun and not ended. Each one is buffered.
const MAX_UNFINISHED_HEADS: usize = 1024;

/// How long a client above the limit may take to send a request head, and to close after the
/// response.
const REJECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The same time, while half of the connections above the limit are open. If all of them are,
/// Millpond accepts no connection of any client.
const CROWDED_REJECT_TIMEOUT: Duration = Duration::from_millis(100);

/// Maximum number of index documents in memory. Each has up to 64 MiB, takes up to four times its
/// length while it is rewritten, and stays until it is sent.
const MAX_DOCUMENTS: usize = 6;

/// Maximum number of requests that wait for one of these permits.
const MAX_WAITING_DOCUMENTS: usize = 128;

/// Divisor of the connection limit. If fewer permits than this share are free for a client, every
/// response closes its connection, so that idle connections do not keep new ones out.
const PART_LEFT_WHEN_NEARLY_FULL: usize = 32;

/// Bounds of a body chunk, in bytes. Larger chunks cost memory for each client, smaller ones cost
/// CPU for each byte.
const MAX_CHUNK_BYTES: usize = 256 * 1024;
const MIN_CHUNK_BYTES: usize = 8 * 1024;

/// Total size of the chunks of all responses, in bytes, above which chunks get smaller. A client
/// that does not read keeps one chunk in memory.
const ALL_CHUNKS_BYTES: usize = 16 << 20;

/// Maximum numbers of connections and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    pub connections: usize,
    /// Connections above this limit, on which every request but a health check is rejected.
    pub reserve: usize,
    /// Responses and tunnels. Each may have a file or another connection open, beside its client's.
    pub responses: usize,
}

impl AdmissionLimits {
    /// Returns the limits for a number of descriptors. An idle connection needs one descriptor, a
    /// connection with a response needs two.
    #[must_use]
    pub fn for_descriptors(descriptors: usize) -> Self {
        let reserve = (descriptors / RESERVE_FRACTION).clamp(1, MAX_RESERVE);
        let left = descriptors.saturating_sub(reserve);
        let responses = (left / 3).clamp(1, MAX_RESPONSES);
        let connections = left.saturating_sub(responses).clamp(1, MAX_CONNECTIONS);
        Self {
            connections,
            reserve,
            responses,
        }
    }
}

/// Admission of a connection.
pub type Admission = Result<ConnectionPermit, ExcessConnection>;

/// Open connection above the limit. It is counted until it is dropped.
#[derive(Debug)]
pub struct ExcessConnection {
    all: Arc<AtomicUsize>,
    reject_timeout: Duration,
}

/// Open connection within the limit. It is counted until it is dropped.
///
/// The accounts are on the heap, because the connection is a part of several large futures.
#[derive(Debug)]
pub struct ConnectionPermit {
    account: Box<ConnectionAccount>,
}

#[derive(Debug)]
struct ConnectionAccount {
    /// Holds the permit of the connection.
    registered: RegisteredConnection,
    client: PoolClient,
    heads: FairPool,
    /// Permit of a head that has begun and not ended.
    head: Option<PoolPermit>,
}

impl ExcessConnection {
    fn count(all: &Arc<AtomicUsize>, reserve: usize) -> Self {
        let before = all.fetch_add(1, Ordering::Relaxed);
        let is_crowded = before >= reserve / 2;
        Self {
            all: Arc::clone(all),
            reject_timeout: if is_crowded {
                CROWDED_REJECT_TIMEOUT
            } else {
                REJECT_TIMEOUT
            },
        }
    }

    /// How long the client may take to send a request head, and to close after the response.
    pub(crate) fn reject_timeout(&self) -> Duration {
        self.reject_timeout
    }
}

impl Drop for ExcessConnection {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionPermit {
    /// Time as [`ExcessConnection::reject_timeout`], after another connection has got the permit.
    pub(crate) const REJECT_TIMEOUT: Duration = REJECT_TIMEOUT;

    /// Counts a request head that has begun and not ended, until [`Self::end_head`]. Returns false
    /// if no permit is free for the client.
    pub(crate) fn begin_head(&mut self) -> bool {
        let account = &mut self.account;
        if account.head.is_none() {
            account.head = account.heads.try_acquire(account.client).ok();
        }
        account.head.is_some()
    }

    /// Records that no byte is there of a request that the client may send. Returns whether another
    /// connection has got the permit. `reader` is woken then.
    pub(crate) fn wait_for_request(&self, reader: &Waker) -> bool {
        self.account.registered.wait_for_request(reader)
    }

    /// Records that bytes have arrived. Returns whether another connection has got the permit.
    pub(crate) fn receive(&self) -> bool {
        self.account.registered.receive()
    }

    /// Records that a request has ended.
    pub(crate) fn end_request(&self) {
        self.account.registered.end_request();
    }

    /// Ends the counting of a request head.
    pub(crate) fn end_head(&mut self) {
        self.account.head = None;
    }
}

/// Active response or tunnel. It is counted until it is dropped.
#[derive(Debug)]
pub struct ResponsePermit {
    _permit: PoolPermit,
}

/// Index document in memory. It is counted until it is dropped.
#[derive(Debug)]
pub struct DocumentPermit {
    _permit: PoolPermit,
}

/// Levels of the pools of connections and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLevels {
    pub connections: PoolLevel,
    /// Request heads that have begun and not ended.
    pub heads: PoolLevel,
    pub responses: PoolLevel,
}

/// Permits for the connections and responses of this process.
#[derive(Debug)]
pub struct AdmissionControl {
    limits: AdmissionLimits,
    connections: FairPool,
    idle: Arc<IdleConnections>,
    /// Connections above the limit.
    excess: Arc<AtomicUsize>,
    heads: FairPool,
    responses: FairPool,
    documents: FairPool,
}

impl AdmissionControl {
    #[must_use]
    pub fn new(limits: AdmissionLimits, share: &ClientShare) -> Self {
        let max_heads = MAX_UNFINISHED_HEADS.min(limits.connections);
        Self {
            limits,
            connections: FairPool::new(limits.connections, 0, share),
            idle: Arc::default(),
            excess: Arc::default(),
            heads: FairPool::new(max_heads, 0, share),
            responses: FairPool::new(limits.responses, 0, share),
            documents: FairPool::new(MAX_DOCUMENTS, MAX_WAITING_DOCUMENTS, share),
        }
    }

    /// Returns how many connections may be open, with those that are only accepted to be rejected.
    pub(crate) fn max_connections(&self) -> usize {
        self.limits.connections + self.limits.reserve
    }

    /// Counts a connection of a client. If no permit is free for the client, a connection without a
    /// request gives way: one of the client, or one of the client with the most connections if this
    /// client is within its share. A recent one of the client itself comes last, because its
    /// request may follow. If there is none, the connection is above the limit.
    pub(crate) fn acquire_connection_permit(&self, client: PoolClient) -> Admission {
        let take_over = || {
            let idle = &self.idle;
            let of_largest = || {
                let is_within_share = self.connections.is_within_share(client);
                is_within_share.then(|| idle.take_from_largest(client))?
            };
            idle.take_from(client)
                .or_else(of_largest)
                .or_else(|| idle.take_recent_from(client))
        };
        let permit = self.connections.acquire_or_take_over(client, take_over);
        let Ok(permit) = permit else {
            return Err(ExcessConnection::count(&self.excess, self.limits.reserve));
        };
        let account = Box::new(ConnectionAccount {
            registered: self.idle.register(client, permit),
            client,
            heads: self.heads.clone(),
            head: None,
        });
        Ok(ConnectionPermit { account })
    }

    /// Counts a response or a tunnel of a client. Returns `None` if no permit is free for the
    /// client.
    pub(crate) fn acquire_response_permit(&self, client: PoolClient) -> Option<ResponsePermit> {
        let permit = self.responses.try_acquire(client).ok()?;
        Some(ResponsePermit { _permit: permit })
    }

    /// Waits in the client's turn until a document of `host` may be in memory. Returns `None` if
    /// too many requests wait.
    pub(crate) async fn acquire_document_permit(
        &self,
        client: PoolClient,
        host: &str,
    ) -> Option<DocumentPermit> {
        let permit = self.documents.acquire(client, host).await.ok()?;
        Some(DocumentPermit { _permit: permit })
    }

    /// Returns whether connections of a client should close after their response.
    pub(crate) fn is_nearly_full(&self, client: PoolClient) -> bool {
        let reserve = self.limits.connections.div_ceil(PART_LEFT_WHEN_NEARLY_FULL);
        self.connections.free_for(client) < reserve
    }

    /// Returns the levels of all pools.
    pub(crate) fn levels(&self) -> AdmissionLevels {
        AdmissionLevels {
            connections: self.connections.level(),
            heads: self.heads.level(),
            responses: self.responses.level(),
        }
    }

    /// Returns the chunk size of a body that starts now, in bytes.
    pub(crate) fn chunk_bytes(&self) -> usize {
        (ALL_CHUNKS_BYTES / self.responses.taken().max(1)).clamp(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES)
    }
}
