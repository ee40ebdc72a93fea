//! Limits for requests to origins: the number of concurrent fetches in total and for each host, the
//! number of exchanges and of lone requests for each host, and the interval between two requests to
//! one host.
//!
//! The main type is [`HostLimiter`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::FetchError;
use crate::limits::{
    ClientShare, FairPool, HeldPermit, MAX_IN_FLIGHT, PoolClient, PoolExhausted, PoolLevel,
    Readership,
};
use crate::model::lock;
use crate::policy::Admitted;

/// Bound on the fetches that wait for one pool. The bound on in-flight fetches is reached first,
/// also that of one client.
const MAX_WAITING: usize = 2 * MAX_IN_FLIGHT;

/// Permission to ask one host. It counts for the readers of the fetch.
pub struct HostPermit {
    _host: HeldPermit,
    /// Permit of all fetches. Other uses need none.
    _total: Option<HeldPermit>,
}

/// Use of a host. A long fetch or upload must not delay the small responses of the same host, so
/// each use has permits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostUse {
    Fetch,
    /// An exchange about a response that may change.
    Exchange,
    /// A request whose response only one client gets.
    Lone,
}

pub struct HostLimiter {
    per_host: usize,
    share: ClientShare,
    total_permits: FairPool,
    host_permits: Mutex<HashMap<(HostUse, String), Arc<FairPool>>>,
    /// Time of the next request, for hosts with a `request_interval`.
    next_request_at: Mutex<HashMap<String, Instant>>,
}

impl HostLimiter {
    /// Allows `concurrency` fetches in total, and `per_host` fetches, as many exchanges and as many
    /// lone requests with one host. A rule may set another number for its hosts.
    pub fn new(concurrency: usize, per_host: usize, share: ClientShare) -> Self {
        Self {
            per_host,
            total_permits: FairPool::new(concurrency, MAX_WAITING, &share),
            share,
            host_permits: Mutex::default(),
            next_request_at: Mutex::default(),
        }
    }

    /// Returns the level of the permits for all hosts.
    pub fn total_level(&self) -> PoolLevel {
        self.total_permits.level()
    }

    /// Waits for permission to ask the host of a target, in the turn of a reader.
    ///
    /// # Errors
    /// [`FetchError::TooManyFetches`] if too many others wait.
    pub async fn acquire(
        &self,
        admitted: &Admitted,
        readership: &Readership,
        host_use: HostUse,
    ) -> Result<HostPermit, FetchError> {
        // The permit of the host comes first: fetches that wait for a slow host must not hold
        // permits of the total.
        let host_permit = self.acquire_host(admitted, readership, host_use).await?;
        let host = admitted.target().host();
        let total_permit = match host_use {
            HostUse::Exchange | HostUse::Lone => None,
            HostUse::Fetch => {
                let acquired = readership.acquire(&self.total_permits, host).await;
                Some(acquired.map_err(|_: PoolExhausted| FetchError::TooManyFetches)?)
            }
        };
        Ok(HostPermit {
            _host: host_permit,
            _total: total_permit,
        })
    }

    /// Whether a client would have to wait for a permit for a fetch from the host of a target.
    pub fn is_full_for(&self, client: PoolClient, admitted: &Admitted) -> bool {
        let used = (HostUse::Fetch, admitted.target().host().to_owned());
        lock(&self.host_permits)
            .get(&used)
            .is_some_and(|permits| permits.free_for(client) == 0)
    }

    /// Waits for permission to send a request for one client only.
    ///
    /// # Errors
    /// [`FetchError::TooManyFetches`] if too many others wait.
    pub async fn acquire_lone(&self, admitted: &Admitted) -> Result<HostPermit, FetchError> {
        let readership = Readership::new(admitted.pool_client());
        self.acquire(admitted, &readership, HostUse::Lone).await
    }

    async fn acquire_host(
        &self,
        admitted: &Admitted,
        readership: &Readership,
        host_use: HostUse,
    ) -> Result<HeldPermit, FetchError> {
        let (host, options) = (admitted.target().host(), admitted.request_options());
        let host_permits = {
            let mut hosts = lock(&self.host_permits);
            hosts.retain(|_, permits| Arc::strong_count(permits) > 1 || permits.taken() > 0);
            let count = options.per_host.unwrap_or(self.per_host);
            let new_pool = || Arc::new(FairPool::new(count, MAX_WAITING, &self.share));
            let entry = hosts.entry((host_use, host.to_owned()));
            Arc::clone(entry.or_insert_with(new_pool))
        };
        let host_permit = readership.acquire(&host_permits, host).await;
        let host_permit = host_permit.map_err(|_: PoolExhausted| FetchError::TooManyFetches)?;
        if let Some(slot) = self.reserve_slot(host, options.request_interval) {
            sleep_until(slot).await;
        }
        Ok(host_permit)
    }

    /// Reserves the next time at which a request may be sent to a host. `None` means at once.
    fn reserve_slot(&self, host: &str, interval: Duration) -> Option<Instant> {
        if interval.is_zero() {
            return None;
        }
        let now = Instant::now();
        let mut next = lock(&self.next_request_at);
        next.retain(|_, next| *next > now);
        let slot = next.get(host).copied().unwrap_or(now);
        next.insert(host.to_owned(), slot + interval);
        Some(slot)
    }
}
