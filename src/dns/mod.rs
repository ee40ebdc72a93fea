//! DNS failover: publishes and withdraws this node's addresses under a name that several nodes
//! share.
//!
//! The addresses are withdrawn while the node is not ready, and at shutdown. They are published
//! again after the node has been ready for a while. The last address of a name is never withdrawn.
//!
//! One task reads the name and updates it (RFC 2136, signed by RFC 8945). No client request waits
//! for the DNS server. The main type is [`Dns`].

mod config;
mod error;
mod node;
mod rrset;
mod steady;
mod wire;

use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use config::{Algorithm, Config};
pub use node::Node;

use crate::health::Readiness;
use error::DnsError;
use node::Standing;
use steady::{Steady, Wish};

/// Timeout of one attempt, which reads the name and updates it.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(5);

/// Wait before the second attempt. It doubles with each attempt.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Interval of checks after a successful attempt, because others may change the name.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);

/// Maximum time that a shutdown waits for the server.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

/// Task that publishes and withdraws the addresses.
pub struct Dns {
    stop: CancellationToken,
    keeping: JoinHandle<()>,
}

impl Dns {
    #[must_use]
    pub fn start(node: Node, readiness: Receiver<Readiness>) -> Self {
        let stop = CancellationToken::new();
        let steady = Steady::new(node.withdraw_after, node.restore_after, Instant::now());
        let keeper = Keeper { node, readiness, steady, report: Report::default(), rest: FIRST_REST };
        Self { keeping: tokio::spawn(keeper.keep(stop.clone())), stop }
    }

    /// Withdraws the addresses and stops the task. Gives up after `grace` or [`LEAVE_DEADLINE`].
    pub async fn leave(self, grace: Duration) {
        let Self { stop, mut keeping } = self;
        stop.cancel();
        if timeout(grace.min(LEAVE_DEADLINE), &mut keeping).await.is_err() {
            keeping.abort();
            tracing::warn!("shutdown: could not withdraw this node from DNS");
        }
    }
}

struct Keeper {
    node: Node,
    readiness: Receiver<Readiness>,
    steady: Steady,
    report: Report,
    /// Wait before the next attempt, if this one fails.
    rest: Duration,
}

impl Keeper {
    async fn keep(mut self, stop: CancellationToken) {
        let mut next_look = None;
        loop {
            let due = [self.steady.due(), next_look].into_iter().flatten().min();
            tokio::select! {
                () = stop.cancelled() => return self.leave().await,
                // An error means that the probe has ended, so readiness no longer changes.
                Ok(()) = self.readiness.changed() => {}
                () = until(due) => {}
            }
            self.hear();
            let now = Instant::now();
            let is_news = self.steady.settle(now);
            if is_news {
                self.rest = FIRST_REST;
                self.tell_wish();
            }
            let is_due = is_news || next_look.is_some_and(|look| look <= now);
            if let (true, Some(wish)) = (is_due, self.steady.wish()) {
                let standing = self.attempt(wish).await;
                next_look = Some(Instant::now() + self.rest_after(standing));
            }
        }
    }

    fn hear(&mut self) {
        let is_ready = *self.readiness.borrow_and_update() == Readiness::Ready;
        self.steady.hear(is_ready, Instant::now());
    }

    fn tell_wish(&self) {
        if let Readiness::NotReady(why) = &*self.readiness.borrow() {
            tracing::warn!(why, "node not ready, withdrawing from DNS");
        }
    }

    /// Returns `None` if the attempt failed.
    async fn attempt(&mut self, wish: Wish) -> Option<Standing> {
        let outcome = timeout(ATTEMPT_DEADLINE, self.node.see_to(wish)).await;
        let outcome = outcome.unwrap_or(Err(DnsError::Slow(ATTEMPT_DEADLINE)));
        self.report.tell(&outcome);
        outcome.ok()
    }

    fn rest_after(&mut self, standing: Option<Standing>) -> Duration {
        if standing == Some(Standing::AsWished) {
            self.rest = FIRST_REST;
            return LOOK_INTERVAL;
        }
        let rest = self.rest;
        self.rest = (rest * 2).min(LONGEST_REST);
        rest
    }

    /// Retries until the addresses are withdrawn. The caller sets a deadline.
    async fn leave(mut self) {
        while self.attempt(Wish::Withdrawn).await.is_none() {
            sleep(FIRST_REST).await;
        }
    }
}

/// State of the last log message, so that each change is logged once.
#[derive(Default)]
struct Report {
    is_in_trouble: bool,
    is_kept: bool,
}

impl Report {
    fn tell(&mut self, outcome: &Result<Standing, DnsError>) {
        match outcome {
            Ok(standing) => {
                if std::mem::take(&mut self.is_in_trouble) {
                    tracing::info!("DNS updates work again");
                }
                let was_kept = std::mem::replace(&mut self.is_kept, *standing == Standing::KeptAsLast);
                if self.is_kept && !was_kept {
                    tracing::warn!("keeping this node in DNS: its address is the last one of the name");
                }
            }
            Err(error) if std::mem::replace(&mut self.is_in_trouble, true) => {
                tracing::debug!(%error, "DNS update still failing, will retry");
            }
            Err(error) => tracing::warn!(%error, "DNS update failed, will retry"),
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
