//! Bandwidth limits, in bytes per second: for each client and for the whole instance.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, InsufficientCapacity, NotUntil, Quota,
    RateLimiter,
};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::model::{ClientNet, Rate};

/// Accounting unit, in bytes.
///
/// The limiter stores the time of one unit in whole nanoseconds. At network speed, the time of one
/// byte would be rounded to zero.
const UNIT_BYTES: u64 = 1024;

/// Largest chunk that a body may send before the next body in the queue, in units.
const MAX_SHARE_UNITS: u32 = 64;

/// Chunks per second at low rates. Smaller chunks let every one of many readers get bytes before
/// its timeout.
const SHARES_A_SECOND: u32 = 100;

/// Divisor of one second's bytes that gives the burst.
const BURST_PARTS_OF_SECOND: u32 = 20;

/// Fair queue: the holder of the lock sends next.
///
/// No download starves, and only one waiter is woken at a time.
pub type FairQueue = Mutex<()>;

#[derive(Debug)]
pub struct Bandwidth {
    of_client: Option<DefaultKeyedRateLimiter<ClientNet>>,
    total: Option<(DefaultDirectRateLimiter, FairQueue)>,
    clock: DefaultClock,
    /// Bytes that one body may send before the next body in the queue.
    share_bytes: u64,
}

impl Bandwidth {
    pub fn new(of_client: Rate, total: Rate) -> Self {
        let (of_client, total) = (units_per_second(of_client), units_per_second(total));
        let slowest = of_client
            .into_iter()
            .chain(total)
            .min()
            .map_or(u32::MAX, NonZeroU32::get);
        // One unit below the burst, because the remainder of a body may add a unit.
        let share_units = (slowest / SHARES_A_SECOND).clamp(1, MAX_SHARE_UNITS - 1);
        Self {
            of_client: of_client.map(|rate| RateLimiter::keyed(quota(rate))),
            total: total.map(|rate| (RateLimiter::direct(quota(rate)), FairQueue::default())),
            clock: DefaultClock::default(),
            share_bytes: u64::from(share_units) * UNIT_BYTES,
        }
    }

    pub fn is_limited(&self) -> bool {
        self.of_client.is_some() || self.total.is_some()
    }

    pub fn prune_idle(&self) {
        if let Some(limiter) = &self.of_client {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// Waits until `units` may be sent to `client`.
    async fn wait(&self, client: Option<&(ClientNet, Arc<FairQueue>)>, units: NonZeroU32) {
        // A client holds its own lock while it waits for the instance's lock. So a client with many
        // downloads gets no larger share than the others.
        let _queued = match client {
            Some((_, fair_queue)) => Some(fair_queue.lock().await),
            None => None,
        };
        if let (Some(limiter), Some((net, _))) = (&self.of_client, client) {
            self.wait_for(|| limiter.check_key_n(net, units)).await;
        }
        if let Some((limiter, fair_queue)) = &self.total {
            let _queued = fair_queue.lock().await;
            self.wait_for(|| limiter.check_n(units)).await;
        }
    }

    async fn wait_for(&self, check: impl Fn() -> Checked) {
        loop {
            match check().expect("a share is never more than a burst") {
                Ok(()) => return,
                Err(not_until) => sleep(not_until.wait_time_from(self.clock.now())).await,
            }
        }
    }
}

type Checked = Result<
    Result<(), NotUntil<<DefaultClock as governor::clock::Clock>::Instant>>,
    InsufficientCapacity,
>;

fn units_per_second(rate: Rate) -> Option<NonZeroU32> {
    let units = u32::try_from(rate.bytes_per_second()? / UNIT_BYTES).unwrap_or(u32::MAX);
    Some(NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN))
}

fn quota(units_per_second: NonZeroU32) -> Quota {
    let burst = (units_per_second.get() / BURST_PARTS_OF_SECOND).max(MAX_SHARE_UNITS);
    Quota::per_second(units_per_second)
        .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

/// Bandwidth limiter for one body, or for one direction of a tunnel.
#[derive(Debug)]
pub struct Pacer {
    bandwidth: Arc<Bandwidth>,
    client: Option<(ClientNet, Arc<FairQueue>)>,
    /// Remainder below one unit, in bytes.
    uncounted_bytes: u64,
}

impl Pacer {
    pub(super) fn new(
        bandwidth: &Arc<Bandwidth>,
        client: Option<(ClientNet, Arc<FairQueue>)>,
    ) -> Option<Self> {
        let is_paced =
            bandwidth.total.is_some() || bandwidth.of_client.is_some() && client.is_some();
        // The first byte costs a whole unit. Otherwise many small bodies would not be limited.
        is_paced.then(|| Self {
            bandwidth: Arc::clone(bandwidth),
            client,
            uncounted_bytes: UNIT_BYTES - 1,
        })
    }

    /// Waits until some of `wanted_bytes` may be sent, and returns how many.
    ///
    /// The result is at least one, unless `wanted_bytes` is zero.
    pub async fn acquire(&mut self, wanted_bytes: usize) -> usize {
        let share_bytes = usize::try_from(self.bandwidth.share_bytes)
            .unwrap_or(usize::MAX)
            .min(wanted_bytes);
        self.uncounted_bytes += share_bytes as u64;
        let units =
            u32::try_from(self.uncounted_bytes / UNIT_BYTES).expect("a share is a few units");
        self.uncounted_bytes %= UNIT_BYTES;
        if let Some(units) = NonZeroU32::new(units) {
            self.bandwidth.wait(self.client.as_ref(), units).await;
        }
        share_bytes
    }
}
