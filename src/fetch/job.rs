//! Steps of a fetch, from the lease to the published object. [`run`] is the entry point.

use std::sync::Arc;

use super::FetchError;
use super::changed_content::{KnownContent, build_record};
use super::download::{Download, DownloadSpec};
use super::in_flight::FetchKey;
use super::multi_process::{LeaseOutcome, PeerBody, acquire_lease};
use super::resume::CompletedBody;
use super::shared_body::SharedBody;
use super::source_loop::download_from_sources;
use super::state::FetcherState;
use super::task::FetchTask;
use super::withheld_end::WithheldEnd;
use crate::cache::{Hit, TargetLookup, TargetRecords};
use crate::model::{ExpectedDigests, Record};
use crate::policy::Admitted;

/// Runs one fetch to its end.
pub async fn run(
    state: Arc<FetcherState>,
    body: Arc<SharedBody>,
    fetch_key: FetchKey,
    admitted: Admitted,
) {
    let mut guard = CompletionGuard {
        state: &state,
        fetch_key: &fetch_key,
        body: &body,
        outcome: Err(FetchError::StoreFailed),
    };
    let mut task = FetchTask::new(&state, &fetch_key, &admitted, &body);
    // The future of a fetch is large, so it is on the heap.
    guard.outcome = state.run_within_budget(Box::pin(task.fetch())).await;
    let outcome = guard.outcome.clone();
    // Unregister the fetch before logging its end, so that no client joins a finished fetch.
    drop(guard);
    task.report_outcome(&outcome);
}

/// Ends a fetch when it is dropped, also by a panic. Otherwise its readers would wait forever.
struct CompletionGuard<'a> {
    state: &'a FetcherState,
    fetch_key: &'a FetchKey,
    body: &'a SharedBody,
    outcome: Result<Arc<Record>, FetchError>,
}

impl Drop for CompletionGuard<'_> {
    fn drop(&mut self) {
        if let Err(error) = &self.outcome
            && error.is_negative_cacheable()
        {
            self.state
                .negative_cache
                .insert(self.fetch_key.clone(), error.clone());
        }
        // Later requests find the object or the failure. Present readers get the result now.
        self.state.in_flight().remove(self.fetch_key);
        self.body.finish(self.outcome.clone());
    }
}

impl FetchTask<'_> {
    /// Acquires the lease of the target, fetches, and releases the lease.
    async fn fetch(&mut self) -> Result<Arc<Record>, FetchError> {
        let mut leased =
            if self.fetch_key.expected.is_empty() || self.is_expected_digest_on_record().await {
                acquire_lease(self.state, self.body, self.fetch_key.key).await?
            } else {
                // The in-flight fetch for other requests most likely gets the expected bytes.
                self.wait_for_other_fetches().await;
                LeaseOutcome::default()
            };
        let outcome = self.fetch_with_lease(&mut leased).await;
        leased.release(self.body, &outcome).await;
        outcome
    }

    /// Whether the expected digest is the one that the checksum file requires, or that of the
    /// active record. A digest that only a client states is not.
    async fn is_expected_digest_on_record(&self) -> bool {
        let expected = &self.fetch_key.expected;
        let required = self.admitted.required_digests();
        if !required.is_empty() && *expected == required {
            return true;
        }
        let on_record = match self.state.cache.lookup(self.admitted.target()).await {
            Ok(TargetLookup::Known(records)) => records.active().sha256,
            Ok(TargetLookup::Unreadable { record, .. }) => record.sha256,
            Ok(TargetLookup::NeverStored) | Err(_) => return false,
        };
        *expected == ExpectedDigests::from_iter([on_record.into()])
    }

    /// Reads the records from the disk, downloads the body if it is not stored, and publishes it.
    async fn fetch_with_lease(
        &mut self,
        leased: &mut LeaseOutcome,
    ) -> Result<Arc<Record>, FetchError> {
        let mut expected = self.fetch_key.expected.clone();
        let required = self.admitted.required_digests();
        expected.extend(required.iter().cloned());
        let peer_body = leased.take_peer_body();
        let (on_record, is_pinned) = match self.read_records().await? {
            TargetLookup::Known(records) => {
                // Another process may have stored the body since the lookup of the request.
                if let Some(hit) = self.open_stored(&records, &expected).await {
                    return self.finish_from_hit(hit, peer_body).await;
                }
                let sha256 = records.active_for(&expected).sha256;
                (Some(sha256), records.is_pinned())
            }
            TargetLookup::Unreadable { record, is_pinned } => (Some(record.sha256), is_pinned),
            TargetLookup::NeverStored => (None, false),
        };
        self.report.on_record = on_record;
        // The object was evicted. The origin must return the same bytes, unless the checksum file
        // requires a digest.
        let must_match = required.is_empty() && !self.state.cache.allows_change_unless(is_pinned);
        let known_content = on_record
            .filter(|_| must_match)
            .map(|sha256| KnownContent { sha256 });
        expected.extend(known_content.iter().map(|known| known.sha256));
        let is_on_record = known_content.is_some() || !required.is_empty();
        let sources = self.state.policy.sources(self.admitted, is_on_record);
        let spec = DownloadSpec {
            expected: &expected,
            is_on_record,
            sources: &sources,
            known_content: known_content.as_ref(),
        };
        let mut download = Download::new(self, spec, leased.lease());
        if let Some(peer_body) = peer_body {
            download.resume_from_peer(peer_body).await?;
        }
        let max_attempts = leased.max_attempts(self.state.config.attempts);
        let (completed, _permit) = download_from_sources(self, download, max_attempts).await?;
        self.publish(&expected, completed).await
    }

    /// Opens the object that answers for the target, or returns `None` if it is not stored.
    async fn open_stored(
        &self,
        records: &TargetRecords,
        expected: &ExpectedDigests,
    ) -> Option<Hit> {
        let (cache, key) = (&self.state.cache, self.fetch_key.key);
        let record = Arc::clone(records.active_for(expected));
        if let Some(hit) = cache.open_record(key, record).await.ok().flatten() {
            return Some(hit);
        }
        cache
            .open_latest_variant(key, records, expected)
            .await
            .ok()
            .flatten()
    }

    /// Ends the fetch with a stored object. Readers that have begun to read the body of another
    /// process get the rest from the object.
    async fn finish_from_hit(
        &self,
        hit: Hit,
        peer_body: Option<PeerBody>,
    ) -> Result<Arc<Record>, FetchError> {
        let record = Arc::clone(hit.record());
        if let Some(peer_body) = peer_body {
            let hit = self.state.cache.ensure_on_disk(hit).await?;
            peer_body.finish_from_object(self.body, &hit).await?;
        }
        Ok(record)
    }

    /// Publishes the object and its record, then makes the end of the body available to readers.
    async fn publish(
        &mut self,
        expected: &ExpectedDigests,
        completed: CompletedBody,
    ) -> Result<Arc<Record>, FetchError> {
        let may_store = completed.require_end();
        let CompletedBody {
            finished,
            headers,
            source,
            unsent_head,
            ..
        } = completed;
        let end = WithheldEnd::new(self.body, &finished, unsent_head);
        may_store?;
        let (cache, admitted) = (&self.state.cache, self.admitted);
        let store = async {
            let sealed = finished.seal().await?;
            let record = build_record(admitted, &sealed, source, headers);
            Ok::<_, FetchError>(cache.publish(sealed, record).await?)
        };
        let published = end.show_after(store).await?;
        self.report.differs_from = published.differs_from;
        let TargetLookup::Known(records) = &published.lookup else {
            return Ok(published.record);
        };
        let active = records.active_for(expected);
        let is_variant = published.differs_from == Some(active.sha256);
        // If the active object was evicted, a variant may answer in its place.
        let answers_as_variant = is_variant && !records.is_cached() && cache.allows_change(records);
        Ok(if answers_as_variant {
            Arc::clone(&published.record)
        } else {
            Arc::clone(active)
        })
    }
}
