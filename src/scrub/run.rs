//! One scrub: retries earlier repairs, checks the metadata, and reads a share of the objects.

use std::collections::HashSet;

use super::cursor::ScrubLock;
use super::finding_recorder::FindingRecorder;
use super::metadata_repair::check_metadata;
use super::object_check;
use super::object_repair::ObjectRepair;
use super::report::{ScrubEvent, ScrubOptions, ScrubReport};
use super::restore::RepairSources;
use super::throttled_read::ReadThrottle;
use crate::cache::CacheError;
use crate::disk::{IoClass, quarantine};

/// Scrubs the next share of the objects, and passes findings and progress to `show`.
///
/// # Errors
/// [`CacheError`] if the folder or the index fails as a whole.
pub async fn scrub(
    sources: &RepairSources,
    lock: &mut ScrubLock,
    options: ScrubOptions,
    show: &(dyn Fn(&ScrubEvent<'_>) + Sync),
) -> Result<ScrubReport, CacheError> {
    let mut objects = ObjectRepair {
        sources,
        is_dry_run: options.is_dry_run,
        throttle: ReadThrottle::new(options.rate),
        findings: FindingRecorder::new(&sources.events, options.is_dry_run, show),
        checked: HashSet::new(),
    };
    objects.retry_missing(|_| true).await?;
    if options.checks_metadata {
        check_metadata(&mut objects).await?;
    }
    check_share(&mut objects, lock, options.share).await?;
    if !options.is_dry_run {
        sources
            .cache
            .disk()
            .run(IoClass::Maintenance, quarantine::expire)
            .await?;
    }
    Ok(objects.findings.report)
}

/// Reads the next share of the objects, and repairs the broken ones of each part of the folder.
/// Stores the position after each part, except in a dry run.
async fn check_share(
    objects: &mut ObjectRepair<'_>,
    lock: &mut ScrubLock,
    share: f64,
) -> Result<(), CacheError> {
    let range = lock.begin_range(share);
    let parts = range.parts();
    let count = parts.len();
    for (at, part) in parts.into_iter().enumerate() {
        let mut broken = Vec::new();
        for sha256 in object_check::objects_of(objects.cache(), range, at, part).await? {
            if !objects.checked.contains(&sha256) {
                objects.check(sha256, &mut broken).await?;
            }
            lock.advance_to(sha256);
        }
        objects.repair(broken).await?;
        if !objects.is_dry_run {
            lock.save().await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "there are at most 257 parts")]
        objects
            .findings
            .show_progress((at + 1) as f64 / count as f64);
    }
    lock.finish_range(range);
    if objects.is_dry_run {
        return Ok(());
    }
    lock.save().await
}
