//! Targets that this node copies from another one, because that one asks for it.
//!
//! A pull copies and verifies without the request that began it, so that a large object needs no
//! long request. The main type is [`NodePulls`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::from_node::{NodeCopier, NodeSelection};
use crate::cache::{Cache, CacheError, StoredBytes, TierPart};
use crate::cluster::{Cluster, PeerClient, PeerError};
use crate::disk::{DiskError, DiskStore, IoClass, records};
use crate::model::{Key, Sha256, lock};

/// Bound on the targets that are copied for other nodes at the same time, waiting ones included.
const MAX_PULLS: usize = 64;

/// Longest time for which a request waits for its pull.
const PULL_WAIT: Duration = Duration::from_secs(5);

/// Longest time for which a request waits until its peer is known. A node polls its peers when it
/// starts.
const IDENTITY_WAIT: Duration = Duration::from_secs(3);

/// State of a target after a pull.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PullState {
    /// Whether the pull goes on, or has not begun.
    pub is_pending: bool,
    /// Digests of the objects of the target that this node has, in hexadecimal. Each was compared.
    pub stored: Vec<String>,
    /// Bytes that the pull has copied.
    pub copied_bytes: u64,
    /// Objects for which this node has no space.
    pub without_space: u64,
    /// Whether the pull has failed. Records and pins may be missing then.
    #[serde(default)]
    pub has_failed: bool,
}

impl PullState {
    /// State of a pull that goes on, or has not begun.
    fn pending() -> Self {
        Self {
            is_pending: true,
            ..Self::default()
        }
    }
}

/// Time for which the state of a pull is kept that ended while no request waited for it.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// Target, and the URL of the peer from which it is copied. `None`: it is only verified.
type PullName = (Key, Option<String>);

type SharedState = Shared<BoxFuture<'static, PullState>>;

/// A pull that runs, or whose state no request has got yet.
struct KnownPull {
    state: SharedState,
    ended_at: Option<Instant>,
}

/// Pulls of this process.
pub struct NodePulls {
    cluster: Arc<Cluster>,
    copier: Arc<NodeCopier>,
    cache: Cache,
    known: Arc<Mutex<HashMap<PullName, KnownPull>>>,
    tasks: TaskTracker,
    /// Cancelled when pulls must end at once.
    stop: CancellationToken,
}

impl NodePulls {
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, copier: Arc<NodeCopier>, cache: Cache) -> Self {
        Self {
            cluster,
            copier,
            cache,
            known: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Ends all pulls. The node that has asked for them tries again.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Copies a target from the peer with the identity `from`, if it is stated, and returns what is
    /// stored then. Waits for a peer that this node has not polled since its start.
    ///
    /// # Errors
    /// [`PeerError`] if the peer is not known or does not fit.
    pub async fn pull(&self, from: Option<&str>, key: Key) -> Result<PullState, PeerError> {
        let peer = match from {
            Some(from) => Some(PeerClient::await_id(&self.cluster, from, IDENTITY_WAIT).await?),
            None => None,
        };
        let name = (key, peer.map(|peer| peer.url().to_owned()));
        let Some(pull) = self.join_or_start(&name) else {
            return Ok(PullState::pending());
        };
        let Ok(state) = timeout(PULL_WAIT, pull.clone()).await else {
            return Ok(PullState::pending());
        };
        // The next request copies what was stored since.
        let mut known = lock(&self.known);
        if known
            .get(&name)
            .is_some_and(|known| known.state.ptr_eq(&pull))
        {
            known.remove(&name);
        }
        Ok(state)
    }

    /// Joins the pull of a target, or starts one. Returns `None` if too many run.
    fn join_or_start(&self, name: &PullName) -> Option<SharedState> {
        let mut known = lock(&self.known);
        let is_kept = |pull: &KnownPull| pull.ended_at.is_none_or(|at| at.elapsed() < KEPT_FOR);
        known.retain(|_, pull| is_kept(pull));
        if let Some(pull) = known.get(name) {
            return Some(pull.state.clone());
        }
        if known.len() >= MAX_PULLS {
            known.retain(|_, pull| pull.ended_at.is_none());
        }
        if known.len() >= MAX_PULLS {
            return None;
        }
        let (copier, cache) = (Arc::clone(&self.copier), self.cache.clone());
        let (others, own_name) = (Arc::clone(&self.known), name.clone());
        let stop = self.stop.clone();
        let task = self.tasks.spawn(async move {
            // The future of a copy is large, so it is on the heap.
            let work = Box::pin(copy_and_verify(&copier, &cache, &own_name));
            let ended = stop.run_until_cancelled(work).await;
            // Nothing is known of a pull that was cancelled.
            let state = ended.unwrap_or_else(PullState::pending);
            if let Some(pull) = lock(&others).get_mut(&own_name) {
                pull.ended_at = Some(Instant::now());
            }
            state
        });
        let pull = KnownPull {
            state: task.map(Result::unwrap_or_default).boxed().shared(),
            ended_at: None,
        };
        let state = pull.state.clone();
        known.insert(name.clone(), pull);
        Some(state)
    }
}

/// Copies a target, if there is a peer to copy from, and returns what is stored then.
async fn copy_and_verify(copier: &NodeCopier, cache: &Cache, (key, peer): &PullName) -> PullState {
    let mut state = PullState::default();
    if let Some(peer) = peer {
        let from = NodeSelection {
            peer: peer.clone(),
            hosts: Vec::new(),
            owned: false,
        };
        match copier.copy(&from, TierPart::Target(*key)).await {
            Ok(report) => {
                state.copied_bytes = report.copied_bytes;
                state.without_space = report.without_space;
            }
            Err(error) => {
                tracing::warn!(%error, %key, %peer, "target of a peer was not copied");
                state.has_failed = true;
            }
        }
    }
    state.stored = stored(cache, *key).await.unwrap_or_else(|error| {
        tracing::warn!(%error, %key, "objects of a target were not verified");
        Vec::new()
    });
    state
}

/// Returns the digests of the objects of a target, each of which was compared with its bytes.
async fn stored(cache: &Cache, key: Key) -> Result<Vec<String>, CacheError> {
    let read = move |disk: &DiskStore| {
        let found = records::read_all(&disk.layout, key)?.readable;
        let found = found.into_iter();
        let cached = found.filter(|record| records::is_cached(&disk.layout, record));
        let digests: Vec<Sha256> = cached.map(|record| record.sha256).collect();
        Ok::<_, DiskError>(digests)
    };
    let mut stored = Vec::new();
    for sha256 in cache.disk().run(IoClass::Maintenance, read).await? {
        let Some(object) = cache.admin().open_object(sha256).await? else {
            continue;
        };
        let verified = cache.verification().verify(&object).await;
        if matches!(verified, Ok(StoredBytes::Intact)) {
            stored.push(sha256.to_string());
        }
    }
    Ok(stored)
}
