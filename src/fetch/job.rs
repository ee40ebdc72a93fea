//! Steps of a fetch, from the lease to the published object. [`run`] is the entry point.

use std::sync::Arc;

use super::FetchError;
use super::changed_content::{KnownContent, build_record};
use super::download::{Download, DownloadSpec};
use super::found_content::{self, FoundContent, LostContent};
use super::in_flight::FetchPurpose;
use super::multi_process::{LeaseOutcome, PeerBody, acquire_lease};
use super::resume::CompletedBody;
use super::shared_body::SharedBody;
use super::source_loop::{DownloadedBody, download_from_sources};
use super::state::FetcherState;
use super::task::FetchTask;
use super::withheld_end::WithheldEnd;
use crate::cache::{Hit, TargetLookup};
use crate::model::{DigestMatch, ExpectedDigests, Key, Record, Target};
use crate::policy::{Admitted, SourceKind};

/// Largest object of an owner that counts as used when it is stored. Larger ones fill a cache.
const MAX_KEPT_BYTES: u64 = 1 << 20;

/// Input of one fetch.
pub struct FetchInput {
    pub admitted: Admitted,
    pub purpose: FetchPurpose,
    /// Digests that its first reader expects.
    pub wanted: ExpectedDigests,
    /// Base URLs of the peers that are asked before the origin, in order.
    pub peers: Vec<Target>,
}

/// Runs one fetch to its end.
pub async fn run(state: Arc<FetcherState>, body: Arc<SharedBody>, input: FetchInput) {
    let FetchInput {
        admitted,
        purpose,
        wanted,
        peers,
    } = input;
    let mut task = FetchTask::new(&state, &admitted, &wanted, &body);
    task.peers = &peers;
    let key = task.key;
    let mut guard = CompletionGuard {
        state: &state,
        key,
        purpose,
        body: &body,
        outcome: Err(FetchError::StoreFailed),
    };
    // The future of a fetch is large, so it is on the heap.
    let work = state.run_within_budget(Box::pin(task.fetch(purpose)));
    guard.outcome = match purpose {
        FetchPurpose::Answer => work.await,
        FetchPurpose::OtherBytes => run_while_read(&state, key, &body, work).await,
    };
    let outcome = guard.outcome.clone();
    // Unregister the fetch before logging its end, so that no client joins a finished fetch.
    drop(guard);
    task.report_outcome(&outcome);
}

/// Runs a fetch of other bytes until it ends or its last reader has left. Such a fetch has no other
/// reason than the digest that its readers state, and the digest may be wrong. If the body is
/// complete and checked, only the disk is left, and the bytes are stored for the next reader.
async fn run_while_read<T>(
    state: &FetcherState,
    key: Key,
    body: &SharedBody,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            () = body.readership().wait_unread() => {
                if body.is_checked() {
                    return work.await;
                }
                let mut in_flight = state.in_flight();
                // A reader may have joined since. From here on, none can.
                if body.readership().is_unread() {
                    in_flight.remove(key, FetchPurpose::OtherBytes, body);
                    return Err(FetchError::Abandoned);
                }
            }
        }
    }
}

/// Ends a fetch when it is dropped, also by a panic. Otherwise its readers would wait forever.
struct CompletionGuard<'a> {
    state: &'a FetcherState,
    key: Key,
    purpose: FetchPurpose,
    body: &'a SharedBody,
    outcome: Result<Arc<Record>, FetchError>,
}

impl CompletionGuard<'_> {
    /// Remembers the digests that readers stated and the target does not have. A digest that the
    /// fetch has not computed says nothing.
    fn remember_refusals(&self) {
        let found = match &self.outcome {
            Ok(record) => record.known_digests(),
            Err(FetchError::Mismatch { found, .. }) => (*found).into(),
            Err(_) => return,
        };
        for stated in self.body.take_stated() {
            if found.compare(&stated) == DigestMatch::Other {
                self.state.refusals.remember(self.key, stated, found.sha256);
            }
        }
    }
}

impl Drop for CompletionGuard<'_> {
    fn drop(&mut self) {
        // A failed fetch of other bytes says nothing about the answer.
        if let Err(error) = &self.outcome
            && self.purpose == FetchPurpose::Answer
            && error.is_negative_cacheable()
        {
            self.state.negative_cache.insert(self.key, error.clone());
        }
        self.remember_refusals();
        // Later requests find the object or the failure. Present readers get the result now.
        let mut in_flight = self.state.in_flight();
        in_flight.remove(self.key, self.purpose, self.body);
        drop(in_flight);
        self.body.finish(self.outcome.clone());
    }
}

/// Lease of the target, and the body that its previous holder has left.
struct TakenLease<'a> {
    leased: &'a LeaseOutcome,
    peer_body: Option<PeerBody>,
}

impl FetchTask<'_> {
    /// Acquires the lease of the target, fetches, and releases the lease.
    async fn fetch(&mut self, purpose: FetchPurpose) -> Result<Arc<Record>, FetchError> {
        let mut leased = acquire_lease(self.state, self.body, self.key).await?;
        let taken = TakenLease {
            peer_body: leased.take_peer_body(),
            leased: &leased,
        };
        let outcome = self.fetch_with_lease(purpose, taken).await;
        match purpose {
            FetchPurpose::Answer => leased.release(self.body, &outcome).await,
            FetchPurpose::OtherBytes => leased.release_without_record().await,
        }
        outcome
    }

    /// Reads the records from the disk, downloads the body if it is not stored, and publishes it.
    async fn fetch_with_lease(
        &mut self,
        purpose: FetchPurpose,
        taken: TakenLease<'_>,
    ) -> Result<Arc<Record>, FetchError> {
        let required = self.admitted.required_digests();
        let found = match purpose {
            FetchPurpose::Answer => found_content::find_answer(self, &required).await?,
            // A body that readers have seen can only end with the answer of the target.
            FetchPurpose::OtherBytes if taken.peer_body.is_some() => {
                found_content::find_answer(self, &required).await?
            }
            FetchPurpose::OtherBytes => found_content::find_wanted(self).await?,
        };
        match found {
            FoundContent::Stored(hit) => self.finish_from_hit(hit, taken.peer_body).await,
            FoundContent::OtherBytes => self.fetch_other_bytes(taken.leased).await,
            FoundContent::Lost(lost) => self.fetch_lost(lost, taken).await,
            FoundContent::Nothing => self.fetch_required(required, None, taken).await,
        }
    }

    /// Fetches what the origin has now, beside the answer. Another source may have older bytes,
    /// which nothing but a client vouches for.
    async fn fetch_other_bytes(
        &mut self,
        leased: &LeaseOutcome,
    ) -> Result<Arc<Record>, FetchError> {
        let mut sources = self.state.policy.sources(self.admitted, false);
        sources.retain(|source| source.kind() == SourceKind::Origin);
        let spec = DownloadSpec {
            required: &ExpectedDigests::nothing(),
            expected: self.wanted,
            is_on_record: false,
            sources: &sources,
            known_content: None,
        };
        // No other process follows this body: its readers may expect the answer.
        let download = Download::new(self, spec, None);
        let max_attempts = leased.max_attempts(self.state.config.attempts);
        let downloaded = download_from_sources(self, download, max_attempts).await?;
        self.publish(downloaded, FetchPurpose::OtherBytes).await
    }

    /// Fetches bytes that the target had before.
    async fn fetch_lost(
        &mut self,
        lost: LostContent,
        taken: TakenLease<'_>,
    ) -> Result<Arc<Record>, FetchError> {
        let mut required = self.admitted.required_digests();
        let mut known_content = None;
        let LostContent { sha256, is_pinned } = lost;
        self.report.on_record = Some(sha256);
        // The checksum file takes precedence over the record.
        if required.is_empty() && !self.state.cache.allows_change_unless(is_pinned) {
            required.add(sha256.into());
            known_content = Some(KnownContent { sha256 });
        }
        self.fetch_required(required, known_content.as_ref(), taken)
            .await
    }

    /// Fetches a body from any source. It must have the required digests.
    async fn fetch_required(
        &mut self,
        required: ExpectedDigests,
        known_content: Option<&KnownContent>,
        taken: TakenLease<'_>,
    ) -> Result<Arc<Record>, FetchError> {
        let mut expected = self.wanted.clone();
        expected.extend(required.iter().cloned());
        let is_on_record = !required.is_empty();
        let policy = &self.state.policy;
        let peers = self.peers.iter();
        let peers = peers.filter_map(|peer| policy.peer_source(self.admitted, peer));
        let others = policy.sources(self.admitted, is_on_record);
        let sources: Vec<_> = peers.chain(others).collect();
        let spec = DownloadSpec {
            required: &required,
            expected: &expected,
            is_on_record,
            sources: &sources,
            known_content,
        };
        let TakenLease { leased, peer_body } = taken;
        let mut download = Download::new(self, spec, leased.lease());
        // The rest of a body that readers have seen must be downloaded.
        if let Some(peer_body) = peer_body {
            download.resume_from_peer(peer_body).await?;
        } else if let Some(hit) =
            found_content::find_after_wait(self, &mut download, &required).await?
        {
            return self.finish_from_hit(hit, None).await;
        }
        let max_attempts = leased.max_attempts(self.state.config.attempts);
        let downloaded = download_from_sources(self, download, max_attempts).await?;
        self.publish(downloaded, FetchPurpose::Answer).await
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
        downloaded: DownloadedBody,
        purpose: FetchPurpose,
    ) -> Result<Arc<Record>, FetchError> {
        let DownloadedBody {
            completed,
            kind,
            _permit,
        } = downloaded;
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
            let published = match purpose {
                FetchPurpose::OtherBytes => cache.publish_variant(sealed, record.clone()).await?,
                FetchPurpose::Answer => Some(cache.publish(sealed, record.clone()).await?),
            };
            Ok::<_, FetchError>((published, record))
        };
        let (published, record) = end.show_after(store).await?;
        // Without a place for another variant, only the present readers get the bytes.
        let Some(published) = published else {
            return Ok(Arc::new(record));
        };
        self.report.differs_from = published.differs_from;
        self.leave_to_owner(kind, &published.record);
        let TargetLookup::Known(records) = &published.lookup else {
            return Ok(published.record);
        };
        let active = records.active();
        let is_variant = published.differs_from == Some(active.sha256);
        // If the active object was evicted, a variant may answer in its place.
        let answers_as_variant = is_variant && !records.is_cached() && cache.allows_change(records);
        // The checksum file takes precedence over the record that answers without it.
        let required = admitted.required_digests();
        let is_refused = active.known_digests().first_mismatch(&required).is_some();
        Ok(
            if answers_as_variant || is_refused || purpose == FetchPurpose::OtherBytes {
                Arc::clone(&published.record)
            } else {
                Arc::clone(active)
            },
        )
    }

    /// Evicts a large object of the owner first, unless it was asked for more than once. The owner
    /// has it too.
    fn leave_to_owner(&self, kind: SourceKind, record: &Record) {
        let was_lost = self.report.on_record.is_some();
        let is_used = was_lost || self.body.is_shared();
        if kind == SourceKind::Peer && record.size_bytes > MAX_KEPT_BYTES && !is_used {
            self.state.cache.evict_first(record.sha256);
        }
    }
}
