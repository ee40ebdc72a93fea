//! DNS failover: publishes and withdraws this node's addresses under a name that several nodes
//! share.
//!
//! The addresses are withdrawn while the node is not ready, and at shutdown. They are published
//! again after the node has been ready for a while. The last address of a name is never withdrawn.
//!
//! One task reads the name and updates it (RFC 2136, signed by RFC 8945). No client request waits
//! for the DNS server. The main type is [`Dns`].

mod client;
mod config;
mod error;
mod hysteresis;
mod publisher;
mod rrset;

use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use config::{Config, TsigKeyAlgorithm};
pub use publisher::DnsPublisher;

use crate::health::Readiness;
use crate::retry::Backoff;
use error::DnsError;
use hysteresis::{DesiredState, Hysteresis};
use publisher::PublishResult;

/// Timeout of one attempt, which reads the name and updates it.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(5);

/// Wait before the second attempt. It doubles with each attempt.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// Maximum wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Interval of checks after a successful attempt, because others may change the name.
const RECHECK_INTERVAL: Duration = Duration::from_mins(1);

/// Maximum time that a shutdown waits for the server.
const WITHDRAW_DEADLINE: Duration = Duration::from_secs(5);

/// Task that publishes and withdraws the addresses.
pub struct Dns {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Dns {
    /// Starts the task.
    #[must_use]
    pub fn start(publisher: DnsPublisher, readiness: Receiver<Readiness>) -> Self {
        let stop = CancellationToken::new();
        let hysteresis = Hysteresis::new(
            publisher.withdraw_after,
            publisher.restore_after,
            Instant::now(),
        );
        let task = PublisherTask {
            publisher,
            readiness,
            hysteresis,
            log: LogOnce::default(),
            backoff: Backoff::new(FIRST_BACKOFF, MAX_BACKOFF),
        };
        Self {
            task: tokio::spawn(task.run(stop.clone())),
            stop,
        }
    }

    /// Withdraws the addresses and stops the task. Gives up after `grace` or [`WITHDRAW_DEADLINE`].
    pub async fn withdraw_and_stop(self, grace: Duration) {
        let Self { stop, mut task } = self;
        stop.cancel();
        if timeout(grace.min(WITHDRAW_DEADLINE), &mut task)
            .await
            .is_err()
        {
            task.abort();
            tracing::warn!("shutdown: could not withdraw this node from DNS");
        }
    }
}

struct PublisherTask {
    publisher: DnsPublisher,
    readiness: Receiver<Readiness>,
    hysteresis: Hysteresis,
    log: LogOnce,
    /// Wait before the next attempt, if this one fails.
    backoff: Backoff,
}

impl PublisherTask {
    async fn run(mut self, stop: CancellationToken) {
        let mut next_attempt = None;
        loop {
            let due = [self.hysteresis.next_change_at(), next_attempt]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                () = stop.cancelled() => return self.withdraw().await,
                // An error means that the probe has ended, so readiness no longer changes.
                Ok(()) = self.readiness.changed() => {}
                () = sleep_until_due(due) => {}
            }
            self.observe_readiness();
            let now = Instant::now();
            let has_changed = self.hysteresis.advance(now);
            if has_changed {
                self.backoff.reset();
                self.log_desired_state();
            }
            let is_due = has_changed || next_attempt.is_some_and(|at| at <= now);
            if let (true, Some(desired)) = (is_due, self.hysteresis.desired()) {
                let result = self.attempt(desired).await;
                next_attempt = Some(Instant::now() + self.delay_after(result));
            }
        }
    }

    fn observe_readiness(&mut self) {
        let is_ready = *self.readiness.borrow_and_update() == Readiness::Ready;
        self.hysteresis.observe(is_ready, Instant::now());
    }

    fn log_desired_state(&self) {
        if let Readiness::NotReady(why) = &*self.readiness.borrow() {
            tracing::warn!(why, "node not ready, withdrawing from DNS");
        }
    }

    /// Makes one attempt. Returns `None` if it failed.
    async fn attempt(&mut self, desired: DesiredState) -> Option<PublishResult> {
        let outcome = timeout(ATTEMPT_DEADLINE, self.publisher.reconcile(desired)).await;
        let outcome = outcome.unwrap_or(Err(DnsError::Timeout(ATTEMPT_DEADLINE)));
        self.log.log_change(&outcome);
        outcome.ok()
    }

    /// Returns the wait before the next attempt.
    fn delay_after(&mut self, result: Option<PublishResult>) -> Duration {
        if result == Some(PublishResult::Applied) {
            self.backoff.reset();
            return RECHECK_INTERVAL;
        }
        self.backoff.next_delay()
    }

    /// Retries until the addresses are withdrawn. The caller sets a deadline.
    async fn withdraw(mut self) {
        while self.attempt(DesiredState::Withdrawn).await.is_none() {
            sleep(FIRST_BACKOFF).await;
        }
    }
}

/// State of the last log message, so that each change is logged once.
#[derive(Default)]
struct LogOnce {
    is_failing: bool,
    is_last_address: bool,
}

impl LogOnce {
    fn log_change(&mut self, outcome: &Result<PublishResult, DnsError>) {
        match outcome {
            Ok(result) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("DNS updates work again");
                }
                let was_last_address = std::mem::replace(
                    &mut self.is_last_address,
                    *result == PublishResult::KeptLastAddress,
                );
                if self.is_last_address && !was_last_address {
                    tracing::warn!(
                        "keeping this node in DNS: its address is the last one of the name"
                    );
                }
            }
            Err(error) if std::mem::replace(&mut self.is_failing, true) => {
                tracing::debug!(%error, "DNS update still failing, will retry");
            }
            Err(error) => tracing::warn!(%error, "DNS update failed, will retry"),
        }
    }
}

async fn sleep_until_due(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
