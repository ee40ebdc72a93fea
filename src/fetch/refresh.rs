//! Fetching again what is stored already, for an operator.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;

use super::attempts::take_in;
use super::flight::Flight;
use super::intake::{Intake, Wanted};
use super::path::{self, Course};
use super::witness::record_of;
use super::{FetchError, Fetcher, FlightKey, Shared};
use crate::cache::TargetLookup;
use crate::model::{Expected, Key, Record, Sha256};
use crate::policy::{Admitted, Place};

/// How many targets are fetched again at once. Further ones are refused.
pub(super) const MAX_REFRESHES: usize = 16;

/// What fetching again came to.
#[derive(Debug)]
pub struct Refreshed {
    /// What came.
    pub record: Arc<Record>,
    /// What answered before, if anything did.
    pub before: Option<Sha256>,
}

impl Fetcher {
    /// Fetches a target whatever is stored of it. What comes is kept beside what is there, and answers only if nothing was,
    /// or if it is accepted: then it is pinned. It goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// [`FetchError::Mismatch`] if it is not what is expected; nothing is stored then.
    pub async fn refresh(&self, admitted: Admitted, expected: Expected, accept: bool) -> Result<Refreshed, FetchError> {
        let shared = Arc::clone(&self.shared);
        if shared.stop.is_cancelled() || shared.tasks.is_closed() {
            return Err(FetchError::Stopping);
        }
        let permit = Arc::clone(&shared.refreshes).try_acquire_owned().map_err(|_| FetchError::Busy)?;
        let task = async move {
            let _permit = permit;
            let began = Instant::now();
            let mut course = Course::default();
            let outcome = tokio::select! {
                outcome = timeout(shared.config.budget.0, again(&shared, &admitted, &expected, accept, &mut course)) => {
                    outcome.unwrap_or(Err(FetchError::OverBudget))
                }
                () = shared.stop.cancelled() => Err(FetchError::Stopping),
            };
            let told = outcome.as_ref().map(|refreshed| Arc::clone(&refreshed.record)).map_err(Clone::clone);
            path::tell(&shared, &admitted, &told, &course, began.elapsed());
            outcome
        };
        let flown = self.shared.tasks.spawn_on(task, &self.shared.runtime).await;
        flown.unwrap_or(Err(FetchError::Unstorable))
    }
}

async fn again(
    shared: &Shared,
    admitted: &Admitted,
    expected: &Expected,
    accept: bool,
    course: &mut Course,
) -> Result<Refreshed, FetchError> {
    let key = Key::of(admitted.target());
    path::await_others(shared, key).await;
    let known = match shared.cache.lookup_uncached(key).await {
        Ok(TargetLookup::Known(known)) => Some(known),
        Ok(TargetLookup::NeverStored) => None,
        // What is on record is not known, so nothing may be added to it.
        Err(error) => {
            tracing::warn!(%error, "the cache could not be read");
            return Err(FetchError::Unstorable);
        }
    };
    let before = known.as_ref().map(|known| known.active().sha256);
    course.on_record = before;
    // Nobody follows this one.
    let flight = Flight::new();
    // What the origin gives now is asked, not what others have kept.
    let mut sources = shared.policy.sources(admitted, false);
    sources.retain(|source| source.place() == Place::Origin);
    let wanted = Wanted { admitted, expected, is_on_record: false, sources: &sources, kept: None };
    let intake = Intake::new(shared, &flight, wanted, None);
    let (taken, _permits) = take_in(shared, intake, shared.config.attempts, course).await?;
    let sealed = taken.finished.seal().await?;
    let record = record_of(admitted, &sealed, taken.source, taken.headers);
    let is_other = before.is_some_and(|before| before != record.sha256);
    match known.filter(|_| is_other) {
        Some(_) if accept => {
            shared.cache.admin().publish_pinned(sealed, record.clone()).await?;
        }
        // They answer for nothing, so that only so many are kept.
        Some(known) => {
            shared.cache.publish_variant(&known, sealed, record.clone()).await?;
            course.differs_from = before;
        }
        None => course.differs_from = shared.cache.publish(sealed, record.clone()).await?.differs_from,
    }
    forget_failures(shared, key, before);
    Ok(Refreshed { record: Arc::new(record), before })
}

/// What the target was refused for is most likely over.
fn forget_failures(shared: &Shared, key: Key, before: Option<Sha256>) {
    let on_record = before.map(|sha256| Expected::from_iter([sha256.into()]));
    for expected in [Some(Expected::nothing()), on_record].into_iter().flatten() {
        shared.failures.invalidate(&FlightKey { key, expected });
    }
}
