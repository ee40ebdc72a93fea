//! Bytes a second: of one client, and of the whole instance.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, InsufficientCapacity, NotUntil, Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::limits::{ClientNet, Limits};
use crate::model::Rate;

/// What is counted in, in bytes. The limiter measures the time of one unit in whole nanoseconds: that of a byte would be
/// nothing at the speeds of a network.
const UNIT_BYTES: u64 = 1024;

/// So much goes at once at most, in units: then it is the next one's turn.
const SHARE_UNITS: u32 = 64;

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
}

impl Bandwidth {
    pub fn new(of_client: Rate, total: Rate) -> Self {
        Self {
            of_client: quota(of_client).map(RateLimiter::keyed),
            total: quota(total).map(|quota| (RateLimiter::direct(quota), Turn::default())),
            clock: DefaultClock::default(),
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
        let mut _turn = None;
        if let (Some(limiter), Some((net, turn))) = (&self.of_client, client) {
            _turn = Some(turn.lock().await);
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

fn quota(rate: Rate) -> Option<Quota> {
    let units_per_second = u32::try_from(rate.bytes_per_second()? / UNIT_BYTES).unwrap_or(u32::MAX);
    let units_per_second = NonZeroU32::new(units_per_second).unwrap_or(NonZeroU32::MIN);
    let burst = (units_per_second.get() / BURST_PARTS_OF_SECOND).max(SHARE_UNITS);
    Some(Quota::per_second(units_per_second).allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN)))
}

/// Holds the bytes of one body, or of one direction of a tunnel, to what is allowed.
#[derive(Debug)]
pub struct Pacer {
    limits: Arc<Limits>,
    client: Option<(ClientNet, Arc<Turn>)>,
    /// Less than a unit, in bytes.
    uncounted_bytes: u64,
}

impl Pacer {
    pub(super) fn new(limits: &Arc<Limits>, client: Option<(ClientNet, Arc<Turn>)>) -> Option<Self> {
        let bandwidth = &limits.bandwidth;
        let is_paced = bandwidth.total.is_some() || bandwidth.of_client.is_some() && client.is_some();
        is_paced.then(|| Self { limits: Arc::clone(limits), client, uncounted_bytes: 0 })
    }

    /// Returns once `size_bytes` more may go.
    pub async fn pace(&mut self, size_bytes: usize) {
        self.uncounted_bytes += size_bytes as u64;
        let mut units = self.uncounted_bytes / UNIT_BYTES;
        self.uncounted_bytes %= UNIT_BYTES;
        while units > 0 {
            let share = u32::try_from(units).unwrap_or(u32::MAX).min(SHARE_UNITS);
            units -= u64::from(share);
            let share = NonZeroU32::new(share).expect("there are units left");
            self.limits.bandwidth.wait(self.client.as_ref(), share).await;
        }
    }
}
