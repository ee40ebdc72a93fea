//! Context of one fetch, and the steps that a fetch and a refresh have in common. The main type is
//! [`FetchTask`].

use std::sync::Arc;
use std::time::Instant;

use super::FetchError;
use super::in_flight::FetchPurpose;
use super::multi_process::wait_for_lease_release;
use super::report::FetchReport;
use super::shared_body::SharedBody;
use super::state::FetcherState;
use crate::cache::TargetLookup;
use crate::model::{ExpectedDigests, Key, Record, Target};
use crate::policy::Admitted;

/// One fetch of one target. The steps are in `job` and, for operators, in `refresh`.
pub struct FetchTask<'a> {
    pub state: &'a FetcherState,
    pub key: Key,
    pub admitted: &'a Admitted,
    /// Digests that the first reader states. Only a fetch of other bytes than the answer selects
    /// bytes by them.
    pub wanted: &'a ExpectedDigests,
    /// Body that the fetch writes and its readers read.
    pub body: &'a SharedBody,
    pub report: FetchReport,
    /// Base URLs of the peers that are asked first.
    pub peers: &'a [Target],
    started: Instant,
}

impl<'a> FetchTask<'a> {
    pub fn new(
        state: &'a FetcherState,
        admitted: &'a Admitted,
        wanted: &'a ExpectedDigests,
        body: &'a SharedBody,
    ) -> Self {
        Self {
            state,
            key: Key::new(admitted.target()),
            admitted,
            wanted,
            body,
            report: FetchReport::new(admitted),
            peers: &[],
            started: Instant::now(),
        }
    }

    /// Waits until the other fetch of the target has ended, in this process and in others.
    pub async fn wait_for_other_fetches(&self) {
        let key = self.key;
        let other = self
            .state
            .in_flight()
            .get(key, FetchPurpose::Answer)
            .cloned();
        if let Some(other) = other {
            other.wait_finished().await;
        }
        let timeout = self.state.config.idle_timeout.0;
        wait_for_lease_release(&self.state.cache, key, timeout).await;
    }

    /// Looks the target up on the disk, past the lookup cache.
    ///
    /// # Errors
    /// [`FetchError::StoreFailed`] if the records cannot be read. Without them, nothing may be
    /// stored for the target.
    pub async fn read_records(&self) -> Result<TargetLookup, FetchError> {
        let lookup = self.state.cache.lookup_uncached(self.admitted.target());
        lookup.await.map_err(|error| {
            tracing::warn!(%error, "cache lookup failed, fetch ends");
            FetchError::StoreFailed
        })
    }

    /// Counts the finished fetch, emits its events and logs its result.
    pub fn report_outcome(&self, outcome: &Result<Arc<Record>, FetchError>) {
        let duration = self.started.elapsed();
        // A reader of the log finds the fetch counted.
        self.state
            .counts
            .record_end(self.report.end_of(outcome), duration);
        self.report.publish(
            &self.state.events,
            self.admitted.target(),
            outcome,
            duration,
        );
    }
}
