//! Another process's flight for the same target, followed by its note and by the length of the file
//! that it stages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::in_flight::{Head, InFlightFetch};
use super::lease_record::{LeaseRecord, StagedBody};
use super::resume::read_error;
use super::{FetchError, Shared};
use crate::cache::{Acquire, CacheError, FileHit, Lease, LeaseHolder, LeaseState, OpenFile};
use crate::model::{Key, Record};

/// How often one looks at what another process does, while it does something. A lock that is waited
/// for would hold a thread for hours.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How often one looks where nothing has happened for long.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(160);

/// Leave to fetch, and what is left of those who had it before.
#[derive(Debug, Default)]
pub struct LeaseOutcome {
    /// None where claims cannot be made: then others may fetch the same.
    lease: Option<Lease>,
    /// A body whose beginning our followers have seen.
    peer_body: Option<PeerBody>,
    /// Another process has just asked as often as it may.
    holder_gave_up: bool,
}

/// What our followers have seen of a body that another process staged. It is held open, so that it
/// outlives its name.
#[derive(Debug)]
pub struct PeerBody {
    pub contents: OpenFile,
    pub staged: StagedBody,
    /// How much of it they may have seen.
    seen_bytes: u64,
}

impl LeaseOutcome {
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    pub fn take_peer_body(&mut self) -> Option<PeerBody> {
        self.peer_body.take()
    }

    /// How often the origin may be asked.
    pub fn attempts(&self, limit: u32) -> u32 {
        if self.holder_gave_up { 1 } else { limit }
    }

    /// Lets go, and tells those who waited why if there is nothing to be found.
    pub async fn release(self, fetch: &InFlightFetch, outcome: &Result<Arc<Record>, FetchError>) {
        let failed = outcome.as_ref().err().and_then(LeaseRecord::of_failure);
        match (&self.lease, failed) {
            // What has been seen of a body is worth all attempts, and the note that tells of it
            // stays.
            (Some(_), Some(LeaseRecord::Failed)) if fetch.is_streaming() => {}
            (Some(lease), Some(record)) => write_lease_record(lease, &record).await,
            _ => {}
        }
        // Whoever flies next here must not find it taken by this one.
        if let Some(lease) = self.lease {
            lease.release().await;
        }
    }
}

/// Returns once it is this process's turn to fetch a target. Until then the flight goes where that
/// of the other process goes.
///
/// # Errors
/// What the other's flight came to, if that is everybody's failure.
pub async fn acquire_lease(
    shared: &Shared,
    fetch: &InFlightFetch,
    key: Key,
) -> Result<LeaseOutcome, FetchError> {
    let mut follower = PeerFollower {
        shared,
        fetch,
        outcome: LeaseOutcome::default(),
    };
    match follower.wait_for_lease(key).await {
        Ok(lease) => follower.outcome.lease = Some(lease),
        Err(FollowError::Cache(error)) => {
            tracing::warn!(%error, "a target could not be claimed; other processes may fetch it too");
        }
        Err(FollowError::Fetch(error)) => return Err(error),
    }
    Ok(follower.outcome)
}

/// Returns once no process holds the claim on a target.
pub async fn wait_for_lease_release(shared: &Shared, key: Key) {
    let mut poll = PollInterval::default();
    loop {
        match shared.cache.is_leased(key).await {
            Ok(true) => poll.wait(false).await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "a claim could not be looked at; another process may fetch the same");
                return;
            }
        }
    }
}

/// Leaves a note for the other processes. Without it they wait for the end.
pub async fn write_lease_record(lease: &Lease, record: &LeaseRecord) {
    if let Err(error) = lease.write_record(record.to_bytes()).await {
        tracing::warn!(%error, "other processes could not be told of a fetch");
    }
}

/// The waits between two looks: each is twice the last, until something happens.
struct PollInterval(Duration);

impl Default for PollInterval {
    fn default() -> Self {
        Self(MIN_POLL_INTERVAL)
    }
}

impl PollInterval {
    async fn wait(&mut self, something_happened: bool) {
        if something_happened {
            self.0 = MIN_POLL_INTERVAL;
        }
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(MAX_POLL_INTERVAL);
    }
}

/// Why another's flight is not followed to its end.
enum FollowError {
    Cache(CacheError),
    Fetch(FetchError),
}

impl From<CacheError> for FollowError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl From<crate::cache::DiskError> for FollowError {
    fn from(error: crate::cache::DiskError) -> Self {
        Self::Cache(error.into())
    }
}

impl From<std::io::Error> for FollowError {
    fn from(error: std::io::Error) -> Self {
        Self::Cache(error.into())
    }
}

struct PeerFollower<'a> {
    shared: &'a Shared,
    fetch: &'a InFlightFetch,
    outcome: LeaseOutcome,
}

impl PeerFollower<'_> {
    async fn wait_for_lease(&mut self, key: Key) -> Result<Lease, FollowError> {
        loop {
            match self.shared.cache.lease(key).await? {
                Acquire::Acquired(lease) => return Ok(lease),
                Acquire::HeldBy(holder) => self.follow(&holder).await?,
            }
        }
    }

    /// Follows one that holds the claim until it lets go.
    async fn follow(&mut self, holder: &LeaseHolder) -> Result<(), FollowError> {
        let parse = |record: Option<Bytes>| record.and_then(|bytes| LeaseRecord::parse(&bytes));
        let mut poll = PollInterval::default();
        loop {
            match holder.state().await? {
                LeaseState::Held(record) => {
                    if let Some(LeaseRecord::Flowing(staged)) = parse(record) {
                        self.attach_to(staged).await?;
                    }
                    let has_grown = self.advance()?;
                    poll.wait(has_grown).await;
                }
                LeaseState::Released(record) => {
                    return self.on_release(parse(record)).map_err(FollowError::Fetch);
                }
            }
        }
    }

    /// What is known of the file counts only if nobody writes to it any more.
    fn on_release(&mut self, record: Option<LeaseRecord>) -> Result<(), FetchError> {
        if let Some(failure) = record.as_ref().and_then(LeaseRecord::failure) {
            return Err(failure);
        }
        self.outcome.holder_gave_up = matches!(record, Some(LeaseRecord::Failed));
        if let (Some(peer_body), Some(LeaseRecord::Flowing(last))) =
            (&mut self.outcome.peer_body, record)
            && peer_body.staged.file == last.file
        {
            peer_body.staged.validator = last.validator;
        }
        Ok(())
    }

    /// Shows our followers what another process stages, from where they are.
    async fn attach_to(&mut self, staged: StagedBody) -> Result<(), FollowError> {
        if self
            .outcome
            .peer_body
            .as_ref()
            .is_some_and(|peer_body| peer_body.staged.file == staged.file)
        {
            return Ok(());
        }
        // It may have its final name by now, and then there is little left to wait for.
        let Some(contents) = self
            .shared
            .cache
            .disk()
            .open_staged(staged.file.clone())
            .await?
        else {
            return Ok(());
        };
        // What its validator is worth is known at the end.
        let staged = StagedBody {
            validator: None,
            ..staged
        };
        let readable_bytes = staged.readable_bytes(&contents)?;
        if let Some(peer_body) = &self.outcome.peer_body {
            if peer_body.staged.length != staged.length {
                return Err(FollowError::Fetch(FetchError::ChangedDuringFetch));
            }
            if readable_bytes < peer_body.seen_bytes {
                return Ok(());
            }
            if !contents
                .prefix_eq(&peer_body.contents, peer_body.seen_bytes)
                .await?
            {
                return Err(FollowError::Fetch(FetchError::ChangedDuringFetch));
            }
            self.fetch.switch_file(contents.clone(), readable_bytes);
        } else {
            let head = Head {
                length: staged.length,
                headers: staged.headers.clone(),
            };
            self.fetch
                .start_streaming(Arc::new(head), contents.clone(), readable_bytes);
        }
        self.outcome.peer_body = Some(PeerBody {
            contents,
            staged,
            seen_bytes: readable_bytes,
        });
        Ok(())
    }

    /// Shows our followers what has been written since, if anything.
    fn advance(&mut self) -> Result<bool, FollowError> {
        let Some(peer_body) = &mut self.outcome.peer_body else {
            return Ok(false);
        };
        let readable_bytes = peer_body.staged.readable_bytes(&peer_body.contents)?;
        let has_grown = readable_bytes > peer_body.seen_bytes;
        if has_grown {
            peer_body.seen_bytes = readable_bytes;
            self.fetch.advance(readable_bytes, Bytes::new());
        }
        Ok(has_grown)
    }
}

impl StagedBody {
    /// The file is as long as what was written to it: space that is set aside does not show in its
    /// length.
    fn readable_bytes(&self, contents: &OpenFile) -> std::io::Result<u64> {
        let size_bytes = contents.size_bytes()?;
        Ok(self
            .length
            .map_or(size_bytes, |length| size_bytes.min(length)))
    }
}

impl PeerBody {
    /// Lets the followers have the end of a body that was published, if it is the one that they
    /// have seen.
    ///
    /// # Errors
    /// [`FetchError`] if it is another.
    pub async fn finish_from_object(
        &self,
        fetch: &InFlightFetch,
        hit: &FileHit,
    ) -> Result<(), FetchError> {
        let is_as_long = self
            .staged
            .length
            .is_none_or(|length| length == hit.size_bytes());
        let agrees = is_as_long
            && hit
                .file()
                .prefix_eq(&self.contents, self.seen_bytes)
                .await
                .map_err(|error| read_error(&error))?;
        if !agrees {
            return Err(FetchError::ChangedDuringFetch);
        }
        fetch.switch_file(hit.file().clone(), hit.size_bytes());
        fetch.mark_verified(hit.record.sha256);
        Ok(())
    }
}
