//! This node's own addresses in DNS, where several machines stand behind one name: withdrawn while it is not ready, and at
//! its end; put back when it has been ready for a while. Never the last address of a name.
//!
//! One task looks at the name and changes it, one step at a time (RFC 2136, signed by RFC 8945). Whatever the server does,
//! no request waits for it. Its main type is [`Dns`].

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

/// How long the server may take for all that one look and its updates need.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(5);

/// The rest before the second attempt. It doubles with each one.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How often a name is looked at that stood as it should: somebody else may have changed it.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);

/// How long the end of the process waits for the server at most.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

/// The task that keeps the name as it should be.
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

    /// Withdraws the node for good. What the server does not do in the time that there is, it does not do.
    pub async fn leave(self, grace: Duration) {
        let Self { stop, mut keeping } = self;
        stop.cancel();
        if timeout(grace.min(LEAVE_DEADLINE), &mut keeping).await.is_err() {
            keeping.abort();
            tracing::warn!("this node stops, and was not withdrawn from DNS");
        }
    }
}

struct Keeper {
    node: Node,
    readiness: Receiver<Readiness>,
    steady: Steady,
    report: Report,
    /// Before the next attempt, if this one fails.
    rest: Duration,
}

impl Keeper {
    async fn keep(mut self, stop: CancellationToken) {
        let mut next_look = None;
        loop {
            let due = [self.steady.due(), next_look].into_iter().flatten().min();
            tokio::select! {
                () = stop.cancelled() => return self.leave().await,
                // An error means that the probing has ended, and nothing more will be heard.
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
            tracing::warn!(why, "this node is not ready, and is to be withdrawn from DNS");
        }
    }

    /// Nothing where the server did not do as it was asked.
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

    /// Whoever waits for this has a deadline.
    async fn leave(mut self) {
        while self.attempt(Wish::Withdrawn).await.is_none() {
            sleep(FIRST_REST).await;
        }
    }
}

/// What was told last, so that it is told once.
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
                    tracing::info!("the DNS server does as it is asked again");
                }
                let was_kept = std::mem::replace(&mut self.is_kept, *standing == Standing::KeptAsLast);
                if self.is_kept && !was_kept {
                    tracing::warn!("this node stays in DNS: it is the last that the name has");
                }
            }
            Err(error) if std::mem::replace(&mut self.is_in_trouble, true) => {
                tracing::debug!(%error, "the DNS server still does not do as it is asked");
            }
            Err(error) => tracing::warn!(%error, "the DNS server does not do as it is asked; it is tried again"),
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
