//! The permit of a fetch or an exchange for the host that it asks now. It moves on with redirects,
//! so that they count for the host that they lead to.
//!
//! A moving permit never waits for a host while it holds the permit of another one. Two fetches
//! that redirect to the host of each other can therefore not block each other. The main type is
//! [`MovingPermit`].

use std::time::Duration;

use tokio::time::timeout;

use super::FetchError;
use super::host_limits::{HostLimiter, HostPermit, HostUse};
use crate::limits::Readership;
use crate::origin::{ConnectionFault, HostPermits, OriginError};
use crate::policy::Admitted;

/// Permit for one host at a time.
pub struct MovingPermit<'a> {
    limiter: &'a HostLimiter,
    readership: &'a Readership,
    host_use: HostUse,
    /// Longest wait for one host.
    longest_wait: Duration,
    /// Host and its permit.
    held: Option<(String, HostPermit)>,
}

impl<'a> MovingPermit<'a> {
    /// Creates a permit for no host.
    pub fn new(
        limiter: &'a HostLimiter,
        readership: &'a Readership,
        host_use: HostUse,
        longest_wait: Duration,
    ) -> Self {
        Self {
            limiter,
            readership,
            host_use,
            longest_wait,
            held: None,
        }
    }

    /// Takes further permits from another limiter. A permit of this one is released.
    pub fn use_limiter(&mut self, limiter: &'a HostLimiter) {
        if !std::ptr::eq(self.limiter, limiter) {
            (self.limiter, self.held) = (limiter, None);
        }
    }

    /// Waits for the permit of the host of a target, unless it is held.
    ///
    /// # Errors
    /// [`FetchError::TooManyFetches`] if the wait is too long, or too many wait.
    pub async fn acquire(&mut self, admitted: &Admitted) -> Result<(), FetchError> {
        let host = admitted.target().host();
        if self.held.as_ref().is_some_and(|(held, _)| held == host) {
            return Ok(());
        }
        self.held = None;
        let acquired = self
            .limiter
            .acquire(admitted, self.readership, self.host_use);
        let permit = timeout(self.longest_wait, acquired)
            .await
            .map_err(|_| FetchError::TooManyFetches)??;
        self.held = Some((host.to_owned(), permit));
        Ok(())
    }

    /// Returns the permit, which is held no more.
    pub fn take(&mut self) -> Option<HostPermit> {
        self.held.take().map(|(_, permit)| permit)
    }
}

impl HostPermits for MovingPermit<'_> {
    async fn move_to(&mut self, hop: &Admitted) -> Result<(), OriginError> {
        let acquired = self.acquire(hop).await;
        acquired.map_err(|_| ConnectionFault::NoFreeConnection.into())
    }
}
