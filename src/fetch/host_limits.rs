//! Limits for requests to origins: the number of concurrent fetches in total and for each host, the
//! number of exchanges for each host, and the interval between two requests to one host.
//!
//! The main type is [`HostLimiter`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::model::lock;
use crate::policy::Admitted;

/// Permission to fetch from one host.
pub struct FetchPermit {
    _total: OwnedSemaphorePermit,
    _host: OwnedSemaphorePermit,
}

/// Permission to ask one host about a response of class `revalidate`.
pub struct ExchangePermit {
    _host: OwnedSemaphorePermit,
}

/// Use of a host. A long fetch must not delay the small responses of the same host, so each use has
/// permits of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum HostUse {
    Fetch,
    Exchange,
}

pub struct HostLimiter {
    per_host: usize,
    total_permits: Arc<Semaphore>,
    host_permits: Mutex<HashMap<(HostUse, String), Arc<Semaphore>>>,
    /// Time of the next request, for hosts with a `request_interval`.
    next_request_at: Mutex<HashMap<String, Instant>>,
}

impl HostLimiter {
    /// Allows `concurrency` fetches in total, and `per_host` fetches and as many exchanges with one
    /// host. A rule may set another number for its hosts.
    pub fn new(concurrency: usize, per_host: usize) -> Self {
        Self {
            per_host,
            total_permits: Arc::new(Semaphore::new(concurrency)),
            host_permits: Mutex::default(),
            next_request_at: Mutex::default(),
        }
    }

    /// Waits for permission to fetch from the host of a target.
    pub async fn acquire(&self, admitted: &Admitted) -> FetchPermit {
        // The permit of the host comes first: fetches that wait for a slow host must not hold
        // permits of the total.
        let host_permit = self.acquire_host(admitted, HostUse::Fetch).await;
        let total_permit = Arc::clone(&self.total_permits)
            .acquire_owned()
            .await
            .expect("these semaphores are never closed");
        FetchPermit {
            _total: total_permit,
            _host: host_permit,
        }
    }

    /// Waits for permission to ask the host of a target about a response that may change.
    pub async fn acquire_exchange(&self, admitted: &Admitted) -> ExchangePermit {
        ExchangePermit {
            _host: self.acquire_host(admitted, HostUse::Exchange).await,
        }
    }

    async fn acquire_host(&self, admitted: &Admitted, host_use: HostUse) -> OwnedSemaphorePermit {
        let (host, options) = (admitted.target().host(), admitted.request_options());
        let host_permits = {
            let mut hosts = lock(&self.host_permits);
            hosts.retain(|_, permits| Arc::strong_count(permits) > 1);
            let count = options.per_host.unwrap_or(self.per_host);
            Arc::clone(
                hosts
                    .entry((host_use, host.to_owned()))
                    .or_insert_with(|| Arc::new(Semaphore::new(count))),
            )
        };
        let host_permit = host_permits
            .acquire_owned()
            .await
            .expect("these semaphores are never closed");
        if let Some(slot) = self.reserve_slot(host, options.request_interval) {
            sleep_until(slot).await;
        }
        host_permit
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
