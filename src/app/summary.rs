//! Summary of the traffic in the log, from the same ledger as `/metrics`. The main type is
//! [`TrafficSummary`].

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::metrics::{Facts, TrafficTotals};
use crate::model::lock;

/// Time between two summaries. The last one, at the stop, is about a part of it.
const SUMMARY_INTERVAL: Duration = Duration::from_hours(24);

/// Writes summaries, each about the time since the one before.
pub struct TrafficSummary {
    facts: Arc<Facts>,
    last: Mutex<(Instant, TrafficTotals)>,
}

impl TrafficSummary {
    /// Begins the first day now.
    pub fn new(facts: Arc<Facts>) -> Self {
        let last = (Instant::now(), facts.totals());
        Self {
            facts,
            last: Mutex::new(last),
        }
    }

    /// Writes a summary each day. Never returns.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(SUMMARY_INTERVAL).await;
            self.write();
        }
    }

    /// Writes the summary of the time since the last one.
    pub fn write(&self) {
        let (now, totals) = (Instant::now(), self.facts.totals());
        let (since, earlier) = std::mem::replace(&mut *lock(&self.last), (now, totals));
        let period = totals.since(&earlier);
        tracing::info!(
            period_s = now.duration_since(since).as_secs(),
            requests = period.requests,
            downloads = period.downloads,
            hits = period.hits,
            hit_ratio = period.hit_ratio(),
            sent_bytes = period.sent_bytes,
            hit_bytes = period.hit_bytes,
            byte_hit_ratio = period.byte_hit_ratio(),
            received_bytes = period.received_bytes,
            aborted_responses = period.aborted_responses,
            fetches_stored = period.fetches_stored,
            fetches_failed = period.fetches_failed,
            "summary"
        );
    }
}
