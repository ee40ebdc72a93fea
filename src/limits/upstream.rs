//! Limits on responses that come from upstream. They leave permits free for responses from the
//! cache.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Maximum number of pass-through responses. If a client does not read, the received bytes stay in
/// memory, whereas a stored file can be read again.
const MAX_PASS_THROUGH: usize = 384;

/// How long a request waits for a pass-through permit. Most responses end sooner, and few clients
/// retry after a 503.
const PASS_THROUGH_TIMEOUT: Duration = Duration::from_secs(30);

/// Error returned when too many responses come from upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many responses from upstream; retry later")]
pub struct UpstreamBusy;

/// Response or tunnel that gets its bytes from upstream. It is counted until it is dropped.
#[derive(Debug)]
pub struct UpstreamPermit {
    _permit: OwnedSemaphorePermit,
}

/// Pass-through response. It is counted until it is dropped, also as a response from upstream.
#[derive(Debug)]
pub struct PassThroughPermit {
    _pass_through: OwnedSemaphorePermit,
    _upstream: UpstreamPermit,
}

/// Permits for responses that come from upstream.
#[derive(Debug)]
pub struct UpstreamLimits {
    /// Held from the first wait to the last byte.
    responses: Arc<Semaphore>,
    pass_through: Arc<Semaphore>,
    /// Requests that wait for a pass-through permit.
    pass_through_queue: Semaphore,
}

impl UpstreamLimits {
    /// Creates limits for at most `max_responses` responses, of which half may pass through.
    #[must_use]
    pub fn new(max_responses: usize) -> Self {
        let max_pass_through = MAX_PASS_THROUGH.min(max_responses.div_ceil(2));
        Self {
            responses: Arc::new(Semaphore::new(max_responses)),
            pass_through: Arc::new(Semaphore::new(max_pass_through)),
            // Waiting requests need connections too, and must leave some for responses from the
            // cache.
            pass_through_queue: Semaphore::new(MAX_PASS_THROUGH.min(max_responses / 4)),
        }
    }

    /// Counts a response or a tunnel, without waiting.
    ///
    /// # Errors
    /// [`UpstreamBusy`] if the limit is reached.
    pub fn acquire_upstream_permit(&self) -> Result<UpstreamPermit, UpstreamBusy> {
        let permit = Arc::clone(&self.responses).try_acquire_owned();
        permit
            .map(|permit| UpstreamPermit { _permit: permit })
            .map_err(|_| UpstreamBusy)
    }

    /// Counts a pass-through response, and waits up to `PASS_THROUGH_TIMEOUT` for the permit.
    ///
    /// # Errors
    /// [`UpstreamBusy`] if too many requests wait already, or the wait is too long.
    pub async fn acquire_pass_through_permit(&self) -> Result<PassThroughPermit, UpstreamBusy> {
        let pass_through = match Arc::clone(&self.pass_through).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait_for_pass_through_permit().await?,
        };
        Ok(PassThroughPermit {
            _pass_through: pass_through,
            _upstream: self.acquire_upstream_permit()?,
        })
    }

    async fn wait_for_pass_through_permit(&self) -> Result<OwnedSemaphorePermit, UpstreamBusy> {
        let _queued = self
            .pass_through_queue
            .try_acquire()
            .map_err(|_| UpstreamBusy)?;
        let permit = Arc::clone(&self.pass_through).acquire_owned();
        Ok(timeout(PASS_THROUGH_TIMEOUT, permit)
            .await
            .map_err(|_| UpstreamBusy)?
            .expect("this semaphore is never closed"))
    }
}
