//! Asking one source after the other, again and again, until the body is here or asking is of no use any more.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::breaker::Breakers;
use super::intake::Intake;
use super::partial::Taken;
use super::path::Course;
use super::places::Permits;
use super::{FetchError, Shared};
use crate::origin::OriginError;
use crate::policy::{Place, Source};

/// The longest wait between two attempts, but for one that the origin asks for.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// Asks until the body is here. The places that the last attempt took are held until the body is published: what it has
/// reserved is held so long too.
pub async fn take_in(
    shared: &Shared,
    mut intake: Intake<'_>,
    limit: u32,
    course: &mut Course,
) -> Result<(Taken, Permits), FetchError> {
    let now = Instant::now();
    let mut line: VecDeque<_> =
        intake.sources().iter().map(|source| Turn { source, tries: 0, not_before: now }).collect();
    // The origin's own word, if all fail: what a mirror has or has not says nothing of the target.
    let mut told = FetchError::Unstorable;
    while let Some(mut turn) = next_of(&mut line, &intake) {
        sleep_until(turn.not_before).await;
        let error = match attempt(shared, &mut intake, &turn, course).await {
            Ok(permits) => return Ok((intake.into_taken()?, permits)),
            Err(error) => error,
        };
        if !error.is_the_sources() || intake.is_spoilt() {
            return Err(error);
        }
        // A client's digest decides what that client gets, and not which of two places everybody gets it from.
        if turn.source.place() == Place::Origin
            && matches!(error, FetchError::Mismatch { .. })
            && !intake.is_on_record()
        {
            return Err(error);
        }
        tracing::debug!(target = %turn.source.target(), %error, "a source gave nothing");
        turn.tries += 1;
        turn.not_before = Instant::now() + backoff(shared.config.backoff.0, turn.tries, error.retry_after());
        if turn.source.place() == Place::Origin {
            told = error.clone();
        }
        let wants_too_long =
            turn.source.place() != Place::Origin && error.retry_after().is_some_and(|wait| wait > MAX_BACKOFF);
        if !error.is_passing() || turn.tries >= limit || wants_too_long {
            course.has_failed(turn.source, &error);
        } else if intake.has_begun() {
            // The rest of what is here comes from where it began.
            line.push_front(turn);
        } else {
            // Behind those who may do better.
            line.push_back(turn);
        }
    }
    Err(told)
}

/// Whose turn is next: where a body has begun its rest comes from; else who need not be waited for longest.
fn next_of<'a>(line: &mut VecDeque<Turn<'a>>, intake: &Intake<'_>) -> Option<Turn<'a>> {
    if intake.has_begun() {
        return line.pop_front();
    }
    let first = (0..line.len()).min_by_key(|at| line[*at].not_before)?;
    line.remove(first)
}

/// One attempt at one source.
async fn attempt<'a>(
    shared: &Shared,
    intake: &mut Intake<'a>,
    turn: &Turn<'a>,
    course: &mut Course,
) -> Result<Permits, FetchError> {
    let target = turn.source.target();
    let is_first = turn.tries == 0;
    if is_first {
        // Those who wait for a place would hold up the answer to those who come.
        shared.breakers.check(target)?;
    }
    let permits = shared.places.take(turn.source.admitted()).await;
    let _probe = if is_first { shared.breakers.enter(target)? } else { None };
    course.attempts += 1;
    let outcome = intake.attempt(turn.source).await;
    report(&shared.breakers, turn.source, intake, &outcome);
    outcome.map(|()| permits)
}

/// What an attempt says of the source's host. Trouble behind a redirect is that of another, and of our own store nobody's.
fn report(breakers: &Breakers, source: &Source, intake: &Intake<'_>, outcome: &Result<(), FetchError>) {
    match outcome {
        Err(FetchError::Origin(error))
            if error.is_the_hosts() && intake.has_come_from_the_source() && !intake.has_answered() =>
        {
            breakers.failed(source.target(), error);
        }
        Err(FetchError::Origin(OriginError::Refused(_)) | FetchError::NoSpace | FetchError::Unstorable) => {}
        _ => breakers.succeeded(source.target()),
    }
}

/// A source that may be asked.
struct Turn<'a> {
    source: &'a Source,
    /// How often it was asked already.
    tries: u32,
    not_before: Instant,
}

/// Doubles with each attempt, and is spread so that many flights do not come back at one moment.
fn backoff(first: Duration, attempts: u32, asked_for: Option<Duration>) -> Duration {
    let doubled = first.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(MAX_BACKOFF);
    let spread = doubled.mul_f64(rand::random_range(0.5..1.0));
    asked_for.map_or(spread, |asked_for| asked_for.max(spread))
}
