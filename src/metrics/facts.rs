//! The one ledger of what this process has done, from which `/metrics`, `/api/v1/stats` and the
//! summary in the log are made. The main type is [`Facts`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::histogram::as_float;
use super::requests::{ByteSource, Outcome, RequestCounts, TransferEnd};
use super::upstream::{BucketCounts, FetchCounts, LookupCounts, OriginCounts};
use crate::model::EventCounts;

/// Counts of all modules since the start of the process. Each module counts in its own part.
#[derive(Debug)]
pub struct Facts {
    pub requests: Arc<RequestCounts>,
    pub fetches: Arc<FetchCounts>,
    pub origin: Arc<OriginCounts>,
    pub lookups: Arc<LookupCounts>,
    /// All zero without a bucket.
    pub bucket: Arc<BucketCounts>,
    pub events: Arc<EventCounts>,
}

/// Sums that people compare: how many requests and bytes the cache has saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficTotals {
    pub requests: u64,
    /// Whole files that clients asked for with GET and got, also from a redirect. Ranges, HEAD,
    /// 304 and errors do not count.
    pub downloads: u64,
    /// Downloads of stored bytes, or of bytes that were fetched for another request.
    pub hits: u64,
    /// Bytes of bodies sent to clients, without tunnels and Millpond's own texts.
    pub sent_bytes: u64,
    /// Those of them that cost no transfer from an origin.
    pub hit_bytes: u64,
    /// Bytes of bodies received from origins.
    pub received_bytes: u64,
    pub aborted_responses: u64,
    pub fetches_stored: u64,
    pub fetches_failed: u64,
}

impl Facts {
    /// Returns the sums up to now.
    #[must_use]
    pub fn totals(&self) -> TrafficTotals {
        let (requests, fetches) = (&self.requests, &self.fetches);
        let bytes = |is_counted: fn(ByteSource) -> bool| -> u64 {
            let endpoints = requests.sent_bytes.iter();
            endpoints
                .map(|(_, sources)| RequestCounts::sum(sources, is_counted))
                .sum()
        };
        let by_endpoint = requests.requests.iter();
        let all_requests = by_endpoint.map(|(_, outcomes)| RequestCounts::sum(outcomes, |_| true));
        let failed = RequestCounts::sum(&fetches.failed, |_| true);
        TrafficTotals {
            requests: all_requests.sum(),
            downloads: RequestCounts::sum(&requests.downloads, |_| true),
            hits: RequestCounts::sum(&requests.downloads, Outcome::is_hit),
            sent_bytes: bytes(ByteSource::is_of_target),
            hit_bytes: bytes(ByteSource::is_hit),
            received_bytes: self.origin.received_bytes(),
            aborted_responses: requests.ends.at(TransferEnd::Aborted).get(),
            fetches_stored: fetches.stored.get(),
            fetches_failed: failed + fetches.failed_without_cause.get(),
        }
    }
}

impl TrafficTotals {
    /// Returns the sums since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.combine(earlier, |sum, part| sum - part)
    }

    /// Returns the sums of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.combine(other, |sum, part| sum + part)
    }

    /// Returns whether each sum is as large as that of `earlier`, so that [`Self::since`] exists.
    #[must_use]
    pub fn covers(&self, earlier: &Self) -> bool {
        let mut pairs = self.sums().into_iter().zip(earlier.sums());
        pairs.all(|(sum, part)| sum >= part)
    }

    /// Returns whether no sum is greater than `bound`.
    #[must_use]
    pub fn is_at_most(&self, bound: u64) -> bool {
        self.sums().into_iter().all(|sum| sum <= bound)
    }

    fn sums(&self) -> [u64; 9] {
        let Self {
            requests,
            downloads,
            hits,
            sent_bytes,
            hit_bytes,
            received_bytes,
            aborted_responses,
            fetches_stored,
            fetches_failed,
        } = *self;
        [
            requests,
            downloads,
            hits,
            sent_bytes,
            hit_bytes,
            received_bytes,
            aborted_responses,
            fetches_stored,
            fetches_failed,
        ]
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            requests: with(self.requests, other.requests),
            downloads: with(self.downloads, other.downloads),
            hits: with(self.hits, other.hits),
            sent_bytes: with(self.sent_bytes, other.sent_bytes),
            hit_bytes: with(self.hit_bytes, other.hit_bytes),
            received_bytes: with(self.received_bytes, other.received_bytes),
            aborted_responses: with(self.aborted_responses, other.aborted_responses),
            fetches_stored: with(self.fetches_stored, other.fetches_stored),
            fetches_failed: with(self.fetches_failed, other.fetches_failed),
        }
    }

    /// Returns the part of the downloads that were hits. `None` without a download.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        ratio(self.hits, self.downloads)
    }

    /// Returns the part of the bytes that cost no transfer from an origin. `None` without bytes.
    #[must_use]
    pub fn byte_hit_ratio(&self) -> Option<f64> {
        ratio(self.hit_bytes, self.sent_bytes)
    }
}

/// Returns `part / whole`, between 0 and 1.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| as_float(part) / as_float(whole))
}
