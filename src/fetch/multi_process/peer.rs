//! Follows the fetch of another process for the same target, by its lease record and by the length
//! of the file that it stages. The main types are [`LeaseOutcome`] and [`PeerBody`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::heartbeat::{Heartbeat, MAX_SILENCE};
use super::lease_record::{LeaseRecord, StagedBody};
use crate::cache::{Acquire, Cache, CacheError, FileHit, Lease, LeaseHolder, LeaseState, OpenFile};
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
    pub seen_bytes: u64,
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
        Ok(LeaseEnd::Acquired(lease)) => {
            let lease = Arc::new(lease);
            follower.outcome.heartbeat = Some(Heartbeat::start(&lease));
            follower.outcome.lease = Some(lease);
        }
        Ok(LeaseEnd::Failed(error)) => return Err(error),
        Ok(LeaseEnd::NoProgress) => {
            tracing::warn!(
                %key,
                "holder of the lease makes no progress, fetching without the lease"
            );
        }
        Err(error) => {
            tracing::warn!(
                %error,
                "lease could not be acquired, other processes may fetch the same target"
            );
        }
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

/// Reason why a process waits for the lease no longer.
enum LeaseEnd {
    Acquired(Lease),
    /// The fetch of the holder has failed, and this one would fail in the same way.
    Failed(FetchError),
    /// The lease is held, and no byte or no heartbeat has arrived for too long.
    NoProgress,
}

struct PeerFollower<'a> {
    cache: &'a Cache,
    /// Time without new bytes after which a holder that has begun a body counts as hanging.
    idle_timeout: Duration,
    body: &'a SharedBody,
    outcome: LeaseOutcome,
}

impl PeerFollower<'_> {
    async fn wait_for_lease(&mut self, key: Key) -> Result<LeaseEnd, CacheError> {
        loop {
            match self.cache.leases().acquire(key).await? {
                Acquire::Acquired(lease) => return Ok(LeaseEnd::Acquired(lease)),
                Acquire::HeldBy(holder) => {
                    if let Some(end) = self.follow(&holder).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Follows the holder of the lease until the lease is released (`None`) or the holder hangs.
    async fn follow(&mut self, holder: &LeaseHolder) -> Result<Option<LeaseEnd>, CacheError> {
        let parse = |record: Option<Bytes>| record.and_then(|bytes| LeaseRecord::parse(&bytes));
        let mut interval = poll_interval();
        let mut last_growth = Instant::now();
        let (mut last_touch, mut last_sign) = (None, Instant::now());
        loop {
            let (record, touched_at) = match holder.state().await? {
                LeaseState::Held { record, touched_at } => (parse(record), touched_at),
                LeaseState::Released(record) => return self.on_release(parse(record)),
            };
            // No clock takes part: a time that has changed is a heartbeat.
            if last_touch.replace(touched_at) != Some(touched_at) {
                last_sign = Instant::now();
            }
            if let Some(LeaseRecord::Streaming(staged)) = &record
                && let Some(opened) = self.open_other(staged).await?
            {
                if !self.continues_with(&opened).await? {
                    return Ok(Some(LeaseEnd::Failed(FetchError::ChangedDuringFetch)));
                }
                self.attach_to(opened);
                last_growth = Instant::now();
            }
            if self.advance()? {
                last_growth = Instant::now();
                interval.reset();
            }
            let is_silent = last_sign.max(last_growth).elapsed() >= MAX_SILENCE;
            if is_silent || last_growth.elapsed() >= self.patience() {
                // No byte has arrived since the record was read.
                self.take_validator(record);
                return Ok(Some(LeaseEnd::NoProgress));
            }
            sleep(interval.next_delay()).await;
        }
    }

    /// Returns the time without new bytes after which the holder counts as hanging.
    fn patience(&self) -> Duration {
        match self.outcome.peer_body {
            Some(_) => self.idle_timeout,
            None => self.idle_timeout.saturating_mul(BODILESS_PATIENCE),
        }
    }

    /// Reads the last record and the last bytes of a holder that has released the lease.
    fn on_release(&mut self, record: Option<LeaseRecord>) -> Result<Option<LeaseEnd>, CacheError> {
        if let Some(failure) = record.as_ref().and_then(LeaseRecord::failure) {
            return Ok(Some(LeaseEnd::Failed(failure)));
        }
        self.outcome.holder_gave_up = matches!(record, Some(LeaseRecord::Failed));
        self.advance()?;
        self.take_validator(record);
        Ok(None)
    }

    /// Takes the validator in a record, if it is that of the followed file. The record was read
    /// when every byte up to now was in the file.
    fn take_validator(&mut self, record: Option<LeaseRecord>) {
        if let (Some(peer_body), Some(LeaseRecord::Streaming(last))) =
            (&mut self.outcome.peer_body, record)
            && peer_body.staged.file == last.file
        {
            peer_body.staged.validator = last.validator;
        }
    }

    /// Opens the file in a record, unless it is the followed one. Returns `None` too while it may
    /// lack bytes that readers have seen.
    async fn open_other(&self, staged: &StagedBody) -> Result<Option<PeerBody>, CacheError> {
        let followed = self.outcome.peer_body.as_ref();
        if followed.is_some_and(|followed| followed.staged.file == staged.file) {
            return Ok(None);
        }
        // If the file was published, it has another name by now and the lease ends soon.
        let Some(file) = self.cache.disk().open_staged(staged.file).await? else {
            return Ok(None);
        };
        let staged = StagedBody {
            validator: None,
            ..staged.clone()
        };
        let seen_bytes = staged.readable_bytes(&file)?;
        let is_short = followed.is_some_and(|followed| {
            followed.staged.length == staged.length && seen_bytes < followed.seen_bytes
        });
        let opened = PeerBody {
            file,
            staged,
            seen_bytes,
        };
        Ok((!is_short).then_some(opened))
    }

    /// Whether a file begins with the bytes that readers may have seen, and has the same length.
    async fn continues_with(&self, opened: &PeerBody) -> Result<bool, CacheError> {
        let Some(followed) = &self.outcome.peer_body else {
            return Ok(true);
        };
        let compared = opened.file.prefix_eq(&followed.file, followed.seen_bytes);
        Ok(opened.staged.length == followed.staged.length && compared.await?)
    }

    /// Makes the file of another process available to readers, from their positions on.
    fn attach_to(&mut self, opened: PeerBody) {
        let file = opened.file.clone();
        if self.outcome.peer_body.is_some() {
            self.body.switch_file(file, opened.seen_bytes);
        } else {
            let head = Head {
                length: opened.staged.length,
                headers: opened.staged.headers.clone(),
            };
            self.body.meter().set_origin(ByteOrigin::OtherProcess);
            self.body
                .start_streaming(Arc::new(head), file, opened.seen_bytes);
        }
        self.outcome.peer_body = Some(opened);
    }

    /// Makes new bytes of the file available to readers. Returns true if there were any.
    fn advance(&mut self) -> Result<bool, CacheError> {
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
