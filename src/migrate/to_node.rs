//! Has one named node copy the records and objects of this one.
//!
//! The other node fetches and verifies. An object counts as copied once the other node states its
//! digest. The main type is [`NodeGiver`].

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::from_node::NodeCopyError;
use super::key_share::KeyShare;
use super::offer::{OfferedTarget, RecordOffer};
use super::remote_pull::{MissingObjects, RETRY_DELAY, WantedObjects, have_pulled};
use crate::cache::{Cache, CopyReport, TierPart};
use crate::cluster::{Cluster, PeerClient, PeerError};
use crate::model::{Record, Target};

/// Longest wait for a peer that does not answer. It may be restarted meanwhile.
const PEER_WAIT: Duration = Duration::from_mins(1);

/// Tries of a target, if requests to the peer fail although it answers polls.
const MAX_TRIES: u32 = 10;

/// Longest wait that a peer may ask for.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);

/// Node that copies targets of this one, and the targets that it copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivingNode {
    /// URL of the node, as in `cluster.peers`.
    pub peer: String,
    /// Hosts of the targets. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Share of the targets. `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<KeyShare>,
}

impl ReceivingNode {
    fn has_share_of(&self, part: TierPart) -> bool {
        self.share.is_none_or(|share| share.contains(part))
    }

    fn selects(&self, record: &Record) -> bool {
        let host = record.target.host();
        let is_host = self.hosts.is_empty() || self.hosts.iter().any(|wanted| wanted == host);
        is_host && self.has_share_of(TierPart::Target(record.key()))
    }
}

/// Has a named node copy what this node has.
pub struct NodeGiver {
    cluster: Arc<Cluster>,
    offer: RecordOffer,
}

impl NodeGiver {
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, cache: Cache) -> Self {
        Self {
            cluster,
            offer: RecordOffer::new(cache),
        }
    }

    /// Checks whether the node can copy, as far as that is known now.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn check(&self, to: &ReceivingNode) -> Result<(), PeerError> {
        PeerClient::find(&self.cluster, &to.peer)?.check_receiver()
    }

    /// Has the selected targets of a part copied. Waits a bounded time for a node that does not
    /// answer.
    ///
    /// # Errors
    /// [`NodeCopyError`] if the node does not answer for a minute or does not fit, or the disk
    /// fails. Objects that were copied before stay.
    pub async fn copy(
        &self,
        to: &ReceivingNode,
        part: TierPart,
    ) -> Result<CopyReport, NodeCopyError> {
        let mut report = CopyReport::default();
        if !to.has_share_of(part) {
            return Ok(report);
        }
        let mut after = None;
        loop {
            let page = self.offer.page(part, after).await?;
            if to.hosts.is_empty() {
                report.damaged += page.unreadable;
            }
            for target in &page.targets {
                self.copy_target(to, target, &mut report).await?;
            }
            after = page.next.and_then(|next| next.parse().ok());
            if after.is_none() {
                return Ok(report);
            }
        }
    }

    async fn copy_target(
        &self,
        to: &ReceivingNode,
        target: &OfferedTarget,
        report: &mut CopyReport,
    ) -> Result<(), NodeCopyError> {
        let Some((_, first)) = target.parsed().next() else {
            return Ok(());
        };
        if !to.selects(&first) {
            return Ok(());
        }
        let key = first.key();
        let mut tries = 0;
        loop {
            tries += 1;
            let peer = PeerClient::await_present(&self.cluster, &to.peer, PEER_WAIT).await?;
            peer.check_receiver()?;
            let Ok(url) = Target::parse(peer.url()) else {
                return Err(PeerError::NotListed(to.peer.clone()).into());
            };
            let wanted = WantedObjects::at(&self.cluster, &url, key, target);
            match have_pulled(&self.cluster, &peer, &wanted, report).await {
                Ok(missing) => {
                    let MissingObjects {
                        count,
                        without_space,
                    } = missing;
                    report.without_space += without_space;
                    report.not_taken += count - without_space;
                    return Ok(());
                }
                Err(error)
                    if PeerClient::may_return(&self.cluster, &error) && tries < MAX_TRIES =>
                {
                    tracing::debug!(%error, %key, "a peer has not copied a target, will retry");
                    let delay = error.retry_after().unwrap_or_default();
                    sleep(delay.clamp(RETRY_DELAY, MAX_RETRY_DELAY)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
