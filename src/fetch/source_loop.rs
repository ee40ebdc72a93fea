//! Asking one source after the other, again and again, until the body is here or asking is of no
//! use any more.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::download::Download;
use super::host_circuits::HostCircuits;
use super::host_limits::FetchPermit;
use super::job::FetchReport;
use super::resume::CompletedBody;
use super::{FetchError, Shared};
use crate::origin::OriginError;
use crate::policy::{Source, SourceKind};

/// The longest wait between two attempts, but for one that the origin asks for.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// Asks until the body is here. The places that the last attempt took are held until the body is
/// published: what it has reserved is held so long too.
pub async fn download_from_sources(
    shared: &Shared,
    mut download: Download<'_>,
    limit: u32,
    report: &mut FetchReport,
) -> Result<(CompletedBody, FetchPermit), FetchError> {
    let now = Instant::now();
    let mut queue: VecDeque<_> = download
        .sources()
        .iter()
        .map(|source| QueuedSource {
            source,
            tries: 0,
            not_before: now,
        })
        .collect();
    // The origin's own word, if all fail: what a mirror has or has not says nothing of the target.
    let mut final_error = FetchError::StoreFailed;
    while let Some(mut queued) = next_source(&mut queue, &download) {
        sleep_until(queued.not_before).await;
        let error = match attempt(shared, &mut download, &queued, report).await {
            Ok(permits) => return Ok((download.into_completed()?, permits)),
            Err(error) => error,
        };
        if !error.can_try_next_source() || download.readers_saw_bad_bytes() {
            return Err(error);
        }
        // A client's digest decides what that client gets, and not which of two places everybody
        // gets it from.
        if queued.source.kind() == SourceKind::Origin
            && matches!(error, FetchError::Mismatch { .. })
            && !download.is_on_record()
        {
            return Err(error);
        }
        tracing::debug!(target = %queued.source.target(), %error, "a source gave nothing");
        queued.tries += 1;
        queued.not_before =
            Instant::now() + backoff(shared.config.backoff.0, queued.tries, error.retry_after());
        if queued.source.kind() == SourceKind::Origin {
            final_error = error.clone();
        }
        let wants_too_long = queued.source.kind() != SourceKind::Origin
            && error.retry_after().is_some_and(|wait| wait > MAX_BACKOFF);
        if !error.is_transient() || queued.tries >= limit || wants_too_long {
            report.record_bad_source(queued.source, &error);
        } else if download.has_begun() {
            // The rest of what is here comes from where it began.
            queue.push_front(queued);
        } else {
            // Behind those who may do better.
            queue.push_back(queued);
        }
    }
    Err(final_error)
}

/// Whose turn is next: where a body has begun its rest comes from; else who need not be waited for
/// longest.
fn next_source<'a>(
    queue: &mut VecDeque<QueuedSource<'a>>,
    download: &Download<'_>,
) -> Option<QueuedSource<'a>> {
    if download.has_begun() {
        return queue.pop_front();
    }
    let first = (0..queue.len()).min_by_key(|at| queue[*at].not_before)?;
    queue.remove(first)
}

/// One attempt at one source.
async fn attempt<'a>(
    shared: &Shared,
    download: &mut Download<'a>,
    queued: &QueuedSource<'a>,
    report: &mut FetchReport,
) -> Result<FetchPermit, FetchError> {
    let target = queued.source.target();
    let is_first = queued.tries == 0;
    if is_first {
        // Those who wait for a place would hold up the answer to those who come.
        shared.circuits.check(target)?;
    }
    let permits = shared.host_limiter.acquire(queued.source.admitted()).await;
    let _probe = if is_first {
        shared.circuits.try_acquire(target)?
    } else {
        None
    };
    report.attempts += 1;
    let outcome = download.attempt(queued.source).await;
    record_host_result(&shared.circuits, queued.source, download, &outcome);
    outcome.map(|()| permits)
}

/// What an attempt says of the source's host. Trouble behind a redirect is that of another, and of
/// our own store nobody's.
fn record_host_result(
    circuits: &HostCircuits,
    source: &Source,
    download: &Download<'_>,
    outcome: &Result<(), FetchError>,
) {
    match outcome {
        Err(FetchError::Origin(error))
            if error.counts_against_host()
                && download.last_response_was_direct()
                && !download.has_answered() =>
        {
            circuits.record_failure(source.target(), error);
        }
        Err(
            FetchError::Origin(OriginError::Denied(_))
            | FetchError::NoSpace
            | FetchError::StoreFailed,
        ) => {}
        _ => circuits.record_success(source.target()),
    }
}

/// A source that may be asked.
struct QueuedSource<'a> {
    source: &'a Source,
    /// How often it was asked already.
    tries: u32,
    not_before: Instant,
}

/// Doubles with each attempt, and is spread so that many flights do not come back at one moment.
fn backoff(first: Duration, attempts: u32, asked_for: Option<Duration>) -> Duration {
    let doubled = first
        .saturating_mul(1 << attempts.saturating_sub(1).min(16))
        .min(MAX_BACKOFF);
    let spread = doubled.mul_f64(rand::random_range(0.5..1.0));
    asked_for.map_or(spread, |asked_for| asked_for.max(spread))
}
