//! Limits on responses that come from upstream. They leave permits free for responses from the
//! cache. The main type is [`UpstreamLimits`].

use std::time::Duration;

use tokio::time::timeout;

use super::pool::{ClientShare, FairPool, PoolClient, PoolExhausted, PoolLevel, PoolPermit};

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

impl From<PoolExhausted> for UpstreamBusy {
    fn from(_: PoolExhausted) -> Self {
        Self
    }
}

/// Response or tunnel that gets its bytes from upstream. It is counted until it is dropped.
#[derive(Debug)]
pub struct UpstreamPermit {
    _permit: PoolPermit,
}

/// Pass-through response. It is counted until it is dropped, also as a response from upstream.
#[derive(Debug)]
pub struct PassThroughPermit {
    _pass_through: PoolPermit,
    _upstream: UpstreamPermit,
}

/// Tunnel. It is counted until it is dropped, also as a response from upstream.
#[derive(Debug)]
pub struct TunnelPermit {
    _tunnel: PoolPermit,
    _upstream: UpstreamPermit,
}

/// Levels of the pools of responses from upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLevels {
    pub responses: PoolLevel,
    pub pass_through: PoolLevel,
    pub tunnels: PoolLevel,
}

/// Permits for responses that come from upstream.
#[derive(Debug)]
pub struct UpstreamLimits {
    /// Held from the first wait to the last byte.
    responses: FairPool,
    pass_through: FairPool,
    tunnels: FairPool,
}

impl UpstreamLimits {
    /// Creates limits for at most `max_responses` responses, of which half may pass through, and
    /// half may be tunnels.
    #[must_use]
    pub fn new(max_responses: usize, share: &ClientShare) -> Self {
        let half = max_responses.div_ceil(2);
        // Waiting requests need connections too, and must leave some for responses from the cache.
        let max_waiting = MAX_PASS_THROUGH.min(max_responses / 4);
        Self {
            responses: FairPool::new(max_responses, 0, share),
            pass_through: FairPool::new(MAX_PASS_THROUGH.min(half), max_waiting, share),
            tunnels: FairPool::new(half, 0, share),
        }
    }

    /// Returns the levels of all pools.
    #[must_use]
    pub fn levels(&self) -> UpstreamLevels {
        UpstreamLevels {
            responses: self.responses.level(),
            pass_through: self.pass_through.level(),
            tunnels: self.tunnels.level(),
        }
    }

    /// Counts a response for a client, without waiting.
    ///
    /// # Errors
    /// [`UpstreamBusy`] if no permit is free for the client.
    pub fn acquire_upstream_permit(
        &self,
        client: PoolClient,
    ) -> Result<UpstreamPermit, UpstreamBusy> {
        let permit = self.responses.try_acquire(client)?;
        Ok(UpstreamPermit { _permit: permit })
    }

    /// Counts a tunnel for a client, without waiting.
    ///
    /// # Errors
    /// [`UpstreamBusy`] if no permit is free for the client.
    pub fn acquire_tunnel_permit(&self, client: PoolClient) -> Result<TunnelPermit, UpstreamBusy> {
        Ok(TunnelPermit {
            _tunnel: self.tunnels.try_acquire(client)?,
            _upstream: self.acquire_upstream_permit(client)?,
        })
    }

    /// Counts a pass-through response of `host` for a client, and waits up to
    /// `PASS_THROUGH_TIMEOUT` for the permit.
    ///
    /// # Errors
    /// [`UpstreamBusy`] if too many requests wait already, or the wait is too long.
    pub async fn acquire_pass_through_permit(
        &self,
        client: PoolClient,
        host: &str,
    ) -> Result<PassThroughPermit, UpstreamBusy> {
        let permit = self.pass_through.acquire(client, host);
        let permit = timeout(PASS_THROUGH_TIMEOUT, permit).await;
        Ok(PassThroughPermit {
            _pass_through: permit.map_err(|_| UpstreamBusy)??,
            _upstream: self.acquire_upstream_permit(client)?,
        })
    }
}
