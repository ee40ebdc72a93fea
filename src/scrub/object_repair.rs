//! Reads objects, moves corrupt ones to quarantine, and restores them.
//!
//! A corrupt object is served until it is found here. In quarantine it is a miss like any other, so
//! a failed repair costs no client more than a fetch.

use std::collections::HashSet;

use super::defects::{Defect, DefectAt};
use super::finding_recorder::FindingRecorder;
use super::object_check::{self, ObjectCheck};
use super::report::RepairOutcome;
use super::restore::{RepairSources, restore};
use super::throttled_read::ReadThrottle;
use crate::cache::{Cache, CacheError};
use crate::disk::{IoClass, missing};
use crate::model::Sha256;

/// An object that cannot be served as it is.
pub type BrokenObject = (Sha256, DefectAt);

/// State of one scrub: checks objects and repairs them.
pub struct ObjectRepair<'a> {
    pub sources: &'a RepairSources,
    pub is_dry_run: bool,
    pub throttle: ReadThrottle,
    pub findings: FindingRecorder<'a>,
    /// Objects that the check of the metadata has read already.
    pub checked: HashSet<Sha256>,
}

impl ObjectRepair<'_> {
    pub fn cache(&self) -> &Cache {
        &self.sources.cache
    }

    /// Reads an object, and moves a corrupt one to quarantine. Returns the length of an intact
    /// object, and adds others to `broken`.
    ///
    /// # Errors
    /// [`CacheError`] if a corrupt object could not be moved.
    pub async fn check(
        &mut self,
        sha256: Sha256,
        broken: &mut Vec<BrokenObject>,
    ) -> Result<Option<u64>, CacheError> {
        let name = object_name(sha256);
        let checked =
            object_check::check_object(&self.sources.cache, sha256, &mut self.throttle).await;
        let defect = match checked {
            ObjectCheck::NotFound => return Ok(None),
            ObjectCheck::Intact { size_bytes } => {
                self.findings.count_intact(size_bytes);
                return Ok(Some(size_bytes));
            }
            ObjectCheck::Unreadable(error) => DefectAt {
                defect: Defect::Unreadable,
                name,
                detail: error.to_string(),
            },
            ObjectCheck::Corrupt(corrupt) => {
                if !self.is_dry_run
                    && !object_check::quarantine_corrupt(self.cache(), corrupt).await?
                {
                    // The object was replaced or evicted while it was read.
                    return Ok(None);
                }
                DefectAt {
                    defect: Defect::Corrupt,
                    name,
                    detail: "the bytes do not have the digest".to_owned(),
                }
            }
        };
        broken.push((sha256, defect));
        Ok(None)
    }

    /// Restores objects, and records the findings. Unreadable objects stay unchanged.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn repair(&mut self, broken: Vec<BrokenObject>) -> Result<(), CacheError> {
        if broken.is_empty() {
            return Ok(());
        }
        let digests: HashSet<_> = broken.iter().map(|(sha256, _)| *sha256).collect();
        let naming = object_check::records_naming(self.cache(), digests).await?;
        for (sha256, defect) in broken {
            let records = naming.get(&sha256).cloned().unwrap_or_default();
            self.findings.emit_corruption(&defect, &records);
            let repair = if self.is_dry_run || defect.defect == Defect::Unreadable {
                RepairOutcome::Unchanged.into()
            } else {
                restore(self.sources, &records).await
            };
            if repair.outcome.is_repaired() {
                self.clear_missing(sha256).await?;
            }
            self.findings.record(defect, repair, &records);
        }
        Ok(())
    }

    /// Tries again to restore those of the wanted objects that an earlier scrub could not restore.
    /// Skips those that were fetched meanwhile.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn retry_missing(
        &mut self,
        is_wanted: impl Fn(Sha256) -> bool,
    ) -> Result<(), CacheError> {
        let mut missing = self
            .cache()
            .disk()
            .run(IoClass::Maintenance, missing::list)
            .await?;
        missing.retain(|sha256| is_wanted(*sha256));
        if missing.is_empty() {
            return Ok(());
        }
        let digests = missing.iter().copied().collect();
        let naming = object_check::records_naming(self.cache(), digests).await?;
        let mut broken = Vec::new();
        for sha256 in missing {
            let is_missing = match naming.get(&sha256).and_then(|records| records.first()) {
                Some(record) => match object_check::is_on_disk(self.cache(), record).await {
                    Ok(is_on_disk) => !is_on_disk,
                    // The next scrub tries again.
                    Err(_) => continue,
                },
                None => false,
            };
            if is_missing {
                let defect = DefectAt {
                    defect: Defect::Corrupt,
                    name: object_name(sha256),
                    detail: "it was corrupt, and is missing since".to_owned(),
                };
                broken.push((sha256, defect));
            } else if !self.is_dry_run {
                self.clear_missing(sha256).await?;
            }
        }
        self.repair(broken).await
    }

    async fn clear_missing(&self, sha256: Sha256) -> Result<(), CacheError> {
        let cleared = self.cache().disk().run(IoClass::Maintenance, move |disk| {
            missing::clear(disk, sha256)
        });
        Ok(cleared.await?)
    }
}

/// Returns the path of an object within the folder.
pub fn object_name(sha256: Sha256) -> String {
    format!("objects/{:.2}/{sha256}", sha256.to_string())
}
