//! The fetch path, from the first question to the published object.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::changed_content::{self, KnownContent};
use super::download::Download;
use super::download_spec::DownloadSpec;
use super::in_flight::InFlightFetch;
use super::peer::{self, LeaseOutcome};
use super::resume::CompletedBody;
use super::source_loop::download_from_sources;
use super::{FetchError, FetchKey, Shared};
use crate::cache::{Hit, TargetLookup, TargetRecords};
use crate::model::{Cause, Event, ExpectedDigests, Key, Record, Sha256, Target};
use crate::origin::OriginError;
use crate::policy::{Admitted, Source};

/// Flies one flight to its end, whatever that is.
pub(super) async fn run(
    shared: Arc<Shared>,
    fetch: Arc<InFlightFetch>,
    fetch_key: FetchKey,
    admitted: Admitted,
) {
    let started = Instant::now();
    let mut guard = CompletionGuard {
        shared: &shared,
        fetch: &fetch,
        fetch_key: &fetch_key,
        outcome: Err(FetchError::StoreFailed),
    };
    let mut report = FetchReport::default();
    guard.outcome = tokio::select! {
        outcome = timeout(shared.config.budget.0, acquire_lease_and_fetch(&shared, &fetch, &fetch_key, &admitted, &mut report)) => {
            outcome.unwrap_or(Err(FetchError::DeadlineExceeded))
        }
        () = shared.stop.cancelled() => Err(FetchError::Stopping),
    };
    let outcome = guard.outcome.clone();
    // Whoever reads in the log that it is over must not be able to join it.
    drop(guard);
    report_outcome(&shared, &admitted, &outcome, &report, started.elapsed());
}

/// What a fetch has met with on its way, to be told at its end.
#[derive(Default)]
pub(super) struct FetchReport {
    /// How often a source was asked.
    pub attempts: u32,
    /// The sources that gave something else than they should.
    bad_sources: Vec<(Target, Cause, String)>,
    /// What the target gave before. The bytes themselves were evicted.
    pub on_record: Option<Sha256>,
    /// What the target gave before, where what was published now is something else.
    pub differs_from: Option<Sha256>,
}

impl FetchReport {
    /// A source is asked no more. What it does not have or cannot send is no news while others have
    /// it.
    pub(super) fn record_bad_source(&mut self, source: &Source, error: &FetchError) {
        let lies = [
            Cause::ContentChanged,
            Cause::WrongFileType,
            Cause::ChecksumMismatch,
            Cause::InvalidResponse,
        ];
        if let Some(cause) = error
            .cause(self.on_record)
            .filter(|cause| lies.contains(cause))
        {
            self.bad_sources
                .push((source.target().clone(), cause, error.to_string()));
        }
    }
}

/// Ends a flight when it is dropped, also by a panic: otherwise its followers would wait for ever.
struct CompletionGuard<'a> {
    shared: &'a Shared,
    fetch: &'a InFlightFetch,
    fetch_key: &'a FetchKey,
    outcome: Result<Arc<Record>, FetchError>,
}

impl Drop for CompletionGuard<'_> {
    fn drop(&mut self) {
        if let Err(error) = &self.outcome
            && error.is_negative_cacheable()
        {
            self.shared
                .failures
                .insert(self.fetch_key.clone(), error.clone());
        }
        // Whoever comes from here on finds the object or the failure; who came before is told now.
        self.shared.in_flight().remove(self.fetch_key);
        self.fetch.finish(self.outcome.clone());
    }
}

/// Wait for this process's turn, fetch, let the others have theirs.
async fn acquire_lease_and_fetch(
    shared: &Shared,
    fetch: &InFlightFetch,
    fetch_key: &FetchKey,
    admitted: &Admitted,
    report: &mut FetchReport,
) -> Result<Arc<Record>, FetchError> {
    let mut leased =
        if fetch_key.expected.is_empty() || is_on_record(shared, fetch_key, admitted).await {
            peer::acquire_lease(shared, fetch, fetch_key.key).await?
        } else {
            // What is on its way for those who expect nothing is most likely what is expected here
            // too.
            wait_for_other_fetches(shared, fetch_key.key).await;
            LeaseOutcome::default()
        };
    let outcome = fetch_with_lease(shared, fetch, fetch_key, admitted, &mut leased, report).await;
    leased.release(fetch, &outcome).await;
    outcome
}

/// Returns once nobody fetches a target for those who expect nothing, here or in another process.
pub(super) async fn wait_for_other_fetches(shared: &Shared, key: Key) {
    let of_all = shared
        .in_flight()
        .get(key, &ExpectedDigests::nothing())
        .map(Arc::clone);
    if let Some(of_all) = of_all {
        of_all.wait_finished().await;
    }
    peer::wait_for_lease_release(shared, key).await;
}

/// Whether no more is expected than what the operator states, or what the target has given before:
/// then it is no client's word.
async fn is_on_record(shared: &Shared, fetch_key: &FetchKey, admitted: &Admitted) -> bool {
    if admitted
        .required_sha256()
        .is_some_and(|required| fetch_key.expected == ExpectedDigests::from_iter([required.into()]))
    {
        return true;
    }
    match shared.cache.lookup(fetch_key.key).await {
        Ok(TargetLookup::Known(known)) => {
            fetch_key.expected == ExpectedDigests::from_iter([known.active().sha256.into()])
        }
        _ => false,
    }
}

/// LeaseState past the map, take in the body from whoever has it, keep it.
async fn fetch_with_lease(
    shared: &Shared,
    fetch: &InFlightFetch,
    fetch_key: &FetchKey,
    admitted: &Admitted,
    leased: &mut LeaseOutcome,
    report: &mut FetchReport,
) -> Result<Arc<Record>, FetchError> {
    let mut expected = fetch_key.expected.clone();
    expected.extend(admitted.required_sha256());
    let mut known_content = None;
    let peer_body = leased.take_peer_body();
    // Another process may have stored it since the map was asked.
    match shared.cache.lookup_uncached(fetch_key.key).await {
        Ok(TargetLookup::Known(known)) => {
            let record = known.active_for(&expected);
            if let Some(hit) = open(shared, fetch_key.key, &expected, &known, record).await {
                let record = Arc::clone(hit.record());
                if let Some(peer_body) = peer_body {
                    peer_body
                        .finish_from_object(fetch, &shared.cache.ensure_on_disk(hit).await?)
                        .await?;
                }
                return Ok(record);
            }
            report.on_record = Some(record.sha256);
            // Its bytes were evicted: what comes now must be the same, unless an operator states
            // what it must be.
            if admitted.required_sha256().is_none() && !shared.cache.allows_change(&known) {
                expected.add(record.sha256.into());
                known_content = Some(KnownContent {
                    sha256: record.sha256,
                    known,
                });
            }
        }
        Ok(TargetLookup::NeverStored) => {}
        // What is on record is not known, so nothing may be added to it.
        Err(error) => {
            tracing::warn!(%error, "the cache could not be read");
            return Err(FetchError::StoreFailed);
        }
    }
    let is_on_record = known_content.is_some() || admitted.required_sha256().is_some();
    let sources = shared.policy.sources(admitted, is_on_record);
    let spec = DownloadSpec {
        admitted,
        expected: &expected,
        is_on_record,
        sources: &sources,
        known_content: known_content.as_ref(),
    };
    let mut download = Download::new(shared, fetch, spec, leased.lease());
    if let Some(peer_body) = peer_body {
        download.resume_from_peer(peer_body).await?;
    }
    let limit = leased.attempts(shared.config.attempts);
    let (completed, _permits) = download_from_sources(shared, download, limit, report).await?;
    publish(shared, fetch, admitted, &expected, completed, report).await
}

/// Opens what answers for a target, if it is held.
async fn open(
    shared: &Shared,
    key: Key,
    expected: &ExpectedDigests,
    known: &TargetRecords,
    record: &Arc<Record>,
) -> Option<Hit> {
    let hit = shared
        .cache
        .open_record(key, Arc::clone(record))
        .await
        .ok()
        .flatten();
    match hit {
        Some(hit) => Some(hit),
        None => shared
            .cache
            .open_latest_variant(key, known, expected)
            .await
            .ok()
            .flatten(),
    }
}

/// Lets the followers have the end, and publishes.
async fn publish(
    shared: &Shared,
    fetch: &InFlightFetch,
    admitted: &Admitted,
    expected: &ExpectedDigests,
    completed: CompletedBody,
    report: &mut FetchReport,
) -> Result<Arc<Record>, FetchError> {
    let finished = completed.finished;
    if let Some(head) = completed.unsent_head {
        fetch.start_streaming(head, finished.file(), finished.size_bytes());
    }
    fetch.mark_verified(finished.digests.sha256);
    let sealed = finished.seal().await?;
    let record = changed_content::record_of(admitted, &sealed, completed.source, completed.headers);
    let published = shared.cache.publish(sealed, record.clone()).await?;
    report.differs_from = published.differs_from;
    let answering = published.records.active_for(expected);
    let is_other = published.differs_from == Some(answering.sha256);
    let stands_in = is_other
        && !published.records.is_cached()
        && shared.cache.allows_change(&published.records);
    Ok(if stands_in {
        Arc::new(record)
    } else {
        Arc::clone(answering)
    })
}

/// The events for whoever subscribes, and one log event a fetch. Whoever reads that knows that the
/// others were told before.
pub(super) fn report_outcome(
    shared: &Shared,
    admitted: &Admitted,
    outcome: &Result<Arc<Record>, FetchError>,
    report: &FetchReport,
    duration: Duration,
) {
    let target = admitted.target();
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let attempts = report.attempts;
    let fetch_failed = |cause, detail| {
        shared.events.emit(Event::FetchFailed {
            target: target.clone(),
            cause,
            detail,
        });
    };
    match outcome {
        Ok(record) if attempts == 0 => {
            tracing::info!(uri = %target, outcome = "already_stored", size_bytes = record.size_bytes, sha256 = %record.sha256, attempts, duration_ms, "fetch");
        }
        Ok(record) => {
            let (sha256, size_bytes) = (record.sha256, record.size_bytes);
            shared.events.emit(Event::Stored {
                target: target.clone(),
                sha256,
                size_bytes,
            });
            if let Some(kept) = report.differs_from {
                let detail = format!(
                    "it gave sha256:{sha256}, and sha256:{kept} is what it means until that is accepted"
                );
                fetch_failed(Cause::ContentChanged, detail);
            }
            // Behind the good news of the target, which would end what is told of it.
            report_bad_sources(shared, report, None);
            tracing::info!(uri = %target, outcome = "stored", size_bytes, %sha256, source = record.source, attempts, duration_ms, "fetch");
        }
        Err(error) => {
            if let Some(cause) = error
                .cause(report.on_record)
                .filter(|cause| should_report(error, *cause, attempts))
            {
                fetch_failed(cause, error.to_string());
            }
            report_bad_sources(shared, report, Some(target));
            tracing::warn!(uri = %target, outcome = "failed", cause = %error, attempts, duration_ms, "fetch");
        }
    }
}

/// Sources that lie are told of, whatever became of the fetch.
fn report_bad_sources(shared: &Shared, report: &FetchReport, reported: Option<&Target>) {
    for (target, cause, detail) in report
        .bad_sources
        .iter()
        .filter(|(target, ..)| Some(target) != reported)
    {
        shared.events.emit(Event::FetchFailed {
            target: target.clone(),
            cause: *cause,
            detail: detail.clone(),
        });
    }
}

/// What an origin said to another process on the same folder is told by that one.
fn should_report(error: &FetchError, cause: Cause, attempts: u32) -> bool {
    let is_refused_here = matches!(error, FetchError::Origin(OriginError::CircuitOpen { .. }));
    attempts > 0 || is_refused_here || matches!(cause, Cause::NoSpace | Cause::StoreFailed)
}
