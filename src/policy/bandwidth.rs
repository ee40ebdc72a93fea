//! Bytes a second: of one client, and of the whole instance.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, InsufficientCapacity, NotUntil, Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::limits::ClientNet;
use crate::model::Rate;

/// What is counted in, in bytes. The limiter measures the time of one unit in whole nanoseconds: that of a byte would be
/// nothing at the speeds of a network.
const UNIT_BYTES: u64 = 1024;

/// So much goes at once at most, in units: then it is the next one's turn.
const MAX_SHARE_UNITS: u32 = 64;

/// At low rates less goes at once, so that many readers are each served before they lose patience.
const SHARES_A_SECOND: u32 = 100;

/// How much may be caught up with in one go, as a part of a second's bytes.
const BURST_PARTS_OF_SECOND: u32 = 20;

/// Whoever holds it is next. The wait for it is fair, so that none of many downloads starves, and only one of them has to be
/// woken at a time.
pub type Turn = Mutex<()>;

#[derive(Debug)]
pub struct Bandwidth {
    of_client: Option<DefaultKeyedRateLimiter<ClientNet>>,
    total: Option<(DefaultDirectRateLimiter, Turn)>,
    clock: DefaultClock,
    /// What one body may send before it is the next one's turn.
    share_bytes: u64,
}

impl Bandwidth {
    pub fn new(of_client: Rate, total: Rate) -> Self {
        let (of_client, total) = (units_per_second(of_client), units_per_second(total));
        let slowest = of_client.into_iter().chain(total).min().map_or(u32::MAX, NonZeroU32::get);
        // One unit less than a burst holds: a body's remainder may add one.
        let share_units = (slowest / SHARES_A_SECOND).clamp(1, MAX_SHARE_UNITS - 1);
        Self {
            of_client: of_client.map(|rate| RateLimiter::keyed(quota(rate))),
            total: total.map(|rate| (RateLimiter::direct(quota(rate)), Turn::default())),
            clock: DefaultClock::default(),
            share_bytes: u64::from(share_units) * UNIT_BYTES,
        }
    }

    pub fn is_limited(&self) -> bool {
        self.of_client.is_some() || self.total.is_some()
    }

    pub fn forget_rested(&self) {
        if let Some(limiter) = &self.of_client {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// Returns once `units` more may go to `client`.
    async fn wait(&self, client: Option<&(ClientNet, Arc<Turn>)>, units: NonZeroU32) {
        // A client waits for the instance's turn while it has its own: one with many downloads gets no more than others.
        let _turn = match client {
            Some((_, turn)) => Some(turn.lock().await),
            None => None,
        };
        if let (Some(limiter), Some((net, _))) = (&self.of_client, client) {
            self.until(|| limiter.check_key_n(net, units)).await;
        }
        if let Some((limiter, turn)) = &self.total {
            let _turn = turn.lock().await;
            self.until(|| limiter.check_n(units)).await;
        }
    }

    async fn until(&self, check: impl Fn() -> Checked) {
        loop {
            match check().expect("a share is never more than a burst") {
                Ok(()) => return,
                Err(not_until) => sleep(not_until.wait_time_from(self.clock.now())).await,
            }
        }
    }
}

type Checked = Result<Result<(), NotUntil<<DefaultClock as governor::clock::Clock>::Instant>>, InsufficientCapacity>;

fn units_per_second(rate: Rate) -> Option<NonZeroU32> {
    let units = u32::try_from(rate.bytes_per_second()? / UNIT_BYTES).unwrap_or(u32::MAX);
    Some(NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN))
}

fn quota(units_per_second: NonZeroU32) -> Quota {
    let burst = (units_per_second.get() / BURST_PARTS_OF_SECOND).max(MAX_SHARE_UNITS);
    Quota::per_second(units_per_second).allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

/// Holds the bytes of one body, or of one direction of a tunnel, to what is allowed.
#[derive(Debug)]
pub struct Pacer {
    bandwidth: Arc<Bandwidth>,
    client: Option<(ClientNet, Arc<Turn>)>,
    /// Less than a unit, in bytes.
    uncounted_bytes: u64,
}

impl Pacer {
    pub(super) fn new(bandwidth: &Arc<Bandwidth>, client: Option<(ClientNet, Arc<Turn>)>) -> Option<Self> {
        let is_paced = bandwidth.total.is_some() || bandwidth.of_client.is_some() && client.is_some();
        // The first byte costs a whole unit: otherwise many small bodies would cost nothing.
        is_paced.then(|| Self { bandwidth: Arc::clone(bandwidth), client, uncounted_bytes: UNIT_BYTES - 1 })
    }

    /// Returns once some of `wanted_bytes` may go, and how many: at least one, unless none were wanted.
    pub async fn take(&mut self, wanted_bytes: usize) -> usize {
        let share_bytes = usize::try_from(self.bandwidth.share_bytes).unwrap_or(usize::MAX).min(wanted_bytes);
        self.uncounted_bytes += share_bytes as u64;
        let units = u32::try_from(self.uncounted_bytes / UNIT_BYTES).expect("a share is a few units");
        self.uncounted_bytes %= UNIT_BYTES;
        if let Some(units) = NonZeroU32::new(units) {
            self.bandwidth.wait(self.client.as_ref(), units).await;
        }
        share_bytes
    }
}
