//! The work on one target of a job, through the operator service, or on one part of a scrub.
//!
//! This file reads no file. The main type is [`Worker`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::copy_outcome::result_of_copy;
use super::error::JobError;
use super::job::{JobDestination, JobKind, JobOrder, JobSpec};
use super::node_work::{NodeCopiers, NodeWork};
use super::progress::{Outcome, TargetResult};
use super::unit::WorkUnit;
use crate::admin::{AdminError, AdminService, EnsuredTarget, Operator, Tier, TierCopier};
use crate::gateway::RequestError;
use crate::migrate::PeerError;
use crate::model::{Target, WantedFile};
use crate::registry::{EnsureImageError, ImageName, ImagePreheater, Platform};
use crate::scrub::{ObjectScrubber, ScrubReport, ScrubRound};

/// How often a target is tried while all permits are taken.
const MAX_BUSY_TRIES: u32 = 120;

/// Wait between these tries.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// Works on the targets of jobs as an operator.
pub struct Worker {
    admin: Arc<AdminService>,
    copier: TierCopier,
    nodes: NodeWork,
    scrubber: ObjectScrubber,
    preheater: ImagePreheater,
    operator: Operator,
}

impl Worker {
    #[must_use]
    pub fn new(
        admin: Arc<AdminService>,
        scrubber: ObjectScrubber,
        preheater: ImagePreheater,
        nodes: NodeCopiers,
    ) -> Self {
        Self {
            nodes: NodeWork::new(Arc::clone(&admin), nodes),
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
        if let Some(transfer) = order.transfer() {
            let checked = self.nodes.check(transfer);
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
        let worked = match (unit, spec.transfer()) {
            (_, Some(transfer)) => self.nodes.copy(unit, transfer).await?,
            (WorkUnit::Target(file), None) => self.work_on(spec, file).await,
            (WorkUnit::Part(part), None) => match tier_of(spec) {
                Some(tier) => self.copy_shard(part, tier).await,
                None => self.scrub_part(part).await,
            },
        };
        let (outcome, bytes) = worked.unwrap_or_else(|error| (Outcome::failed(&error), 0));
        Ok(TargetResult {
            at,
            url,
            bytes,
            outcome,
        })
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
                let to = tier_of(spec).ok_or(RequestError::Unavailable)?;
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
            Err(error) => Ok((Outcome::failed(&error), 0)),
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
            _ => Outcome::failed(&AdminError::Pinned),
        };
        Ok((outcome, evicted.freed_bytes))
    }

    async fn scrub(&self, target: &Target) -> Result<(Outcome, u64), AdminError> {
        let objects = self.admin.objects_of(&self.operator, target).await?;
        Ok(match self.scrubber.disk_trouble() {
            Some(trouble) => (Outcome::failed(&trouble), 0),
            None => result_of(self.scrubber.scrub_objects(objects).await),
        })
    }

    async fn copy_shard(&self, shard: u8, to: Tier) -> Result<(Outcome, u64), AdminError> {
        let copied = self.copier.copy_shard(&self.operator, shard, to).await?;
        Ok(result_of_copy(&copied))
    }

    async fn scrub_part(&self, part: u8) -> Result<(Outcome, u64), AdminError> {
        Ok(match self.scrubber.disk_trouble() {
            Some(trouble) => (Outcome::failed(&trouble), 0),
            None => result_of(self.scrubber.scrub_part(part).await),
        })
    }
}

/// Returns the tier that gets the copies of a job.
fn tier_of(spec: &JobSpec) -> Option<Tier> {
    match spec.to {
        Some(JobDestination::Bucket) => Some(Tier::Bucket),
        Some(JobDestination::Disk) => Some(Tier::Disk),
        Some(JobDestination::Owners | JobDestination::Node) | None => None,
    }
}

/// Returns the outcome of a scrub, and the number of intact bytes that were read.
fn result_of<E: fmt::Display>(report: Result<ScrubReport, E>) -> (Outcome, u64) {
    match report {
        Ok(report) => {
            let outcome = match (report.unrepaired, report.repaired) {
                (0, 0) => Outcome::Unchanged,
                (0, _) => Outcome::Changed,
                (count, _) => Outcome::failed(&format!(
                    "{count} corrupt or unreadable objects were not repaired; the log names them"
                )),
            };
            (outcome, report.size_bytes)
        }
        Err(error) => {
            tracing::warn!(%error, "scrub of a job failed");
            (Outcome::failed(&RequestError::Unavailable), 0)
        }
    }
}
