//! The work on one target of a job, through the operator service, or on one part of a scrub.
//!
//! This file reads no file. The main type is [`Worker`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::job::JobKind;
use super::progress::{Outcome, TargetResult};
use crate::admin::{AdminError, AdminService, EnsuredTarget, Operator};
use crate::gateway::RequestError;
use crate::model::{Target, WantedFile};
use crate::scrub::{ObjectScrubber, ScrubReport, ScrubRound};

/// How often a target is tried while all permits are taken.
const MAX_BUSY_TRIES: u32 = 120;

/// Wait between these tries.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// Works on the targets of jobs as an operator.
pub struct Worker {
    admin: Arc<AdminService>,
    scrubber: ObjectScrubber,
    operator: Operator,
}

/// One unit of the work of a job.
#[derive(Debug, Clone, Copy)]
pub enum WorkUnit<'a> {
    Target(&'a WantedFile),
    /// The objects whose digests begin with this byte, which are scrubbed.
    Part(u8),
}

impl Worker {
    #[must_use]
    pub fn new(admin: Arc<AdminService>, scrubber: ObjectScrubber) -> Self {
        Self {
            admin,
            scrubber,
            operator: Operator::of_jobs(),
        }
    }

    /// Returns the round of the service's own scrub, if it is known.
    pub async fn scrub_round(&self) -> Option<ScrubRound> {
        self.scrubber.round().await.ok().flatten()
    }

    /// Works on the unit at this position. Waits a bounded time while all permits are taken.
    pub async fn work(&self, kind: JobKind, at: usize, unit: WorkUnit<'_>) -> TargetResult {
        let (worked, url) = match unit {
            WorkUnit::Target(file) => (self.work_on(kind, file).await, file.url.to_string()),
            WorkUnit::Part(part) => (self.scrub_part(part).await, format!("objects/{part:02x}")),
        };
        let (outcome, bytes) = worked.unwrap_or_else(|error| (failed(&error), 0));
        TargetResult {
            at,
            url,
            bytes,
            outcome,
        }
    }

    async fn work_on(
        &self,
        kind: JobKind,
        file: &WantedFile,
    ) -> Result<(Outcome, u64), AdminError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_work(kind, file).await {
                Err(AdminError::Request(RequestError::Busy)) if tries < MAX_BUSY_TRIES => {
                    sleep(BUSY_DELAY).await;
                }
                worked => return worked,
            }
        }
    }

    async fn try_work(
        &self,
        kind: JobKind,
        file: &WantedFile,
    ) -> Result<(Outcome, u64), AdminError> {
        let target = Target::parse(file.url.as_str());
        let target = target.map_err(|error| RequestError::BadRequest(error.to_string()))?;
        match kind {
            JobKind::Fetch => self.fetch(target, file).await,
            JobKind::Refresh => self.refresh(target, file).await,
            JobKind::Evict => self.evict(&target).await,
            JobKind::Scrub => self.scrub(&target).await,
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

    async fn scrub_part(&self, part: u8) -> Result<(Outcome, u64), AdminError> {
        Ok(match self.scrubber.disk_trouble() {
            Some(trouble) => (failed(&trouble), 0),
            None => result_of(self.scrubber.scrub_part(part).await),
        })
    }
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
