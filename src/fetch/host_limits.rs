//! Leave to ask a host: so many at once in all, so many at one host, and not too soon after one
//! another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::lock;
use crate::policy::Admitted;

/// A place among all, and one at its host.
pub type FetchPermit = (OwnedSemaphorePermit, OwnedSemaphorePermit);

pub struct HostLimiter {
    per_host: usize,
    of_all: Arc<Semaphore>,
    of_host: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// When the next may ask, at hosts that want a pause between two.
    next_request_at: Mutex<HashMap<String, Instant>>,
}

impl HostLimiter {
    pub fn new(concurrency: usize, per_host: usize) -> Self {
        Self {
            per_host,
            of_all: Arc::new(Semaphore::new(concurrency)),
            of_host: Mutex::default(),
            next_request_at: Mutex::default(),
        }
    }

    pub async fn acquire(&self, admitted: &Admitted) -> FetchPermit {
        let (host, options) = (admitted.target().host(), admitted.request_options());
        let of_host = {
            let mut of_host = lock(&self.of_host);
            of_host.retain(|_, places| Arc::strong_count(places) > 1);
            let count = options.per_host.unwrap_or(self.per_host);
            Arc::clone(
                of_host
                    .entry(host.to_owned())
                    .or_insert_with(|| Arc::new(Semaphore::new(count))),
            )
        };
        // The host's first: a slow host must not hold the places of others while its flights queue.
        let of_host = of_host
            .acquire_owned()
            .await
            .expect("these semaphores are never closed");
        if let Some(slot) = self.next_slot(host, options.request_interval) {
            sleep_until(slot).await;
        }
        let of_all = Arc::clone(&self.of_all)
            .acquire_owned()
            .await
            .expect("these semaphores are never closed");
        (of_all, of_host)
    }

    /// When one may ask who asks now.
    fn next_slot(&self, host: &str, interval: Duration) -> Option<Instant> {
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
