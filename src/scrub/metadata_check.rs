//! Checks names, records and index of the folder against each other, one of its 256 parts at a
//! time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fs_err as fs;

use super::defects::{self, DefectAt, ObjectDefect};
use super::throttled_read::ReadThrottle;
use crate::cache::{Cache, CacheError};
use crate::disk::{DiskError, DiskStore, IoClass, pins, quarantine, record_files, records};
use crate::model::{Key, Record, Sha256};

/// Bytes that reading one record counts as, for the throttle.
const RECORD_BYTES: u64 = 4096;

/// Result of repairing a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordRepair {
    Repaired,
    /// The file stays. A request for its target repairs it, if the object is intact.
    Unrepaired,
}

/// A check of the whole folder.
pub struct MetadataCheck {
    cache: Cache,
    /// File system time at the start. Records of objects that were changed later may have been
    /// missed.
    started_at: (i64, i64),
    /// Objects that records name. Damaged records count, because they may be restored.
    recorded: HashSet<Sha256>,
    /// Some records could not be read. Then no object is known to be an orphan.
    is_incomplete: bool,
    /// Number of records that were read.
    pub records: u64,
    /// Objects of another length than a record says, with the paths of these records. Either the
    /// object or the record is wrong.
    pub of_other_length: HashMap<Sha256, Vec<String>>,
}

impl MetadataCheck {
    /// Begins a check, and waits until every publication in progress is complete.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read.
    pub async fn begin(cache: &Cache) -> Result<Self, CacheError> {
        let started_at = maintenance(cache, |disk| {
            let started_at = disk.file_system_time()?;
            // A process publishes object and record under this lock. Once the lock is free, an
            // object that was placed before this time has its record.
            for part in 0..=u8::MAX {
                drop(disk.layout.lock_object(Sha256::from_bytes([part; 32]))?);
            }
            Ok(started_at)
        });
        Ok(Self {
            started_at: started_at.await?,
            cache: cache.clone(),
            recorded: HashSet::new(),
            is_incomplete: false,
            records: 0,
            of_other_length: HashMap::new(),
        })
    }

    /// Checks one part of the records. Call it for all parts before [`MetadataCheck::objects`].
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn records(
        &mut self,
        part: u8,
        throttle: &mut ReadThrottle,
    ) -> Result<Vec<DefectAt>, CacheError> {
        let found =
            maintenance(&self.cache, move |disk| defects::check_records(disk, part)).await?;
        self.records += found.named.len() as u64;
        throttle
            .pause(found.named.len() as u64 * RECORD_BYTES)
            .await;
        self.recorded.extend(found.named);
        self.is_incomplete |= found.unreadable_folders > 0;
        for (sha256, name) in found.of_other_length {
            self.of_other_length.entry(sha256).or_default().push(name);
        }
        Ok(found.defects)
    }

    /// Checks the names in one part of the objects.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn objects(&self, part: u8) -> Result<Vec<DefectAt>, CacheError> {
        let started_at = self.started_at;
        let is_orphan = |sha256: &Sha256| !self.is_incomplete && !self.recorded.contains(sha256);
        let is_defect = |found: &ObjectDefect| found.unless_recorded.as_ref().is_none_or(is_orphan);
        let found = maintenance(&self.cache, move |disk| {
            defects::check_objects(disk, part, started_at)
        })
        .await?;
        Ok(found
            .into_iter()
            .filter(is_defect)
            .map(|found| found.defect)
            .collect())
    }

    /// Checks the folders of objects and records for unknown files.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn folders(&self) -> Result<Vec<DefectAt>, CacheError> {
        maintenance(&self.cache, defects::check_folders).await
    }

    /// Finds objects that the index lists and that do not exist. Removes them from the index,
    /// unless this is a dry run.
    ///
    /// # Errors
    /// [`CacheError`] if the index or the disk fails.
    pub async fn index(&self, is_dry_run: bool) -> Result<Vec<DefectAt>, CacheError> {
        maintenance(&self.cache, move |disk| {
            defects::check_index(disk, is_dry_run)
        })
        .await
    }

    /// Returns the records of all pins.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn pinned(&self) -> Result<Vec<Arc<Record>>, CacheError> {
        maintenance(&self.cache, |disk| {
            let mut pinned = Vec::new();
            for part in 0..=u8::MAX {
                let folder = defects::part_of(&disk.layout.pins(), part);
                for key in defects::names_in(&folder)?
                    .iter()
                    .filter_map(|name| name.parse::<Key>().ok())
                {
                    for pin in pins::list(&disk.layout, key)? {
                        pinned.extend(
                            records::read_one(&disk.layout, key, pin.sha256)?.map(Arc::new),
                        );
                    }
                }
            }
            Ok(pinned)
        })
        .await
    }

    /// Replaces a damaged record by that of the bucket, or else by one that is rebuilt from its
    /// object. Without either it stays, because its name says which bytes the target had. If the
    /// object was found intact, `intact_bytes` is its length.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written, or the bucket does not answer.
    pub async fn repair_record(
        &self,
        name: &str,
        intact_bytes: Option<u64>,
    ) -> Result<RecordRepair, CacheError> {
        let Some((key, sha256)) = defects::parse_record_name(name) else {
            return Ok(RecordRepair::Unrepaired);
        };
        let is_damaged = maintenance(&self.cache, move |disk| {
            Ok(defects::find_damage(disk, key, sha256, intact_bytes)?.is_some())
        });
        if !is_damaged.await? {
            return Ok(RecordRepair::Repaired);
        }
        let copy = match self.cache.bucket() {
            Some(bucket) => bucket.records().read(key, sha256).await?,
            None => None,
        };
        let repaired = maintenance(&self.cache, move |disk| {
            if let Some(record) = copy {
                record_files::replace_damaged(disk, &record)?;
                return Ok(RecordRepair::Repaired);
            }
            let Some(target) = records::find_target(&disk.layout, key, sha256) else {
                return Ok(RecordRepair::Unrepaired);
            };
            Ok(match record_files::rebuild_record(disk, &target, sha256)? {
                Some(_) => RecordRepair::Repaired,
                None => RecordRepair::Unrepaired,
            })
        });
        let repaired = repaired.await?;
        self.cache.invalidate(key);
        Ok(repaired)
    }

    /// Moves an orphan to quarantine, unless it is pinned or was published again meanwhile.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn quarantine_orphan(&self, name: &str) -> Result<bool, CacheError> {
        let Some(sha256) = name
            .rsplit('/')
            .next()
            .and_then(|name| name.parse::<Sha256>().ok())
        else {
            return Ok(false);
        };
        let started_at = self.started_at;
        maintenance(&self.cache, move |disk| {
            let _lock = disk.layout.lock_object(sha256)?;
            let path = disk.layout.object(sha256);
            let is_old = fs::metadata(&path)
                .is_ok_and(|metadata| defects::changed_at(&metadata) < started_at);
            if !is_old || pins::is_pinned(&disk.layout, sha256)? {
                return Ok(false);
            }
            quarantine::move_object_in(disk, sha256)?;
            Ok(true)
        })
        .await
    }
}

/// Runs a blocking check.
async fn maintenance<T: Send + 'static>(
    cache: &Cache,
    work: impl FnOnce(&DiskStore) -> Result<T, DiskError> + Send + 'static,
) -> Result<T, CacheError> {
    Ok(cache.disk().run(IoClass::Maintenance, work).await?)
}
