//! Fetching again what is stored already, for an operator.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;

use super::changed_content::record_of;
use super::download::Download;
use super::download_spec::DownloadSpec;
use super::in_flight::InFlightFetch;
use super::job::{self, FetchReport};
use super::source_loop::download_from_sources;
use super::{FetchError, FetchKey, Fetcher, Shared};
use crate::cache::TargetLookup;
use crate::model::{ExpectedDigests, Key, Record, Sha256};
use crate::policy::{Admitted, SourceKind};

/// How many targets are fetched again at once. Further ones are refused.
pub(super) const MAX_REFRESHES: usize = 16;

/// What fetching again came to.
#[derive(Debug)]
pub struct Refreshed {
    /// What came.
    pub record: Arc<Record>,
    /// What answered before, if anything did.
    pub previous: Option<Sha256>,
}

impl Fetcher {
    /// Fetches a target whatever is stored of it. What comes is kept beside what is there, and
    /// answers only if nothing was, or if it is accepted: then it is pinned. It goes on when nobody
    /// waits for it any more.
    ///
    /// # Errors
    /// [`FetchError::Mismatch`] if it is not what is expected; nothing is stored then.
    pub async fn refresh(
        &self,
        admitted: Admitted,
        expected: ExpectedDigests,
        accept: bool,
    ) -> Result<Refreshed, FetchError> {
        let shared = Arc::clone(&self.shared);
        if shared.stop.is_cancelled() || shared.tasks.is_closed() {
            return Err(FetchError::Stopping);
        }
        let permit = Arc::clone(&shared.refreshes)
            .try_acquire_owned()
            .map_err(|_| FetchError::TooManyFetches)?;
        let task = async move {
            let _permit = permit;
            let began = Instant::now();
            let mut report = FetchReport::default();
            let outcome = tokio::select! {
                outcome = timeout(shared.config.budget.0, fetch_again(&shared, &admitted, &expected, accept, &mut report)) => {
                    outcome.unwrap_or(Err(FetchError::DeadlineExceeded))
                }
                () = shared.stop.cancelled() => Err(FetchError::Stopping),
            };
            let result = outcome
                .as_ref()
                .map(|refreshed| Arc::clone(&refreshed.record))
                .map_err(Clone::clone);
            job::report_outcome(&shared, &admitted, &result, &report, began.elapsed());
            outcome
        };
        let joined = self.shared.tasks.spawn_on(task, &self.shared.runtime).await;
        joined.unwrap_or(Err(FetchError::StoreFailed))
    }
}

async fn fetch_again(
    shared: &Shared,
    admitted: &Admitted,
    expected: &ExpectedDigests,
    accept: bool,
    report: &mut FetchReport,
) -> Result<Refreshed, FetchError> {
    let key = Key::new(admitted.target());
    job::wait_for_other_fetches(shared, key).await;
    let known = match shared.cache.lookup_uncached(key).await {
        Ok(TargetLookup::Known(known)) => Some(known),
        Ok(TargetLookup::NeverStored) => None,
        // What is on record is not known, so nothing may be added to it.
        Err(error) => {
            tracing::warn!(%error, "the cache could not be read");
            return Err(FetchError::StoreFailed);
        }
    };
    let previous = known.as_ref().map(|known| known.active().sha256);
    report.on_record = previous;
    // Nobody follows this one.
    let fetch = InFlightFetch::new();
    // What the origin gives now is asked, not what others have kept.
    let mut sources = shared.policy.sources(admitted, false);
    sources.retain(|source| source.kind() == SourceKind::Origin);
    let spec = DownloadSpec {
        admitted,
        expected,
        is_on_record: false,
        sources: &sources,
        known_content: None,
    };
    let download = Download::new(shared, &fetch, spec, None);
    let (completed, _permits) =
        download_from_sources(shared, download, shared.config.attempts, report).await?;
    let sealed = completed.finished.seal().await?;
    let record = record_of(admitted, &sealed, completed.source, completed.headers);
    let is_other = previous.is_some_and(|previous| previous != record.sha256);
    match known.filter(|_| is_other) {
        Some(_) if accept => {
            shared
                .cache
                .admin()
                .publish_pinned(sealed, record.clone())
                .await?;
        }
        // They answer for nothing, so that only so many are kept.
        Some(known) => {
            shared
                .cache
                .publish_variant(&known, sealed, record.clone())
                .await?;
            report.differs_from = previous;
        }
        None => {
            report.differs_from = shared
                .cache
                .publish(sealed, record.clone())
                .await?
                .differs_from;
        }
    }
    forget_failures(shared, key, previous);
    Ok(Refreshed {
        record: Arc::new(record),
        previous,
    })
}

/// What the target was refused for is most likely over.
fn forget_failures(shared: &Shared, key: Key, previous: Option<Sha256>) {
    let on_record = previous.map(|sha256| ExpectedDigests::from_iter([sha256.into()]));
    for expected in [Some(ExpectedDigests::nothing()), on_record]
        .into_iter()
        .flatten()
    {
        shared.failures.invalidate(&FetchKey { key, expected });
    }
}
