//! Looking for rot: what is kept is read and held against its digests, set aside where it is wrong,
//! and brought again from the bucket or from upstream.
//!
//! A hit of rotten bytes is served until it is found here. Once it is set aside it is a miss like
//! any other, so that nothing that fails here is lost to those who ask.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::cursor::ScrubLock;
use super::defects::{Defect, DefectAt};
use super::metadata_check::MetadataCheck;
use super::object_check::{self, ObjectCheck};
use super::throttled_read::ReadThrottle;
use crate::cache::{Cache, CacheError};
use crate::disk::{IoClass, missing, quarantine};
use crate::fetch::Fetcher;
use crate::model::{Event, EventSink, Rate, Record, Sha256};

/// How many targets are asked for the bytes of one object.
const MAX_ASKED_TARGETS: usize = 8;

/// How many parts the folder has.
const LAST_PART: u8 = u8::MAX;

/// What became of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairOutcome {
    /// It came back from the bucket.
    Restored,
    /// It came again from upstream.
    Refetched,
    /// It lies in quarantine, and nobody lacks it.
    Quarantined,
    /// The index does not list it any more.
    RemovedFromIndex,
    /// It could not be had from anywhere. Whoever asks for it next has it tried again.
    Unrecoverable,
    Unchanged,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, Serialize)]
pub struct ScrubFinding {
    pub defect: Defect,
    /// Within the folder.
    pub name: String,
    pub outcome: RepairOutcome,
    pub detail: String,
    /// Whose bytes they are, without secrets.
    pub targets: Vec<String>,
}

/// What a verification has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ScrubReport {
    /// Objects that are right.
    pub objects: u64,
    /// Their bytes.
    pub size_bytes: u64,
    pub records: u64,
    /// What was wrong and is right again.
    pub repaired: u64,
    /// What is wrong still.
    pub unrepaired: u64,
    /// What is odd and does no harm.
    pub warnings: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct ScrubOptions {
    /// Of all objects, between 0 and 1.
    pub share: f64,
    /// Whether records and names are looked at too.
    pub checks_metadata: bool,
    /// Whether everything is left as it is.
    pub is_dry_run: bool,
    pub rate: Rate,
}

/// What whoever waits for it is told.
pub enum ScrubEvent<'a> {
    Found(&'a ScrubFinding),
    /// So much of its share of the objects was read.
    Done(f64),
}

/// Where lost bytes may come from.
pub struct RepairSources {
    pub cache: Cache,
    pub fetcher: Fetcher,
    pub events: EventSink,
}

struct Scrubber<'a> {
    sources: &'a RepairSources,
    is_dry_run: bool,
    throttle: ReadThrottle,
    show: &'a (dyn Fn(&ScrubEvent<'_>) + Sync),
    /// Objects that were read before their turn.
    checked: HashSet<Sha256>,
    report: ScrubReport,
}

/// An object that cannot be served as it is.
type Broken = (Sha256, DefectAt);

/// Verifies what is next.
///
/// # Errors
/// [`CacheError`] if folder or index refuse as a whole.
pub async fn scrub(
    sources: &RepairSources,
    lock: &mut ScrubLock,
    options: ScrubOptions,
    show: &(dyn Fn(&ScrubEvent<'_>) + Sync),
) -> Result<ScrubReport, CacheError> {
    let throttle = ReadThrottle::new(options.rate);
    let mut scrubber = Scrubber {
        sources,
        is_dry_run: options.is_dry_run,
        throttle,
        show,
        checked: HashSet::new(),
        report: ScrubReport::default(),
    };
    scrubber.retry_missing().await?;
    if options.checks_metadata {
        scrubber.check_metadata().await?;
    }
    scrubber.read(lock, options.share).await?;
    if !options.is_dry_run {
        sources
            .cache
            .disk()
            .run(IoClass::Maintenance, quarantine::expire)
            .await?;
    }
    Ok(scrubber.report)
}

impl Scrubber<'_> {
    fn cache(&self) -> &Cache {
        &self.sources.cache
    }

    async fn read(&mut self, lock: &mut ScrubLock, share: f64) -> Result<(), CacheError> {
        let range = lock.begin_range(share);
        let parts = range.parts();
        let count = parts.len();
        for (at, part) in parts.into_iter().enumerate() {
            let mut broken = Vec::new();
            for sha256 in object_check::objects_of(self.cache(), range, at, part).await? {
                if !self.checked.contains(&sha256) {
                    self.check(sha256, &mut broken).await?;
                }
                lock.advance_to(sha256);
            }
            self.repair(broken).await?;
            if !self.is_dry_run {
                lock.save().await?;
            }
            #[expect(clippy::cast_precision_loss, reason = "there are at most 257 folders")]
            (self.show)(&ScrubEvent::Done((at + 1) as f64 / count as f64));
        }
        lock.finish_range(range);
        if self.is_dry_run {
            Ok(())
        } else {
            lock.save().await
        }
    }

    /// Reads an object. What is rotten is set aside at once. Returns how long it is if it is right.
    async fn check(
        &mut self,
        sha256: Sha256,
        broken: &mut Vec<Broken>,
    ) -> Result<Option<u64>, CacheError> {
        let name = object_name(sha256);
        let checked =
            object_check::check_object(&self.sources.cache, sha256, &mut self.throttle).await;
        let defect = match checked {
            ObjectCheck::NotFound => return Ok(None),
            ObjectCheck::Intact { size_bytes } => {
                self.report.objects += 1;
                self.report.size_bytes += size_bytes;
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
                    // It was replaced or evicted while it was read.
                    return Ok(None);
                }
                DefectAt {
                    defect: Defect::Corrupt,
                    name,
                    detail: "its bytes are not those of its name".to_owned(),
                }
            }
        };
        broken.push((sha256, defect));
        Ok(None)
    }

    /// Brings again what was set aside.
    async fn repair(&mut self, broken: Vec<Broken>) -> Result<(), CacheError> {
        if broken.is_empty() {
            return Ok(());
        }
        let digests: HashSet<_> = broken.iter().map(|(sha256, _)| *sha256).collect();
        let naming: HashMap<_, _> = object_check::records_naming(self.cache(), digests).await?;
        for (sha256, defect) in broken {
            let records = naming.get(&sha256).cloned().unwrap_or_default();
            self.warn(&defect, &records);
            let (outcome, why) = if self.is_dry_run || defect.defect == Defect::Unreadable {
                (RepairOutcome::Unchanged, None)
            } else {
                self.restore(&records).await
            };
            if !matches!(
                outcome,
                RepairOutcome::Unrecoverable | RepairOutcome::Unchanged
            ) {
                self.clear_missing(sha256).await?;
            }
            self.found(defect, outcome, why, &records);
        }
        Ok(())
    }

    /// What was set aside before and could not be had then, unless somebody else has brought it
    /// meanwhile.
    async fn retry_missing(&mut self) -> Result<(), CacheError> {
        let missing = self
            .cache()
            .disk()
            .run(IoClass::Maintenance, missing::list)
            .await?;
        if missing.is_empty() {
            return Ok(());
        }
        let naming =
            object_check::records_naming(self.cache(), missing.iter().copied().collect()).await?;
        let mut broken = Vec::new();
        for sha256 in missing {
            let is_lacking = match naming.get(&sha256).and_then(|records| records.first()) {
                // What the disk does not say now is asked the next time.
                Some(record) => match object_check::is_on_disk(self.cache(), record).await {
                    Ok(is_held) => !is_held,
                    Err(_) => continue,
                },
                None => false,
            };
            if is_lacking {
                let detail = "it was rotten, and is gone since".to_owned();
                broken.push((
                    sha256,
                    DefectAt {
                        defect: Defect::Corrupt,
                        name: object_name(sha256),
                        detail,
                    },
                ));
            } else if !self.is_dry_run {
                self.clear_missing(sha256).await?;
            }
        }
        self.repair(broken).await
    }

    /// Has the bytes that these records name brought from the bucket, or else from upstream.
    async fn restore(&self, records: &[Arc<Record>]) -> (RepairOutcome, Option<String>) {
        let Some(first) = records.first() else {
            return (RepairOutcome::Quarantined, None);
        };
        let mut why = None;
        match self.cache().restore(first).await {
            Ok(true) => return self.emit_repaired(RepairOutcome::Restored, records),
            Ok(false) => {}
            Err(error) => why = Some(error.to_string()),
        }
        for record in records.iter().take(MAX_ASKED_TARGETS) {
            match self
                .sources
                .fetcher
                .restore(&record.target, record.sha256)
                .await
            {
                Ok(()) => match object_check::is_on_disk(self.cache(), record).await {
                    Ok(true) => return self.emit_repaired(RepairOutcome::Refetched, records),
                    Ok(false) => {}
                    Err(error) => why = Some(error.to_string()),
                },
                Err(error) => why = Some(error.to_string()),
            }
        }
        (RepairOutcome::Unrecoverable, why)
    }

    /// What is told of these targets is over.
    fn emit_repaired(
        &self,
        outcome: RepairOutcome,
        records: &[Arc<Record>],
    ) -> (RepairOutcome, Option<String>) {
        let targets = records.iter().map(|record| record.target.clone()).collect();
        self.sources.events.emit(Event::Repaired { targets });
        (outcome, None)
    }

    /// Records, names and index.
    async fn check_metadata(&mut self) -> Result<(), CacheError> {
        let mut check = MetadataCheck::begin(self.cache()).await?;
        let mut others = check.folders().await?;
        for part in 0..=LAST_PART {
            for defect in check.records(part, &mut self.throttle).await? {
                if defect.defect == Defect::DamagedRecord {
                    self.repair_record(&check, defect, None).await?;
                } else {
                    others.push(defect);
                }
            }
        }
        self.report.records = check.records;
        self.resolve_length_mismatches(&mut check).await?;
        for part in 0..=LAST_PART {
            others.extend(check.objects(part).await?);
        }
        for defect in others {
            let is_quarantined = defect.defect == Defect::Orphan
                && !self.is_dry_run
                && check.quarantine_orphan(&defect.name).await?;
            let outcome = if is_quarantined {
                RepairOutcome::Quarantined
            } else {
                RepairOutcome::Unchanged
            };
            self.found(defect, outcome, None, &[]);
        }
        for defect in check.index(self.is_dry_run).await? {
            let outcome = if self.is_dry_run {
                RepairOutcome::Unchanged
            } else {
                RepairOutcome::RemovedFromIndex
            };
            self.found(defect, outcome, None, &[]);
        }
        self.check_pinned(&check).await
    }

    /// Of an object and a record that say different lengths, the one that is wrong.
    async fn resolve_length_mismatches(
        &mut self,
        check: &mut MetadataCheck,
    ) -> Result<(), CacheError> {
        let mut broken = Vec::new();
        for (sha256, names) in std::mem::take(&mut check.of_other_length) {
            self.checked.insert(sha256);
            let Some(intact_bytes) = self.check(sha256, &mut broken).await? else {
                continue;
            };
            for name in names {
                let detail = format!("its object has {intact_bytes} bytes, and is right");
                let defect = DefectAt {
                    defect: Defect::DamagedRecord,
                    name,
                    detail,
                };
                self.repair_record(check, defect, Some(intact_bytes))
                    .await?;
            }
        }
        self.repair(broken).await
    }

    async fn repair_record(
        &mut self,
        check: &MetadataCheck,
        defect: DefectAt,
        intact_bytes: Option<u64>,
    ) -> Result<(), CacheError> {
        let (outcome, why) = if self.is_dry_run {
            (RepairOutcome::Unchanged, None)
        } else {
            match check.repair_record(&defect.name, intact_bytes).await {
                Ok(true) => (RepairOutcome::Restored, None),
                Ok(false) => (RepairOutcome::Unrecoverable, None),
                Err(CacheError::Bucket(error)) => {
                    (RepairOutcome::Unrecoverable, Some(error.to_string()))
                }
                Err(error) => return Err(error),
            }
        };
        if outcome == RepairOutcome::Unrecoverable {
            self.warn(&defect, &[]);
        }
        self.found(defect, outcome, why, &[]);
        Ok(())
    }

    /// What an operator keeps is brought again if it is nowhere.
    async fn check_pinned(&mut self, check: &MetadataCheck) -> Result<(), CacheError> {
        for record in check.pinned().await? {
            let name = object_name(record.sha256);
            match self.cache().admin().can_serve(&record).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    let defect = DefectAt {
                        defect: Defect::Unreadable,
                        name,
                        detail: error.to_string(),
                    };
                    self.found(defect, RepairOutcome::Unchanged, None, &[record]);
                    continue;
                }
            }
            let defect = DefectAt {
                defect: Defect::PinnedMissing,
                name,
                detail: "it is pinned".to_owned(),
            };
            let records = [record];
            self.warn(&defect, &records);
            let (outcome, why) = if self.is_dry_run {
                (RepairOutcome::Unchanged, None)
            } else {
                self.restore(&records).await
            };
            self.found(defect, outcome, why, &records);
        }
        Ok(())
    }

    async fn clear_missing(&self, sha256: Sha256) -> Result<(), CacheError> {
        let cleared = self.cache().disk().run(IoClass::Maintenance, move |disk| {
            missing::clear(disk, sha256)
        });
        Ok(cleared.await?)
    }

    /// Tells whoever listens, before it is mended: so what is stored again shows that it is over.
    fn warn(&self, defect: &DefectAt, records: &[Arc<Record>]) {
        let DefectAt { name, detail, .. } = defect;
        // What belongs to nobody is in the log.
        if !self.is_dry_run && !records.is_empty() {
            let targets = records.iter().map(|record| record.target.clone()).collect();
            self.sources.events.emit(Event::CorruptionFound {
                targets,
                detail: format!("{name}: {detail}"),
            });
        }
    }

    fn found(
        &mut self,
        defect: DefectAt,
        outcome: RepairOutcome,
        why: Option<String>,
        records: &[Arc<Record>],
    ) {
        let DefectAt {
            defect,
            name,
            detail,
        } = defect;
        let detail = why.map_or_else(|| detail.clone(), |why| format!("{detail}; {why}"));
        let targets = records
            .iter()
            .map(|record| record.target.to_string())
            .collect();
        let finding = ScrubFinding {
            defect,
            name,
            outcome,
            detail,
            targets,
        };
        let counter = match (defect, outcome) {
            (Defect::WritableObject | Defect::UnknownFile, _)
            | (Defect::Orphan | Defect::Missing, RepairOutcome::Unchanged) => {
                &mut self.report.warnings
            }
            (_, RepairOutcome::Unrecoverable | RepairOutcome::Unchanged) => {
                &mut self.report.unrepaired
            }
            _ => &mut self.report.repaired,
        };
        *counter += 1;
        (self.show)(&ScrubEvent::Found(&finding));
    }
}

/// The name of an object within the folder.
fn object_name(sha256: Sha256) -> String {
    format!("objects/{:.2}/{sha256}", sha256.to_string())
}
