//! The fetch path, from the first question to the published object.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::attempts::take_in;
use super::flight::Flight;
use super::intake::{Intake, Wanted};
use super::neighbour::{self, Turn};
use super::partial::Taken;
use super::witness::{self, Kept};
use super::{FetchError, FlightKey, Shared};
use crate::cache::{Hit, TargetLookup, TargetRecords};
use crate::model::{Cause, Event, Expected, Key, Record, Sha256, Target};
use crate::origin::OriginError;
use crate::policy::{Admitted, Source};

/// Flies one flight to its end, whatever that is.
pub(super) async fn fly(shared: Arc<Shared>, flight: Arc<Flight>, name: FlightKey, admitted: Admitted) {
    let started = Instant::now();
    let mut landing = Landing { shared: &shared, flight: &flight, name: &name, outcome: Err(FetchError::Unstorable) };
    let mut course = Course::default();
    landing.outcome = tokio::select! {
        outcome = timeout(shared.config.budget.0, fetch(&shared, &flight, &name, &admitted, &mut course)) => {
            outcome.unwrap_or(Err(FetchError::OverBudget))
        }
        () = shared.stop.cancelled() => Err(FetchError::Stopping),
    };
    let outcome = landing.outcome.clone();
    // Whoever reads in the log that it is over must not be able to join it.
    drop(landing);
    tell(&shared, &admitted, &outcome, &course, started.elapsed());
}

/// What a fetch has met with on its way, to be told at its end.
#[derive(Default)]
pub(super) struct Course {
    /// How often a source was asked.
    pub attempts: u32,
    /// The sources that gave something else than they should.
    liars: Vec<(Target, Cause, String)>,
    /// What the target gave before. The bytes themselves were evicted.
    pub on_record: Option<Sha256>,
    /// What the target gave before, where what was published now is something else.
    pub differs_from: Option<Sha256>,
}

impl Course {
    /// A source is asked no more. What it does not have or cannot send is no news while others have it.
    pub(super) fn has_failed(&mut self, source: &Source, error: &FetchError) {
        let lies = [Cause::Changed, Cause::Impostor, Cause::Mismatch, Cause::Wrong];
        if let Some(cause) = error.cause(self.on_record).filter(|cause| lies.contains(cause)) {
            self.liars.push((source.target().clone(), cause, error.to_string()));
        }
    }
}

/// Ends a flight when it is dropped, also by a panic: otherwise its followers would wait for ever.
struct Landing<'a> {
    shared: &'a Shared,
    flight: &'a Flight,
    name: &'a FlightKey,
    outcome: Result<Arc<Record>, FetchError>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if let Err(error) = &self.outcome
            && error.is_worth_remembering()
        {
            self.shared.failures.insert(self.name.clone(), error.clone());
        }
        // Whoever comes from here on finds the object or the failure; who came before is told now.
        self.shared.flights().remove(self.name);
        self.flight.end(self.outcome.clone());
    }
}

/// Wait for this process's turn, fetch, let the others have theirs.
async fn fetch(
    shared: &Shared,
    flight: &Flight,
    name: &FlightKey,
    admitted: &Admitted,
    course: &mut Course,
) -> Result<Arc<Record>, FetchError> {
    let mut turn = if name.expected.is_empty() || is_on_record(shared, name, admitted).await {
        neighbour::await_turn(shared, flight, name.key).await?
    } else {
        // What is on its way for those who expect nothing is most likely what is expected here too.
        await_others(shared, name.key).await;
        Turn::default()
    };
    let outcome = fetch_in_turn(shared, flight, name, admitted, &mut turn, course).await;
    turn.end(flight, &outcome).await;
    outcome
}

/// Returns once nobody fetches a target for those who expect nothing, here or in another process.
pub(super) async fn await_others(shared: &Shared, key: Key) {
    let of_all = shared.flights().get(key, &Expected::nothing()).map(Arc::clone);
    if let Some(of_all) = of_all {
        of_all.ended().await;
    }
    neighbour::await_no_claim(shared, key).await;
}

/// Whether no more is expected than what the operator states, or what the target has given before: then it is no client's
/// word.
async fn is_on_record(shared: &Shared, name: &FlightKey, admitted: &Admitted) -> bool {
    if admitted.stated().is_some_and(|stated| name.expected == Expected::from_iter([stated.into()])) {
        return true;
    }
    match shared.cache.lookup(name.key).await {
        Ok(TargetLookup::Known(known)) => name.expected == Expected::from_iter([known.active().sha256.into()]),
        _ => false,
    }
}

/// LeaseState past the map, take in the body from whoever has it, keep it.
async fn fetch_in_turn(
    shared: &Shared,
    flight: &Flight,
    name: &FlightKey,
    admitted: &Admitted,
    turn: &mut Turn,
    course: &mut Course,
) -> Result<Arc<Record>, FetchError> {
    let mut expected = name.expected.clone();
    expected.extend(admitted.stated());
    let mut kept = None;
    let shown = turn.take_shown();
    // Another process may have stored it since the map was asked.
    match shared.cache.lookup_uncached(name.key).await {
        Ok(TargetLookup::Known(known)) => {
            let record = known.active_for(&expected);
            if let Some(hit) = open(shared, name.key, &expected, &known, record).await {
                let record = Arc::clone(hit.record());
                if let Some(shown) = shown {
                    shown.land(flight, &shared.cache.ensure_on_disk(hit).await?).await?;
                }
                return Ok(record);
            }
            course.on_record = Some(record.sha256);
            // Its bytes were evicted: what comes now must be the same, unless an operator states what it must be.
            if admitted.stated().is_none() && !shared.cache.allows_change(&known) {
                expected.add(record.sha256.into());
                kept = Some(Kept { sha256: record.sha256, known });
            }
        }
        Ok(TargetLookup::NeverStored) => {}
        // What is on record is not known, so nothing may be added to it.
        Err(error) => {
            tracing::warn!(%error, "the cache could not be read");
            return Err(FetchError::Unstorable);
        }
    }
    let is_on_record = kept.is_some() || admitted.stated().is_some();
    let sources = shared.policy.sources(admitted, is_on_record);
    let wanted = Wanted { admitted, expected: &expected, is_on_record, sources: &sources, kept: kept.as_ref() };
    let mut intake = Intake::new(shared, flight, wanted, turn.claim());
    if let Some(shown) = shown {
        intake.take_over(shown).await?;
    }
    let limit = turn.attempts(shared.config.attempts);
    let (taken, _permits) = take_in(shared, intake, limit, course).await?;
    keep(shared, flight, admitted, &expected, taken, course).await
}

/// Opens what answers for a target, if it is held.
async fn open(
    shared: &Shared,
    key: Key,
    expected: &Expected,
    known: &TargetRecords,
    record: &Arc<Record>,
) -> Option<Hit> {
    let hit = shared.cache.open_record(key, Arc::clone(record)).await.ok().flatten();
    match hit {
        Some(hit) => Some(hit),
        None => shared.cache.open_latest_variant(key, known, expected).await.ok().flatten(),
    }
}

/// Lets the followers have the end, and publishes.
async fn keep(
    shared: &Shared,
    flight: &Flight,
    admitted: &Admitted,
    expected: &Expected,
    taken: Taken,
    course: &mut Course,
) -> Result<Arc<Record>, FetchError> {
    let finished = taken.finished;
    if let Some(head) = taken.unseen {
        flight.flow(head, finished.file(), finished.size_bytes());
    }
    flight.complete(finished.digests.sha256);
    let sealed = finished.seal().await?;
    let record = witness::record_of(admitted, &sealed, taken.source, taken.headers);
    let published = shared.cache.publish(sealed, record.clone()).await?;
    course.differs_from = published.differs_from;
    let answering = published.records.active_for(expected);
    let is_other = published.differs_from == Some(answering.sha256);
    let stands_in = is_other && !published.records.is_cached() && shared.cache.allows_change(&published.records);
    Ok(if stands_in { Arc::new(record) } else { Arc::clone(answering) })
}

/// The events for whoever subscribes, and one log event a fetch. Whoever reads that knows that the others were told before.
pub(super) fn tell(
    shared: &Shared,
    admitted: &Admitted,
    outcome: &Result<Arc<Record>, FetchError>,
    course: &Course,
    duration: Duration,
) {
    let target = admitted.target();
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let attempts = course.attempts;
    let trouble = |cause, detail| shared.events.tell(Event::Trouble { target: target.clone(), cause, detail });
    match outcome {
        Ok(record) if attempts == 0 => {
            tracing::info!(uri = %target, outcome = "found", size_bytes = record.size_bytes, sha256 = %record.sha256, attempts, duration_ms, "fetch");
        }
        Ok(record) => {
            let (sha256, size_bytes) = (record.sha256, record.size_bytes);
            shared.events.tell(Event::Stored { target: target.clone(), sha256, size_bytes });
            if let Some(kept) = course.differs_from {
                let detail =
                    format!("it gave sha256:{sha256}, and sha256:{kept} is what it means until that is accepted");
                trouble(Cause::Changed, detail);
            }
            // Behind the good news of the target, which would end what is told of it.
            tell_of_liars(shared, course, None);
            tracing::info!(uri = %target, outcome = "stored", size_bytes, %sha256, source = record.source, attempts, duration_ms, "fetch");
        }
        Err(error) => {
            if let Some(cause) = error.cause(course.on_record).filter(|cause| is_ours_to_tell(error, *cause, attempts))
            {
                trouble(cause, error.to_string());
            }
            tell_of_liars(shared, course, Some(target));
            tracing::warn!(uri = %target, outcome = "failed", cause = %error, attempts, duration_ms, "fetch");
        }
    }
}

/// Sources that lie are told of, whatever became of the fetch.
fn tell_of_liars(shared: &Shared, course: &Course, told: Option<&Target>) {
    for (target, cause, detail) in course.liars.iter().filter(|(target, ..)| Some(target) != told) {
        shared.events.tell(Event::Trouble { target: target.clone(), cause: *cause, detail: detail.clone() });
    }
}

/// What an origin said to another process on the same folder is told by that one.
fn is_ours_to_tell(error: &FetchError, cause: Cause, attempts: u32) -> bool {
    let is_refused_here = matches!(error, FetchError::Origin(OriginError::Resting { .. }));
    attempts > 0 || is_refused_here || matches!(cause, Cause::NoSpace | Cause::StoreFailed)
}
