//! Has other nodes copy the records and objects of this one: the next owner of each target.
//!
//! The other node fetches and verifies. An object counts as copied once the other node states its
//! digest. The main type is [`OwnerCopier`].

use std::sync::Arc;

use tokio::time::sleep;

use super::from_node::NodeCopyError;
use super::offer::{OfferedTarget, RecordOffer};
use super::remote_pull::{RETRY_DELAY, WantedObjects, have_pulled};
use crate::cache::{Cache, CopyReport, TierPart};
use crate::cluster::{Cluster, PeerClient, PeerError};

/// Tries of a target, if no peer has taken all of it although some were asked.
const MAX_TRIES: u32 = 5;

/// Tries while no peer is ready. They take a minute.
const MAX_TRIES_WITHOUT_PEER: u32 = 60;

/// Has the next owners copy what this node has.
pub struct OwnerCopier {
    cluster: Arc<Cluster>,
    offer: RecordOffer,
}

impl OwnerCopier {
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, cache: Cache) -> Self {
        Self {
            cluster,
            offer: RecordOffer::new(cache),
        }
    }

    /// Whether there is another node that could take what this one has.
    ///
    /// # Errors
    /// [`PeerError::NoPeer`].
    pub fn check(&self) -> Result<(), PeerError> {
        if self.cluster.peers().is_empty() {
            return Err(PeerError::NoPeer);
        }
        Ok(())
    }

    /// Has the targets of a part copied. Objects that no peer has taken are counted as remaining.
    ///
    /// # Errors
    /// [`NodeCopyError`] if no peer is ready for a minute, or the disk fails.
    pub async fn copy(&self, part: TierPart) -> Result<CopyReport, NodeCopyError> {
        let mut report = CopyReport::default();
        let mut after = None;
        loop {
            let page = self.offer.page(part, after).await?;
            report.remaining += page.unreadable;
            for target in &page.targets {
                self.copy_target(target, &mut report).await?;
            }
            after = page.next.and_then(|next| next.parse().ok());
            if after.is_none() {
                return Ok(report);
            }
        }
    }

    async fn copy_target(
        &self,
        target: &OfferedTarget,
        report: &mut CopyReport,
    ) -> Result<(), NodeCopyError> {
        let Some((_, first)) = target.parsed().next() else {
            return Ok(());
        };
        let key = first.key();
        let (mut tries, mut tries_without_peer) = (0, 0);
        let mut remaining = 0;
        while tries < MAX_TRIES {
            let owners = self.cluster.next_owners(key);
            if owners.is_empty() {
                tries_without_peer += 1;
                if tries_without_peer > MAX_TRIES_WITHOUT_PEER {
                    return Err(PeerError::NoPeer.into());
                }
                sleep(RETRY_DELAY).await;
                continue;
            }
            tries += 1;
            let (mut errors, mut is_passing) = (Vec::new(), false);
            let count = owners.len();
            for owner in owners {
                let wanted = WantedObjects::at(&self.cluster, &owner, key, target);
                let pulled = match PeerClient::find(&self.cluster, owner.as_str()) {
                    Ok(peer) => have_pulled(&self.cluster, &peer, &wanted, report).await,
                    Err(error) => Err(error),
                };
                match pulled {
                    Ok(missing) if missing.count == 0 => return Ok(()),
                    Ok(missing) => remaining = missing.count,
                    Err(error) => {
                        tracing::debug!(%error, %key, "a peer has not copied a target");
                        remaining = wanted.count();
                        is_passing |= error.is_transient();
                        errors.push(error);
                    }
                }
            }
            if !is_passing {
                // Each of the next targets would have the same error.
                match errors.pop() {
                    Some(error) if errors.len() + 1 == count => return Err(error.into()),
                    _ => break,
                }
            }
            sleep(RETRY_DELAY).await;
        }
        report.remaining += remaining;
        Ok(())
    }
}
