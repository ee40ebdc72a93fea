//! Targets that this node copies from another one, because that one asks for it.
//!
//! A pull goes on without the request that began it, so that a large object needs no long request.
//! The main type is [`NodePulls`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::from_node::{NodeCopier, NodeSelection};
use crate::cache::{Cache, CacheError, CopyReport, StoredBytes, TierPart};
use crate::cluster::{Cluster, PeerClient, PeerError};
use crate::disk::{DiskError, DiskStore, IoClass, records};
use crate::model::{Key, Sha256, lock};

/// Bound on the targets that are copied for other nodes at the same time, waiting ones included.
const MAX_PULLS: usize = 64;

/// Longest time for which a request waits for its pull.
const PULL_WAIT: Duration = Duration::from_secs(5);

/// State of a target after a pull.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PullState {
    /// Whether the pull goes on, or has not begun.
    pub is_pending: bool,
    /// Digests of the objects of the target that this node has, in hexadecimal. Each was compared.
    pub stored: Vec<String>,
    /// Bytes that the pull has copied.
    pub copied_bytes: u64,
    /// Objects for which this node has no space.
    pub without_space: u64,
}

type RunningPull = Shared<BoxFuture<'static, CopyReport>>;

/// Pulls of this process.
pub struct NodePulls {
    cluster: Arc<Cluster>,
    copier: Arc<NodeCopier>,
    cache: Cache,
    running: Arc<Mutex<HashMap<Key, RunningPull>>>,
}

impl NodePulls {
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, copier: Arc<NodeCopier>, cache: Cache) -> Self {
        Self {
            cluster,
            copier,
            cache,
            running: Arc::default(),
        }
    }

    /// Copies a target from the peer with the identity `from`, if it is stated, and returns what is
    /// stored then.
    ///
    /// # Errors
    /// [`PeerError`] if the peer is not known or does not fit.
    pub async fn pull(&self, from: Option<&str>, key: Key) -> Result<PullState, PeerError> {
        let mut state = PullState::default();
        if let Some(from) = from {
            let peer = PeerClient::find_by_id(&self.cluster, from)?;
            let pull = self.join_or_start(&peer, key);
            let waiting = async { Some(pull?.await) };
            let Ok(Some(report)) = timeout(PULL_WAIT, waiting).await else {
                state.is_pending = true;
                return Ok(state);
            };
            (state.copied_bytes, state.without_space) = (report.copied_bytes, report.without_space);
        }
        let stored = self.stored(key).await;
        state.stored = stored.unwrap_or_else(|error| {
            tracing::warn!(%error, %key, "objects of a target were not verified");
            Vec::new()
        });
        Ok(state)
    }

    /// Joins the pull of a target, or starts one. Returns `None` if too many run.
    fn join_or_start(&self, peer: &PeerClient, key: Key) -> Option<RunningPull> {
        let mut running = lock(&self.running);
        if let Some(pull) = running.get(&key) {
            return Some(pull.clone());
        }
        if running.len() >= MAX_PULLS {
            return None;
        }
        let from = NodeSelection {
            peer: peer.url().to_owned(),
            hosts: Vec::new(),
            owned: false,
        };
        let (copier, others) = (Arc::clone(&self.copier), Arc::clone(&self.running));
        let task = tokio::spawn(async move {
            let result = copier.copy(&from, TierPart::Target(key)).await;
            lock(&others).remove(&key);
            result.unwrap_or_else(|error| {
                tracing::warn!(%error, %key, peer = from.peer, "target of a peer was not copied");
                CopyReport::default()
            })
        });
        let pull = task.map(Result::unwrap_or_default).boxed().shared();
        running.insert(key, pull.clone());
        Some(pull)
    }

    /// Returns the digests of the objects of a target, each of which was compared with its bytes.
    async fn stored(&self, key: Key) -> Result<Vec<String>, CacheError> {
        let read = move |disk: &DiskStore| {
            let found = records::read_all(&disk.layout, key)?.readable;
            let found = found.into_iter();
            let cached = found.filter(|record| records::is_cached(&disk.layout, record));
            let digests: Vec<Sha256> = cached.map(|record| record.sha256).collect();
            Ok::<_, DiskError>(digests)
        };
        let mut stored = Vec::new();
        for sha256 in self.cache.disk().run(IoClass::Maintenance, read).await? {
            let Some(object) = self.cache.admin().open_object(sha256).await? else {
                continue;
            };
            let verified = self.cache.verification().verify(&object).await;
            if matches!(verified, Ok(StoredBytes::Intact)) {
                stored.push(sha256.to_string());
            }
        }
        Ok(stored)
    }
}
