//! Copies of targets between this node and others, for jobs. The main type is [`NodeWork`].

use std::sync::Arc;

use super::copy_outcome::result_of_copy;
use super::job::NodeTransfer;
use super::progress::Outcome;
use super::unit::WorkUnit;
use crate::admin::{AdminError, AdminService, CopyReport, TierPart};
use crate::gateway::RequestError;
use crate::migrate::{NodeCopier, NodeCopyError, NodeGiver, OwnerCopier, PeerError};
use crate::model::Target;

const NO_RECORD_FOUND: AdminError =
    AdminError::NotFound("the node has no record of the target, or it is not selected");

/// The copies between nodes.
pub struct NodeCopiers {
    pub from: Arc<NodeCopier>,
    pub to_owners: OwnerCopier,
    pub to: NodeGiver,
}

/// Copies targets and parts between nodes.
pub struct NodeWork {
    admin: Arc<AdminService>,
    copiers: NodeCopiers,
}

impl NodeWork {
    #[must_use]
    pub fn new(admin: Arc<AdminService>, copiers: NodeCopiers) -> Self {
        Self { admin, copiers }
    }

    /// Checks whether a copy is possible, as far as that is known now.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn check(&self, transfer: NodeTransfer<'_>) -> Result<(), PeerError> {
        match transfer {
            NodeTransfer::From(from) => self.copiers.from.check(from),
            NodeTransfer::ToOwners => self.copiers.to_owners.check(),
            NodeTransfer::To(node) => self.copiers.to.check(node),
        }
    }

    /// Copies a target or a part. Returns the outcome, and the number of bytes that were copied.
    ///
    /// # Errors
    /// [`PeerError`] if the job cannot go on.
    pub async fn copy(
        &self,
        unit: WorkUnit<'_>,
        transfer: NodeTransfer<'_>,
    ) -> Result<Result<(Outcome, u64), AdminError>, PeerError> {
        let parts = match unit {
            WorkUnit::Part(shard) => vec![TierPart::Shard(shard)],
            WorkUnit::Target(file) => match Target::parse(file.url.as_str()) {
                Ok(target) => {
                    let keys = self.admin.keys_of(&target).into_iter();
                    keys.map(TierPart::Target).collect()
                }
                Err(error) => {
                    return Ok(Err(RequestError::BadRequest(error.to_string()).into()));
                }
            },
        };
        let mut report = CopyReport::default();
        for part in parts {
            let copied = match transfer {
                NodeTransfer::From(from) => self.copiers.from.copy(from, part).await,
                NodeTransfer::ToOwners => self.copiers.to_owners.copy(part).await,
                NodeTransfer::To(node) => self.copiers.to.copy(node, part).await,
            };
            match copied {
                Ok(copied) => report += copied,
                Err(NodeCopyError::Peer(error)) => return Err(error),
                Err(NodeCopyError::Local(error)) => {
                    tracing::warn!(%error, "copy between nodes failed");
                    return Ok(Err(RequestError::Unavailable.into()));
                }
            }
        }
        if matches!(unit, WorkUnit::Target(_)) && report == CopyReport::default() {
            return Ok(Err(NO_RECORD_FOUND));
        }
        Ok(Ok(result_of_copy(&report)))
    }
}
