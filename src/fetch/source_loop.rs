//! Tries the sources of a target until one has returned the body or none is left. The entry point
//! is [`download_from_sources`].

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::FetchError;
use super::download::Download;
use super::fetch_meter::ByteOrigin;
use super::host_circuits::HostCircuits;
use super::host_limits::HostPermit;
use super::resume::CompletedBody;
use super::task::FetchTask;
use crate::metrics::{AttemptResult, SourceLabel};
use crate::origin::OriginError;
use crate::policy::{Source, SourceKind};
use crate::retry::Backoff;

/// Maximum delay between two attempts, unless the origin asks for a longer one.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// Range of the random factor of a delay. Jitter keeps many fetches from retrying at once.
const JITTER: std::ops::Range<f64> = 0.5..1.0;

/// Complete body, and the permit of the attempt that completed it. The permit is held until the
/// body is published, so that the permits also bound the space that is reserved for staged bodies.
pub struct DownloadedBody {
    pub completed: CompletedBody,
    /// Kind of the source that has sent the end.
    pub kind: SourceKind,
    pub _permit: HostPermit,
}

/// Tries the sources of a download, each at most `max_attempts` times.
///
/// # Errors
/// If every source fails, the error of the origin. A mirror's 404 does not mean that the file is
/// gone.
pub async fn download_from_sources(
    task: &mut FetchTask<'_>,
    download: Download<'_>,
    max_attempts: u32,
) -> Result<DownloadedBody, FetchError> {
    let mut sources = SourceLoop::new(task, download, max_attempts);
    while let Some(queued) = sources.next_source() {
        sleep_until(queued.not_before).await;
        match sources.attempt(task, &queued).await {
            Ok(completed) => return Ok(completed),
            Err(error) if sources.is_final(&error) => return Err(error),
            Err(error) => sources.requeue(task, queued, error),
        }
    }
    Err(sources.final_error)
}

struct SourceLoop<'a> {
    download: Download<'a>,
    queue: VecDeque<QueuedSource<'a>>,
    max_attempts: u32,
    /// A peer was silent when it was asked for the body, or drains and does not have it.
    has_silent_peer: bool,
    /// Error to return if every source fails.
    final_error: FetchError,
}

/// Source that may be tried.
struct QueuedSource<'a> {
    source: &'a Source,
    /// Number of attempts up to now.
    attempts: u32,
    backoff: Backoff,
    not_before: Instant,
}

impl<'a> SourceLoop<'a> {
    fn new(task: &FetchTask<'_>, download: Download<'a>, max_attempts: u32) -> Self {
        let now = Instant::now();
        let backoff = Backoff::new(task.state.config.backoff.0, MAX_BACKOFF);
        let mut sources: Vec<_> = download.sources().iter().collect();
        if download.has_validator() {
            // It is valid at the origin only, which sends the rest by Range.
            sources.sort_by_key(|source| source.kind() != SourceKind::Origin);
        }
        let queue = sources
            .into_iter()
            .map(|source| QueuedSource {
                source,
                attempts: 0,
                backoff: backoff.clone(),
                not_before: now,
            })
            .collect();
        Self {
            download,
            queue,
            max_attempts,
            // Owners may ask this node for what it has, if it drains.
            has_silent_peer: task.state.cluster.is_draining(),
            final_error: FetchError::StoreFailed,
        }
    }

    /// Returns the source to try next: the one that has begun the body, else the one with the
    /// earliest `not_before`.
    fn next_source(&mut self) -> Option<QueuedSource<'a>> {
        if self.download.has_begun() {
            return self.queue.pop_front();
        }
        let first = (0..self.queue.len()).min_by_key(|index| self.queue[*index].not_before)?;
        self.queue.remove(first)
    }

    /// Sends one request to one source and receives the body.
    async fn attempt(
        &mut self,
        task: &mut FetchTask<'_>,
        queued: &QueuedSource<'a>,
    ) -> Result<DownloadedBody, FetchError> {
        let (state, admitted) = (task.state, queued.source.admitted());
        if queued.source.kind() == SourceKind::Peer {
            let (cluster, target) = (&state.cluster, task.admitted.target());
            let asked = cluster.request_fetch(queued.source, target, self.has_silent_peer);
            asked.await?;
        } else {
            self.leave_peers(task);
        }
        let is_first = queued.attempts == 0 && queued.source.kind() != SourceKind::Peer;
        if is_first {
            // Fail before waiting for a permit, because requests wait for the result.
            state.circuits.check(admitted)?;
        }
        self.download.acquire_permit(queued.source).await?;
        let _probe = if is_first {
            state.circuits.try_acquire(admitted)?
        } else {
            None
        };
        let origin = ByteOrigin::Source(queued.source.kind());
        task.body.meter().set_origin(origin);
        task.report.attempts += 1;
        if queued.attempts > 0 {
            state.counts.retries.increment();
        }
        let outcome = self.download.attempt(queued.source).await;
        let result = match outcome {
            Ok(_) => AttemptResult::Complete,
            Err(_) => AttemptResult::Failed,
        };
        let source = label_of(queued.source.kind());
        state.counts.record_attempt(source, result);
        self.record_host_result(&state.circuits, queued.source, outcome.as_ref().err());
        let permit = self.download.take_permit();
        Ok(DownloadedBody {
            completed: outcome?,
            kind: queued.source.kind(),
            _permit: permit.ok_or(FetchError::StoreFailed)?,
        })
    }

    /// Records the result of an attempt for the host of the source. An error after a redirect is
    /// one of another host, and a local error is one of no host.
    fn record_host_result(
        &self,
        circuits: &HostCircuits,
        source: &Source,
        error: Option<&FetchError>,
    ) {
        if source.kind() == SourceKind::Peer {
            // The polls decide about peers.
            return;
        }
        let last = self.download.last_response();
        let admitted = source.admitted();
        match error {
            Some(FetchError::Origin(error)) if !last.is_redirected && !last.has_answered => {
                match error.host_fault() {
                    Some(fault) => circuits.record_failure(admitted, fault, error),
                    None if matches!(error, OriginError::Denied(_)) || error.is_own_shortage() => {}
                    None => circuits.record_success(admitted),
                }
            }
            Some(
                FetchError::Origin(OriginError::Denied(_))
                | FetchError::NoSpace
                | FetchError::OverShare
                | FetchError::StoreFailed,
            ) => {}
            _ => circuits.record_success(admitted),
        }
    }

    /// Whether an error ends the fetch although sources are left.
    fn is_final(&self, error: &FetchError) -> bool {
        !error.can_try_next_source() || self.download.readers_saw_bad_bytes()
    }

    /// Schedules the next attempt at a failed source, or removes the source.
    fn requeue(
        &mut self,
        task: &mut FetchTask<'_>,
        mut queued: QueuedSource<'a>,
        error: FetchError,
    ) {
        let source = queued.source;
        tracing::debug!(target = %source.target(), %error, "source failed, trying the next one");
        queued.attempts += 1;
        let delay = queued
            .backoff
            .next_delay()
            .mul_f64(rand::random_range(JITTER));
        let retry_after = error.retry_after().unwrap_or_default();
        queued.not_before = Instant::now() + delay.max(retry_after);
        let is_origin = source.kind() == SourceKind::Origin;
        let is_peer = source.kind() == SourceKind::Peer;
        if is_peer {
            self.drop_sources_after(&error);
        }
        let is_exhausted = is_peer
            || !error.is_transient()
            || queued.attempts >= self.max_attempts
            || (!is_origin && retry_after > MAX_BACKOFF);
        if is_exhausted {
            // A peer that has no proof of its secret is no fault of an origin.
            if !is_peer || matches!(error, FetchError::Mismatch { .. }) {
                task.report.record_bad_source(source, &error);
            }
        } else if self.download.has_begun() {
            // The same source returns the rest of the body.
            self.queue.push_front(queued);
        } else {
            self.queue.push_back(queued);
        }
        if is_origin || (is_peer && self.queue.is_empty()) {
            self.final_error = error;
        }
    }

    /// Removes the sources that are of no use after a peer has failed.
    fn drop_sources_after(&mut self, error: &FetchError) {
        match error {
            // The owner has asked the origin, and has proven its answer.
            FetchError::Origin(OriginError::Status {
                status: 404 | 410, ..
            }) if !self.download.has_begun() && !self.download.requires_digest() => {
                self.queue.clear();
            }
            // The next peer may know the target, or fetch it.
            FetchError::Origin(OriginError::Unreachable(_)) if !self.download.has_begun() => {
                self.has_silent_peer = true;
            }
            // The origin sends the rest of a body. If the owner has failed otherwise, another peer
            // would ask the origin too.
            _ => self
                .queue
                .retain(|queued| queued.source.kind() != SourceKind::Peer),
        }
    }

    /// Records that no peer is asked any more, so that peers may ask this node.
    fn leave_peers(&mut self, task: &FetchTask<'_>) {
        self.queue
            .retain(|queued| queued.source.kind() != SourceKind::Peer);
        task.body.leave_peers();
    }
}

fn label_of(kind: SourceKind) -> SourceLabel {
    match kind {
        SourceKind::Origin => SourceLabel::Origin,
        SourceKind::Mirror => SourceLabel::Mirror,
        SourceKind::Parent => SourceLabel::Parent,
        SourceKind::Archive => SourceLabel::Archive,
        SourceKind::Peer => SourceLabel::Peer,
    }
}
