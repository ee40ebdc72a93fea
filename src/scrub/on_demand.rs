//! Scrub of single objects and parts of the folder, for jobs of operators.
//!
//! It reads at the rate of the service's own scrub, and can run beside it: a corrupt object is
//! moved under the lock of its digest, and only once. The main type is [`ObjectScrubber`].

use std::collections::HashSet;
use std::mem;

use tokio::sync::Mutex as AsyncMutex;

use super::cursor::{ScrubRange, ScrubRound, read_round};
use super::finding_recorder::FindingRecorder;
use super::object_check;
use super::object_repair::ObjectRepair;
use super::report::ScrubReport;
use super::restore::RepairSources;
use super::schedule::{SERVICE_RATE, log_finding};
use super::throttled_read::ReadThrottle;
use crate::cache::CacheError;
use crate::model::Sha256;

/// Reads objects, and repairs corrupt ones. One caller reads at a time, so that all callers
/// together keep to the rate.
pub struct ObjectScrubber {
    sources: RepairSources,
    throttle: AsyncMutex<ReadThrottle>,
}

impl ObjectScrubber {
    #[must_use]
    pub fn new(sources: RepairSources) -> Self {
        Self {
            sources,
            throttle: AsyncMutex::new(ReadThrottle::new(SERVICE_RATE)),
        }
    }

    /// Describes the trouble of the disk, if there is any. Read errors of a failing disk are no
    /// defects of the objects.
    #[must_use]
    pub fn disk_trouble(&self) -> Option<String> {
        self.sources.cache.health().trouble()
    }

    /// Returns the round of the service's own scrub, or `None` before the first one.
    ///
    /// # Errors
    /// [`CacheError`] if the disk does not answer.
    pub async fn round(&self) -> Result<Option<ScrubRound>, CacheError> {
        read_round(&self.sources.cache).await
    }

    /// Reads the objects whose digests begin with this byte.
    ///
    /// # Errors
    /// [`CacheError`] if the folder cannot be read or written.
    pub async fn scrub_part(&self, part: u8) -> Result<ScrubReport, CacheError> {
        let at = usize::from(part);
        let range = ScrubRange::whole();
        let objects = object_check::objects_of(&self.sources.cache, range, at, part).await?;
        self.scrub(objects, |sha256| sha256.as_bytes()[0] == part)
            .await
    }

    /// Reads these objects. Those that are not stored are skipped, apart from corrupt ones that an
    /// earlier scrub could not restore.
    ///
    /// # Errors
    /// [`CacheError`] if the folder cannot be read or written.
    pub async fn scrub_objects(&self, objects: Vec<Sha256>) -> Result<ScrubReport, CacheError> {
        let wanted: HashSet<Sha256> = objects.iter().copied().collect();
        self.scrub(objects, |sha256| wanted.contains(&sha256)).await
    }

    async fn scrub(
        &self,
        objects: Vec<Sha256>,
        is_wanted: impl Fn(Sha256) -> bool,
    ) -> Result<ScrubReport, CacheError> {
        let mut throttle = self.throttle.lock().await;
        let mut repair = ObjectRepair {
            sources: &self.sources,
            is_dry_run: false,
            // If this call is cancelled, the next one begins with a new throttle.
            throttle: mem::replace(&mut *throttle, ReadThrottle::new(SERVICE_RATE)),
            findings: FindingRecorder::new(&self.sources.events, false, &log_finding),
            checked: HashSet::new(),
        };
        repair.retry_missing(is_wanted).await?;
        let mut broken = Vec::new();
        for sha256 in objects {
            if repair.checked.insert(sha256) {
                repair.check(sha256, &mut broken).await?;
            }
        }
        repair.repair(broken).await?;
        *throttle = repair.throttle;
        Ok(repair.findings.report)
    }
}
