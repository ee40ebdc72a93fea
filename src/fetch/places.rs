//! Leave to ask a host: so many at once in all, so many at one host, and not too soon after one another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::lock;
use crate::policy::Admitted;

/// A place among all, and one at its host.
pub type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

pub struct Places {
    per_host: usize,
    of_all: Arc<Semaphore>,
    of_host: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// When the next may ask, at hosts that want a pause between two.
    next: Mutex<HashMap<String, Instant>>,
}

impl Places {
    pub fn new(concurrency: usize, per_host: usize) -> Self {
        Self {
            per_host,
            of_all: Arc::new(Semaphore::new(concurrency)),
            of_host: Mutex::default(),
            next: Mutex::default(),
        }
    }

    pub async fn take(&self, admitted: &Admitted) -> Permits {
        let (host, approach) = (admitted.target().host(), admitted.approach());
        let of_host = {
            let mut of_host = lock(&self.of_host);
            of_host.retain(|_, places| Arc::strong_count(places) > 1);
            let count = approach.per_host.unwrap_or(self.per_host);
            Arc::clone(of_host.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(count))))
        };
        // The host's first: a slow host must not hold the places of others while its flights queue.
        let of_host = of_host.acquire_owned().await.expect("these semaphores are never closed");
        if let Some(turn) = self.turn(host, approach.delay) {
            sleep_until(turn).await;
        }
        let of_all = Arc::clone(&self.of_all).acquire_owned().await.expect("these semaphores are never closed");
        (of_all, of_host)
    }

    /// When one may ask who asks now.
    fn turn(&self, host: &str, delay: Duration) -> Option<Instant> {
        if delay.is_zero() {
            return None;
        }
        let now = Instant::now();
        let mut next = lock(&self.next);
        next.retain(|_, next| *next > now);
        let turn = next.get(host).copied().unwrap_or(now);
        next.insert(host.to_owned(), turn + delay);
        Some(turn)
    }
}
