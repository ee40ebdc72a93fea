//! Refresh: fetches a target again for an operator, although it is stored.

use std::sync::Arc;

use super::FetchError;
use super::changed_content::build_record;
use super::download::{Download, DownloadSpec};
use super::fetcher::Fetcher;
use super::live_fetches::FetchAim;
use super::shared_body::SharedBody;
use super::source_loop::{DownloadedBody, download_from_sources};
use super::task::FetchTask;
use crate::cache::{Sealed, TargetLookup};
use crate::limits::PoolClient;
use crate::model::{ExpectedDigests, Record, Sha256};
use crate::policy::{Admitted, SourceKind};

/// Result of a refresh.
#[derive(Debug)]
pub struct Refreshed {
    /// Record of the bytes that the origin returned.
    pub record: Arc<Record>,
    /// SHA-256 of the active record before the refresh, if there was one.
    pub previous: Option<Sha256>,
}

impl Fetcher {
    /// Fetches a target from its origin, although it may be stored.
    ///
    /// If the bytes differ from those on record, they are stored as a variant. They become the
    /// answer only with `accept`, which pins them. The refresh continues if the caller drops the
    /// future.
    ///
    /// # Errors
    /// [`FetchError::Mismatch`] if the bytes do not have the expected digest; nothing is stored
    /// then. [`FetchError::TooManyFetches`] and [`FetchError::Stopping`] at once, and every error
    /// of a fetch.
    pub async fn refresh(
        &self,
        admitted: Admitted,
        expected: ExpectedDigests,
        accept: bool,
    ) -> Result<Refreshed, FetchError> {
        let state = Arc::clone(&self.state);
        if state.is_stopping() {
            return Err(FetchError::Stopping);
        }
        let permit = Arc::clone(&state.refresh_permits)
            .try_acquire_owned()
            .map_err(|_| FetchError::TooManyFetches)?;
        let work = async move {
            let _permit = permit;
            // No request reads this body.
            let body = SharedBody::new(state.cache.clone(), PoolClient::Own);
            let target = admitted.target();
            let _place = state.live.register(target, FetchAim::Refresh, body.meter());
            let mut task = FetchTask::new(&state, &admitted, &expected, &body);
            let outcome = state
                .run_within_budget(Box::pin(task.refresh(accept)))
                .await;
            let result = outcome
                .as_ref()
                .map(|refreshed| Arc::clone(&refreshed.record))
                .map_err(Clone::clone);
            task.report_outcome(&result);
            outcome
        };
        let joined = self.state.tasks.spawn_on(work, &self.state.runtime).await;
        joined.unwrap_or(Err(FetchError::StoreFailed))
    }
}

impl FetchTask<'_> {
    async fn refresh(&mut self, accept: bool) -> Result<Refreshed, FetchError> {
        self.wait_for_other_fetches().await;
        let previous = match self.read_records().await? {
            TargetLookup::Known(records) => Some(records.active().sha256),
            TargetLookup::Unreadable { record, .. } => Some(record.sha256),
            TargetLookup::NeverStored => None,
        };
        self.report.on_record = previous;
        // Only the origin is asked, because mirrors and archives may have older bytes.
        let mut sources = self.state.policy.sources(self.admitted, false);
        sources.retain(|source| source.kind() == SourceKind::Origin);
        let spec = DownloadSpec {
            required: self.wanted,
            expected: self.wanted,
            is_on_record: false,
            sources: &sources,
            known_content: None,
        };
        let download = Download::new(self, spec, None);
        let max_attempts = self.state.config.attempts;
        let downloaded = download_from_sources(self, download, max_attempts).await?;
        let DownloadedBody {
            completed, _permit, ..
        } = downloaded;
        completed.require_end()?;
        let sealed = completed.finished.seal().await?;
        let record = build_record(self.admitted, &sealed, completed.source, completed.headers);
        self.publish_refreshed(previous, sealed, record.clone(), accept)
            .await?;
        // The origin returned the body now.
        self.state.negative_cache.invalidate(&self.key);
        Ok(Refreshed {
            record: Arc::new(record),
            previous,
        })
    }

    async fn publish_refreshed(
        &mut self,
        previous: Option<Sha256>,
        sealed: Sealed,
        record: Record,
        accept: bool,
    ) -> Result<(), FetchError> {
        let cache = &self.state.cache;
        match previous.filter(|previous| *previous != record.sha256) {
            Some(_) if accept => {
                cache.admin().publish_pinned(sealed, record).await?;
            }
            // The cache bounds the number of variants of one target.
            Some(_) => {
                cache.publish_variant(sealed, record).await?;
                self.report.differs_from = previous;
            }
            None => self.report.differs_from = cache.publish(sealed, record).await?.differs_from,
        }
        Ok(())
    }
}
