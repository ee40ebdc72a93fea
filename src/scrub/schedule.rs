//! The scrub of the service, which reads a share of all objects each hour.

use std::time::Duration;

use tokio::time::sleep;

use super::cursor::ScrubLock;
use super::report::{RepairOutcome, ScrubEvent, ScrubFinding, ScrubOptions};
use super::restore::RepairSources;
use super::run::scrub;
use crate::cache::CacheError;
use crate::model::{Rate, Size};

/// Interval from one share to the next.
const SHARE_INTERVAL: Duration = Duration::from_hours(1);

/// Delay after the start of the process, which serves its first requests then.
const START_DELAY: Duration = Duration::from_mins(1);

/// Read rate of the service: 80 TiB in 30 days.
pub const SERVICE_RATE: Rate = Rate::per_second(Size::mib(32));

/// Scrubs all objects once in each `round`, a share each hour. One process of the folder scrubs at
/// a time.
pub async fn run_scrubs(sources: RepairSources, round: Duration) {
    let interval = round.min(SHARE_INTERVAL);
    let share = interval.as_secs_f64() / round.as_secs_f64();
    sleep(interval.min(START_DELAY)).await;
    loop {
        let next = match scrub_if_due(&sources, interval, share).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "scrub failed, will retry");
                interval
            }
        };
        sleep(next).await;
    }
}

/// Scrubs one share if it is due. Returns when to try again.
async fn scrub_if_due(
    sources: &RepairSources,
    interval: Duration,
    share: f64,
) -> Result<Duration, CacheError> {
    if sources.cache.health().trouble().is_some() {
        // Read errors of a failing disk are no defects of the objects.
        return Ok(interval);
    }
    let Some(mut lock) = ScrubLock::acquire(&sources.cache).await? else {
        return Ok(interval);
    };
    let due_in = lock.due_in(interval);
    if !due_in.is_zero() {
        return Ok(due_in);
    }
    let checks_metadata = lock.next_starts_new_round(share);
    let options = ScrubOptions {
        share,
        checks_metadata,
        is_dry_run: false,
        rate: SERVICE_RATE,
    };
    let report = scrub(sources, &mut lock, options, &log_finding).await?;
    tracing::debug!(?report, "scrubbed a share of the objects");
    // The interval includes the duration of the scrub.
    Ok(lock.due_in(interval))
}

/// Logs a finding. Progress is not logged.
pub fn log_finding(event: &ScrubEvent<'_>) {
    let ScrubEvent::Found(ScrubFinding {
        defect,
        name,
        outcome,
        detail,
        ..
    }) = event
    else {
        return;
    };
    if *outcome == RepairOutcome::Unrecoverable {
        tracing::error!(
            ?defect,
            name,
            ?outcome,
            detail,
            "scrub found damage that cannot be repaired"
        );
    } else {
        tracing::warn!(?defect, name, ?outcome, detail, "scrub found a defect");
    }
}
