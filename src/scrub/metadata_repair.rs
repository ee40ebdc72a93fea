//! Checks names, records, index and pins of the whole folder, and repairs their defects.

use super::defects::{Defect, DefectAt};
use super::finding_recorder::Repair;
use super::metadata_check::{MetadataCheck, RecordRepair};
use super::object_repair::{ObjectRepair, object_name};
use super::report::RepairOutcome;
use super::restore::restore;
use crate::cache::CacheError;

/// Last part of the folder: parts are numbered by the first byte of a digest.
const LAST_PART: u8 = u8::MAX;

/// Checks and repairs the metadata.
///
/// # Errors
/// [`CacheError`] if the disk or the index fails.
pub async fn check_metadata(objects: &mut ObjectRepair<'_>) -> Result<(), CacheError> {
    let mut check = MetadataCheck::begin(objects.cache()).await?;
    let mut other_defects = check.folders().await?;
    for part in 0..=LAST_PART {
        for defect in check.records(part, &mut objects.throttle).await? {
            if defect.defect == Defect::DamagedRecord {
                repair_record(objects, &check, defect, None).await?;
            } else {
                other_defects.push(defect);
            }
        }
    }
    objects.findings.report.records = check.records;
    resolve_length_mismatches(objects, &mut check).await?;
    for part in 0..=LAST_PART {
        other_defects.extend(check.objects(part).await?);
    }
    for defect in other_defects {
        let is_quarantined = defect.defect == Defect::Orphan
            && !objects.is_dry_run
            && check.quarantine_orphan(&defect.name).await?;
        let outcome = if is_quarantined {
            RepairOutcome::Quarantined
        } else {
            RepairOutcome::Unchanged
        };
        objects.findings.record(defect, outcome.into(), &[]);
    }
    for defect in check.index(objects.is_dry_run).await? {
        let outcome = if objects.is_dry_run {
            RepairOutcome::Unchanged
        } else {
            RepairOutcome::RemovedFromIndex
        };
        objects.findings.record(defect, outcome.into(), &[]);
    }
    check_pinned(objects, &check).await
}

/// Reads the objects that have another length than their records say, to find which of both is
/// wrong. Repairs it.
async fn resolve_length_mismatches(
    objects: &mut ObjectRepair<'_>,
    check: &mut MetadataCheck,
) -> Result<(), CacheError> {
    let mut broken = Vec::new();
    for (sha256, record_names) in std::mem::take(&mut check.of_other_length) {
        objects.checked.insert(sha256);
        let Some(intact_bytes) = objects.check(sha256, &mut broken).await? else {
            continue;
        };
        for name in record_names {
            let defect = DefectAt {
                defect: Defect::DamagedRecord,
                name,
                detail: format!(
                    "the record has another length than its intact object, {intact_bytes} bytes"
                ),
            };
            repair_record(objects, check, defect, Some(intact_bytes)).await?;
        }
    }
    objects.repair(broken).await
}

/// Restores a damaged record. `intact_bytes` is the length of its object if that was found intact.
async fn repair_record(
    objects: &mut ObjectRepair<'_>,
    check: &MetadataCheck,
    defect: DefectAt,
    intact_bytes: Option<u64>,
) -> Result<(), CacheError> {
    let repair = if objects.is_dry_run {
        RepairOutcome::Unchanged.into()
    } else {
        match check.repair_record(&defect.name, intact_bytes).await {
            Ok(RecordRepair::Repaired) => RepairOutcome::Restored.into(),
            Ok(RecordRepair::Unrepaired) => RepairOutcome::Unchanged.into(),
            Err(CacheError::Bucket(error)) => Repair {
                outcome: RepairOutcome::Unrecoverable,
                error: Some(error.to_string()),
            },
            Err(error) => return Err(error),
        }
    };
    objects.findings.record(defect, repair, &[]);
    Ok(())
}

/// Restores pinned objects that neither the disk nor the bucket has.
async fn check_pinned(
    objects: &mut ObjectRepair<'_>,
    check: &MetadataCheck,
) -> Result<(), CacheError> {
    for record in check.pinned().await? {
        let name = object_name(record.sha256);
        let can_serve = objects.cache().admin().can_serve(&record).await;
        let records = [record];
        let (defect, detail) = match can_serve {
            Ok(true) => continue,
            Ok(false) => (Defect::PinnedMissing, "the target is pinned".to_owned()),
            Err(error) => (Defect::Unreadable, error.to_string()),
        };
        let defect = DefectAt {
            defect,
            name,
            detail,
        };
        if defect.defect == Defect::Unreadable {
            let outcome = RepairOutcome::Unchanged.into();
            objects.findings.record(defect, outcome, &records);
            continue;
        }
        objects.findings.emit_corruption(&defect, &records);
        let repair = if objects.is_dry_run {
            RepairOutcome::Unchanged.into()
        } else {
            restore(objects.sources, &records).await
        };
        objects.findings.record(defect, repair, &records);
    }
    Ok(())
}
