//! Follows the fetch of another process for the same target, by its lease record and by the length
//! of the file that it stages. The main types are [`LeaseOutcome`] and [`PeerBody`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::heartbeat::{Heartbeat, MAX_SILENCE};
use super::lease_record::{LeaseRecord, StagedBody};
use crate::cache::{
    Acquire, Cache, CacheError, DiskError, FileHit, Lease, LeaseHolder, LeaseState, OpenFile,
};
use crate::fetch::FetchError;
use crate::fetch::fetch_meter::ByteOrigin;
use crate::fetch::fetch_progress::Head;
use crate::fetch::shared_body::SharedBody;
use crate::fetch::state::FetcherState;
use crate::model::{Key, Record};
use crate::retry::Backoff;

/// Interval between two looks at another process while its file grows. Waiting for the lock of the
/// lease instead would block a thread for hours.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Interval between two looks while nothing changes. Each interval is twice the previous one.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(160);

/// Multiple of `fetch.idle_timeout` after which a holder without a body counts as hanging. It may
/// wait for a permit of the host, and then for the first byte.
const BODILESS_PATIENCE: u32 = 3;

/// Lease of a target, and what its previous holder left behind.
#[derive(Debug, Default)]
pub struct LeaseOutcome {
    /// `None` if the lease could not be acquired. Other processes may then fetch the target too.
    lease: Option<Arc<Lease>>,
    /// `Some` while the lease is held.
    heartbeat: Option<Heartbeat>,
    /// Body of the previous holder, if readers have seen its beginning.
    peer_body: Option<PeerBody>,
    /// The previous holder has just used its maximum number of attempts.
    holder_gave_up: bool,
}

/// Body that another process has staged. The open file outlives its name.
#[derive(Debug)]
pub struct PeerBody {
    pub file: OpenFile,
    pub staged: StagedBody,
    /// Number of bytes that readers may have seen.
    seen_bytes: u64,
}

impl LeaseOutcome {
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_deref()
    }

    pub fn take_peer_body(&mut self) -> Option<PeerBody> {
        self.peer_body.take()
    }

    /// Returns the maximum number of attempts at each source.
    pub fn max_attempts(&self, configured: u32) -> u32 {
        if self.holder_gave_up { 1 } else { configured }
    }

    /// Releases the lease. The end of the fetch is nothing to other processes.
    pub async fn release_without_record(self) {
        if let Some(lease) = self.lease {
            lease.release().await;
        }
    }

    /// Releases the lease. If the fetch failed, the record with the reason is written first.
    pub async fn release(self, body: &SharedBody, outcome: &Result<Arc<Record>, FetchError>) {
        let failure = outcome.as_ref().err().and_then(LeaseRecord::from_failure);
        match (&self.lease, failure) {
            // The next holder should use all attempts to complete a body that readers have seen.
            // The record of that body stays.
            (Some(_), Some(LeaseRecord::Failed)) if body.is_streaming() => {}
            (Some(lease), Some(record)) => record.write(lease).await,
            _ => {}
        }
        // The next fetch in this process must find the lease free.
        if let Some(lease) = self.lease {
            lease.release().await;
        }
    }
}

/// Acquires the lease of a target. While another process holds it, its body is made available to
/// the readers of `body`.
///
/// # Errors
/// The failure of the other process, if this process would fail in the same way. If the lease
/// cannot be acquired because of the disk, the fetch goes on without it.
pub async fn acquire_lease(
    state: &FetcherState,
    body: &SharedBody,
    key: Key,
) -> Result<LeaseOutcome, FetchError> {
    let mut follower = PeerFollower {
        cache: &state.cache,
        idle_timeout: state.config.idle_timeout.0,
        body,
        outcome: LeaseOutcome::default(),
    };
    match follower.wait_for_lease(key).await {
        Ok(Some(lease)) => {
            let lease = Arc::new(lease);
            follower.outcome.heartbeat = Some(Heartbeat::start(&lease));
            follower.outcome.lease = Some(lease);
        }
        Ok(None) => {
            tracing::warn!(
                %key,
                "holder of the lease makes no progress, fetching without the lease"
            );
        }
        Err(FollowError::Cache(error)) => {
            tracing::warn!(
                %error,
                "lease could not be acquired, other processes may fetch the same target"
            );
        }
        Err(FollowError::Fetch(error)) => return Err(error),
    }
    Ok(follower.outcome)
}

/// Waits until no process holds the lease of a target, at most for `timeout`.
pub async fn wait_for_lease_release(cache: &Cache, key: Key, timeout: Duration) {
    let mut interval = poll_interval();
    let began = Instant::now();
    loop {
        if began.elapsed() >= timeout {
            tracing::warn!(%key, "lease was not released, another process may hang");
            return;
        }
        match cache.leases().is_held(key).await {
            Ok(true) => sleep(interval.next_delay()).await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "lease could not be read, another process may fetch the same target"
                );
                return;
            }
        }
    }
}

fn poll_interval() -> Backoff {
    Backoff::new(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL)
}

/// Reason why a process is not followed any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FollowEnd {
    /// It released the lease, or died.
    Released,
    /// It holds the lease, and no byte or no heartbeat has arrived for too long.
    NoProgress,
}

/// Error that ends following another process.
enum FollowError {
    Cache(CacheError),
    Fetch(FetchError),
}

impl From<CacheError> for FollowError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl From<DiskError> for FollowError {
    fn from(error: DiskError) -> Self {
        Self::Cache(error.into())
    }
}

impl From<io::Error> for FollowError {
    fn from(error: io::Error) -> Self {
        Self::Cache(error.into())
    }
}

struct PeerFollower<'a> {
    cache: &'a Cache,
    /// Time without new bytes after which a holder that has begun a body counts as hanging.
    idle_timeout: Duration,
    body: &'a SharedBody,
    outcome: LeaseOutcome,
}

impl PeerFollower<'_> {
    /// Waits for the lease. Returns `None` if its holder hangs.
    async fn wait_for_lease(&mut self, key: Key) -> Result<Option<Lease>, FollowError> {
        loop {
            match self.cache.leases().acquire(key).await? {
                Acquire::Acquired(lease) => return Ok(Some(lease)),
                Acquire::HeldBy(holder) => match self.follow(&holder).await? {
                    FollowEnd::Released => {}
                    FollowEnd::NoProgress => return Ok(None),
                },
            }
        }
    }

    /// Follows the holder of the lease until the lease is released or the holder hangs.
    async fn follow(&mut self, holder: &LeaseHolder) -> Result<FollowEnd, FollowError> {
        let parse = |record: Option<Bytes>| record.and_then(|bytes| LeaseRecord::parse(&bytes));
        let mut interval = poll_interval();
        let mut last_growth = Instant::now();
        let (mut last_touch, mut last_sign) = (None, Instant::now());
        loop {
            match holder.state().await? {
                LeaseState::Held { record, touched_at } => {
                    // No clock takes part: a time that has changed is a heartbeat.
                    if last_touch.replace(touched_at) != Some(touched_at) {
                        last_sign = Instant::now();
                    }
                    if let Some(LeaseRecord::Streaming(staged)) = parse(record)
                        && self.attach_to(staged).await?
                    {
                        last_growth = Instant::now();
                    }
                    if self.advance()? {
                        last_growth = Instant::now();
                        interval.reset();
                    }
                    let is_silent = last_sign.max(last_growth).elapsed() >= MAX_SILENCE;
                    if is_silent || last_growth.elapsed() >= self.patience() {
                        return Ok(FollowEnd::NoProgress);
                    }
                    sleep(interval.next_delay()).await;
                }
                LeaseState::Released(record) => {
                    self.on_release(parse(record)).map_err(FollowError::Fetch)?;
                    return Ok(FollowEnd::Released);
                }
            }
        }
    }

    /// Returns the time without new bytes after which the holder counts as hanging.
    fn patience(&self) -> Duration {
        match self.outcome.peer_body {
            Some(_) => self.idle_timeout,
            None => self.idle_timeout.saturating_mul(BODILESS_PATIENCE),
        }
    }

    /// Reads the last record of a holder. The validator of its file is used only now, because the
    /// file no longer changes.
    fn on_release(&mut self, record: Option<LeaseRecord>) -> Result<(), FetchError> {
        if let Some(failure) = record.as_ref().and_then(LeaseRecord::failure) {
            return Err(failure);
        }
        self.outcome.holder_gave_up = matches!(record, Some(LeaseRecord::Failed));
        if let (Some(peer_body), Some(LeaseRecord::Streaming(last))) =
            (&mut self.outcome.peer_body, record)
            && peer_body.staged.file == last.file
        {
            peer_body.staged.validator = last.validator;
        }
        Ok(())
    }

    /// Makes the file of another process available to readers, from their positions on. Returns
    /// true if it is a new file.
    async fn attach_to(&mut self, staged: StagedBody) -> Result<bool, FollowError> {
        if self
            .outcome
            .peer_body
            .as_ref()
            .is_some_and(|peer_body| peer_body.staged.file == staged.file)
        {
            return Ok(false);
        }
        // If the file was published, it has another name by now and the lease ends soon.
        let Some(file) = self.cache.disk().open_staged(staged.file).await? else {
            return Ok(false);
        };
        let staged = StagedBody {
            validator: None,
            ..staged
        };
        let readable_bytes = staged.readable_bytes(&file)?;
        if let Some(previous) = &self.outcome.peer_body {
            if previous.staged.length != staged.length {
                return Err(FollowError::Fetch(FetchError::ChangedDuringFetch));
            }
            if readable_bytes < previous.seen_bytes {
                return Ok(false);
            }
            if !file.prefix_eq(&previous.file, previous.seen_bytes).await? {
                return Err(FollowError::Fetch(FetchError::ChangedDuringFetch));
            }
            self.body.switch_file(file.clone(), readable_bytes);
        } else {
            let head = Head {
                length: staged.length,
                headers: staged.headers.clone(),
            };
            self.body.meter().set_origin(ByteOrigin::OtherProcess);
            self.body
                .start_streaming(Arc::new(head), file.clone(), readable_bytes);
        }
        self.outcome.peer_body = Some(PeerBody {
            file,
            staged,
            seen_bytes: readable_bytes,
        });
        Ok(true)
    }

    /// Makes new bytes of the file available to readers. Returns true if there were any.
    fn advance(&mut self) -> Result<bool, FollowError> {
        let Some(peer_body) = &mut self.outcome.peer_body else {
            return Ok(false);
        };
        let readable_bytes = peer_body.staged.readable_bytes(&peer_body.file)?;
        let has_grown = readable_bytes > peer_body.seen_bytes;
        if has_grown {
            peer_body.seen_bytes = readable_bytes;
            self.body.advance(readable_bytes, Bytes::new());
        }
        Ok(has_grown)
    }
}

impl StagedBody {
    /// Returns the number of bytes that were written to the file. Space that is only reserved does
    /// not count to the length of the file.
    fn readable_bytes(&self, file: &OpenFile) -> io::Result<u64> {
        let size_bytes = file.size_bytes()?;
        Ok(self
            .length
            .map_or(size_bytes, |length| size_bytes.min(length)))
    }
}

impl PeerBody {
    /// Makes the rest of a published object available to readers.
    ///
    /// # Errors
    /// [`FetchError::ChangedDuringFetch`] if the object does not begin with the bytes that readers
    /// may have seen.
    pub async fn finish_from_object(
        &self,
        body: &SharedBody,
        hit: &FileHit,
    ) -> Result<(), FetchError> {
        let has_same_length = self
            .staged
            .length
            .is_none_or(|length| length == hit.size_bytes());
        let is_same_body = has_same_length
            && hit
                .file()
                .prefix_eq(&self.file, self.seen_bytes)
                .await
                .map_err(|error| FetchError::from_read_error(&error))?;
        if !is_same_body {
            return Err(FetchError::ChangedDuringFetch);
        }
        body.switch_file(hit.file().clone(), hit.size_bytes());
        body.mark_verified(hit.record.known_digests());
        Ok(())
    }
}
