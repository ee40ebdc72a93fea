//! The work on one target of a job, through the operator service, or on one part of a scrub.
//!
//! This file reads no file. The main type is [`Worker`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::error::JobError;
use super::job::{JobDestination, JobKind, JobOrder, JobSpec};
use super::progress::{Outcome, TargetResult};
use crate::admin::{
    AdminError, AdminService, CopyReport, EnsuredTarget, Operator, Tier, TierCopier, TierPart,
};
use crate::gateway::RequestError;
use crate::migrate::{NodeCopier, NodeCopyError, NodeSelection, OwnerCopier, PeerError};
use crate::model::{Target, WantedFile};
use crate::registry::{EnsureImageError, ImageName, ImagePreheater, Platform};
use crate::scrub::{ObjectScrubber, ScrubReport, ScrubRound};

/// How often a target is tried while all permits are taken.
const MAX_BUSY_TRIES: u32 = 120;

/// Wait between these tries.
const BUSY_DELAY: Duration = Duration::from_secs(1);

const NO_RECORD_FOUND: AdminError =
    AdminError::NotFound("the node has no record of the target, or it is not selected");

/// Works on the targets of jobs as an operator.
pub struct Worker {
    admin: Arc<AdminService>,
    copier: TierCopier,
    nodes: Arc<NodeCopier>,
    owners: OwnerCopier,
    scrubber: ObjectScrubber,
    preheater: ImagePreheater,
    operator: Operator,
}

/// One unit of the work of a job.
#[derive(Debug, Clone, Copy)]
pub enum WorkUnit<'a> {
    Target(&'a WantedFile),
    /// The objects or records whose digests or keys begin with this byte.
    Part(u8),
}

impl Worker {
    #[must_use]
    pub fn new(
        admin: Arc<AdminService>,
        scrubber: ObjectScrubber,
        preheater: ImagePreheater,
        (nodes, owners): (Arc<NodeCopier>, OwnerCopier),
    ) -> Self {
        Self {
            nodes,
            owners,
            copier: TierCopier::new(Arc::clone(&admin)),
            admin,
            scrubber,
            preheater,
            operator: Operator::of_jobs(),
        }
    }

    /// Checks whether the work of an order is possible.
    ///
    /// # Errors
    /// [`JobError::Invalid`] if there is no bucket to copy to or from, or the node to copy from
    /// does not fit.
    pub fn check(&self, order: &JobOrder) -> Result<(), JobError> {
        if let Some(from) = &order.from {
            let checked = self.nodes.check(from);
            return checked.map_err(|error| JobError::Invalid(error.to_string()));
        }
        if order.to == Some(JobDestination::Owners) {
            let checked = self.owners.check();
            return checked.map_err(|error| JobError::Invalid(error.to_string()));
        }
        if order.to.is_some() && !self.copier.has_bucket() {
            let text = "a job of kind migrate needs the bucket of the section [s3]";
            return Err(JobError::Invalid(text.to_owned()));
        }
        Ok(())
    }

    /// Returns the round of the service's own scrub, if it is known.
    pub async fn scrub_round(&self) -> Option<ScrubRound> {
        self.scrubber.round().await.ok().flatten()
    }

    /// Works on the unit at this position. Waits a bounded time while all permits are taken.
    ///
    /// # Errors
    /// [`PeerError`] if the job cannot go on, because the other node does not answer or does not
    /// fit.
    pub async fn work(
        &self,
        spec: &JobSpec,
        at: usize,
        unit: WorkUnit<'_>,
    ) -> Result<TargetResult, PeerError> {
        let url = match (unit, spec.to) {
            (WorkUnit::Target(file), _) => file.url.to_string(),
            (WorkUnit::Part(part), Some(_)) => format!("records/{part:02x}"),
            (WorkUnit::Part(part), None) => format!("objects/{part:02x}"),
        };
        let worked = match (unit, &spec.from, spec.to) {
            (_, Some(from), _) => self.copy_between_nodes(unit, Some(from)).await?,
            (_, None, Some(JobDestination::Owners)) => self.copy_between_nodes(unit, None).await?,
            (WorkUnit::Target(file), None, _) => self.work_on(spec, file).await,
            (WorkUnit::Part(part), None, Some(JobDestination::Bucket)) => {
                self.copy_shard(part, Tier::Bucket).await
            }
            (WorkUnit::Part(part), None, Some(JobDestination::Disk)) => {
                self.copy_shard(part, Tier::Disk).await
            }
            (WorkUnit::Part(part), None, None) => self.scrub_part(part).await,
        };
        let (outcome, bytes) = worked.unwrap_or_else(|error| (failed(&error), 0));
        Ok(TargetResult {
            at,
            url,
            bytes,
            outcome,
        })
    }

    /// Copies a target or a shard from another node, or to its next owner.
    async fn copy_between_nodes(
        &self,
        unit: WorkUnit<'_>,
        from: Option<&NodeSelection>,
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
            let copied = match from {
                Some(from) => self.nodes.copy(from, part).await,
                None => self.owners.copy(part).await,
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

    async fn work_on(
        &self,
        spec: &JobSpec,
        file: &WantedFile,
    ) -> Result<(Outcome, u64), AdminError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_work(spec, file).await {
                Err(AdminError::Request(RequestError::Busy)) if tries < MAX_BUSY_TRIES => {
                    sleep(BUSY_DELAY).await;
                }
                worked => return worked,
            }
        }
    }

    async fn try_work(
        &self,
        spec: &JobSpec,
        file: &WantedFile,
    ) -> Result<(Outcome, u64), AdminError> {
        if file.url.is_image() {
            return self.fetch_image(file, &spec.platforms).await;
        }
        let target = Target::parse(file.url.as_str());
        let target = target.map_err(|error| RequestError::BadRequest(error.to_string()))?;
        match spec.kind {
            JobKind::Fetch => self.fetch(target, file).await,
            JobKind::Refresh => self.refresh(target, file).await,
            JobKind::Evict => self.evict(&target).await,
            JobKind::Scrub => self.scrub(&target).await,
            JobKind::Migrate => {
                let to = match spec.to {
                    Some(JobDestination::Bucket) => Tier::Bucket,
                    Some(JobDestination::Disk) => Tier::Disk,
                    _ => return Err(RequestError::Unavailable.into()),
                };
                let copied = self.copier.copy_target(&self.operator, &target, to).await?;
                Ok(result_of_copy(&copied))
            }
        }
    }

    async fn fetch(&self, target: Target, file: &WantedFile) -> Result<(Outcome, u64), AdminError> {
        let expected = file.expected.clone();
        Ok(
            match self.admin.ensure(&self.operator, target, expected).await? {
                EnsuredTarget::StoredBefore => (Outcome::Unchanged, 0),
                EnsuredTarget::Fetched { size_bytes } => (Outcome::Changed, size_bytes),
                EnsuredTarget::StoredDespiteDirectives { size_bytes } => {
                    (Outcome::DespiteDirectives, size_bytes)
                }
            },
        )
    }

    /// Has all parts of an image stored.
    async fn fetch_image(
        &self,
        file: &WantedFile,
        platforms: &[Platform],
    ) -> Result<(Outcome, u64), AdminError> {
        let name = file.url.as_str().parse::<ImageName>();
        let name = name.map_err(|error| RequestError::BadRequest(error.to_string()))?;
        match self.preheater.ensure(&name, platforms).await {
            Ok(image) if image.fetched_bytes == 0 => Ok((Outcome::Unchanged, 0)),
            Ok(image) => Ok((Outcome::Changed, image.fetched_bytes)),
            Err(EnsureImageError::Part {
                error: RequestError::Busy,
                ..
            }) => Err(RequestError::Busy.into()),
            Err(error) => Ok((failed(&error), 0)),
        }
    }

    async fn refresh(
        &self,
        target: Target,
        file: &WantedFile,
    ) -> Result<(Outcome, u64), AdminError> {
        let expected = file.expected.clone();
        let refresh = self.admin.refresh(&self.operator, target, expected, false);
        let refreshed = refresh.await?;
        let record = &refreshed.record;
        Ok(if refreshed.previous == Some(record.sha256) {
            (Outcome::Unchanged, 0)
        } else {
            (Outcome::Changed, record.size_bytes)
        })
    }

    async fn evict(&self, target: &Target) -> Result<(Outcome, u64), AdminError> {
        let evicted = self.admin.evict(&self.operator, target).await?;
        let outcome = match (evicted.pinned, evicted.freed_bytes) {
            (0, 0) => Outcome::Unchanged,
            (0, _) => Outcome::Changed,
            _ => failed(&AdminError::Pinned),
        };
        Ok((outcome, evicted.freed_bytes))
    }

    async fn scrub(&self, target: &Target) -> Result<(Outcome, u64), AdminError> {
        let objects = self.admin.objects_of(&self.operator, target).await?;
        Ok(match self.scrubber.disk_trouble() {
            Some(trouble) => (failed(&trouble), 0),
            None => result_of(self.scrubber.scrub_objects(objects).await),
        })
    }

    async fn copy_shard(&self, shard: u8, to: Tier) -> Result<(Outcome, u64), AdminError> {
        let copied = self.copier.copy_shard(&self.operator, shard, to).await?;
        Ok(result_of_copy(&copied))
    }

    async fn scrub_part(&self, part: u8) -> Result<(Outcome, u64), AdminError> {
        Ok(match self.scrubber.disk_trouble() {
            Some(trouble) => (failed(&trouble), 0),
            None => result_of(self.scrubber.scrub_part(part).await),
        })
    }
}

/// Returns the outcome of a copy, and the number of bytes that were copied.
fn result_of_copy(report: &CopyReport) -> (Outcome, u64) {
    let outcome = match report {
        CopyReport { remaining: 1.., .. } => {
            let count = report.remaining;
            failed(&format!(
                "{count} objects remain on this node only: no other node has taken them, or their \
                 records cannot be read"
            ))
        }
        CopyReport { damaged: 1.., .. } => {
            let count = report.damaged;
            failed(&format!(
                "{count} damaged records or objects were not copied"
            ))
        }
        CopyReport { refused: 1.., .. } => {
            let count = report.refused;
            failed(&format!(
                "{count} objects were not copied, because the other node did not send them"
            ))
        }
        CopyReport {
            without_space: 1.., ..
        } => {
            let count = report.without_space;
            failed(&format!(
                "{count} objects were not copied, because the disk would evict others for them"
            ))
        }
        CopyReport { copied: 0, .. } => Outcome::Unchanged,
        _ => Outcome::Changed,
    };
    (outcome, report.copied_bytes)
}

/// Returns the outcome of a scrub, and the number of intact bytes that were read.
fn result_of<E: fmt::Display>(report: Result<ScrubReport, E>) -> (Outcome, u64) {
    match report {
        Ok(report) => {
            let outcome = match (report.unrepaired, report.repaired) {
                (0, 0) => Outcome::Unchanged,
                (0, _) => Outcome::Changed,
                (count, _) => failed(&format!(
                    "{count} corrupt or unreadable objects were not repaired; the log names them"
                )),
            };
            (outcome, report.size_bytes)
        }
        Err(error) => {
            tracing::warn!(%error, "scrub of a job failed");
            (failed(&RequestError::Unavailable), 0)
        }
    }
}

/// Returns the outcome of a target that failed. The text has no secret and no local path.
fn failed(error: &dyn fmt::Display) -> Outcome {
    Outcome::Failed {
        error: error.to_string(),
    }
}
