//! Facts about requests to origins, buckets and name servers, and about fetches.
//!
//! The main types are [`FetchCounts`] and [`OriginCounts`].

use std::sync::Arc;
use std::time::Duration;

use super::histogram::{Histogram, SIZE_BUCKETS, TRANSFER_BUCKETS};
use super::label::{ByLabel, Label, label_enum};
use crate::model::{Cause, Counter};

/// Maximum number of hosts with a label of their own. A series that is named by clients would grow
/// without a bound.
const MAX_HOSTS: usize = 64;

/// Label of all other hosts.
const OTHER_HOST: &str = "other";

label_enum! {
    /// Kind of a source that a fetch has asked.
    SourceLabel {
        Origin = "origin",
        Mirror = "mirror",
        Parent = "parent",
        Archive = "archive",
        /// A node of the cluster.
        Peer = "peer",
    }
}

label_enum! {
    /// Result of one attempt at a source.
    AttemptResult {
        Complete = "complete",
        Failed = "failed",
    }
}

label_enum! {
    /// Result of an exchange of class `revalidate` with the origin.
    ExchangeResult {
        /// The stored response is valid.
        NotModified = "not_modified",
        /// A new response was stored.
        Stored = "stored",
        /// The response was passed on and not stored.
        Passed = "passed",
        Failed = "failed",
    }
}

label_enum! {
    /// Result of one request to an origin, a redirect included.
    OriginResult {
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        /// No connection, or one that broke before the response.
        Unreachable = "unreachable",
        Tls = "tls",
        /// The response was no valid one.
        Invalid = "invalid",
        /// Policy or Millpond itself prevented the request.
        NotSent = "not_sent",
    }
}

label_enum! {
    /// Result of a name lookup.
    LookupResult {
        Found = "found",
        NoAddress = "no_address",
        Timeout = "timeout",
        Failed = "failed",
        /// Too many lookups waited.
        Displaced = "displaced",
    }
}

label_enum! {
    /// Kind of a request to the bucket.
    BucketOperation {
        Read = "read",
        /// A read at a near replica of the bucket.
        ReplicaRead = "replica_read",
        Write = "write",
    }
}

label_enum! {
    /// Result of a request to the bucket.
    BucketResult {
        Success = "success",
        NotFound = "not_found",
        Failed = "failed",
        /// The circuit was open, so that nothing was sent.
        Paused = "paused",
    }
}

impl Label for Cause {
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

/// End of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchEnd {
    Stored {
        size_bytes: u64,
    },
    /// Another process has stored it.
    AlreadyStored,
    /// `None` if nothing is wrong with the target, such as at a stop.
    Failed(Option<Cause>),
}

/// Counts of fetches since the start of the process.
#[derive(Debug)]
pub struct FetchCounts {
    pub(super) stored: Counter,
    pub(super) already_stored: Counter,
    pub(super) failed: ByLabel<Cause>,
    pub(super) failed_without_cause: Counter,
    /// Attempts at a source that had been tried before in the same fetch.
    pub retries: Counter,
    pub(super) attempts: ByLabel<SourceLabel, ByLabel<AttemptResult>>,
    pub exchanges: ByLabel<ExchangeResult>,
    pub(super) duration: Histogram,
    pub(super) object_size: Histogram,
}

impl Default for FetchCounts {
    fn default() -> Self {
        Self {
            stored: Counter::default(),
            already_stored: Counter::default(),
            failed: ByLabel::default(),
            failed_without_cause: Counter::default(),
            retries: Counter::default(),
            attempts: ByLabel::default(),
            exchanges: ByLabel::default(),
            duration: Histogram::new(TRANSFER_BUCKETS),
            object_size: Histogram::new(SIZE_BUCKETS),
        }
    }
}

impl FetchCounts {
    /// Counts a fetch that has ended.
    pub fn record_end(&self, end: FetchEnd, duration: Duration) {
        self.duration.record_duration(duration);
        match end {
            FetchEnd::Stored { size_bytes } => {
                self.stored.increment();
                self.object_size.record(size_bytes);
            }
            FetchEnd::AlreadyStored => self.already_stored.increment(),
            FetchEnd::Failed(Some(cause)) => self.failed.at(cause).increment(),
            FetchEnd::Failed(None) => self.failed_without_cause.increment(),
        }
    }

    /// Counts one attempt at a source.
    pub fn record_attempt(&self, source: SourceLabel, result: AttemptResult) {
        self.attempts.at(source).at(result).increment();
    }
}

/// Counts of name lookups by result. Answers from the resolver's cache count as well.
pub type LookupCounts = ByLabel<LookupResult>;

/// Counts of requests to the bucket by operation and result.
pub type BucketCounts = ByLabel<BucketOperation, ByLabel<BucketResult>>;

/// Counts of requests to origins, by host.
#[derive(Debug)]
pub struct OriginCounts {
    /// Host patterns of rules, with their counts.
    hosts: Vec<(String, Arc<HostCounts>)>,
    other: Arc<HostCounts>,
}

/// Counts of requests to one host, or to all hosts without a label of their own.
#[derive(Debug, Default)]
pub struct HostCounts {
    pub requests: ByLabel<OriginResult>,
    /// Bytes of bodies that were received.
    pub received_bytes: Counter,
}

impl OriginCounts {
    /// Gives the first of these host patterns a label of their own. A pattern that begins with a
    /// dot includes subdomains.
    #[must_use]
    pub fn new(patterns: impl Iterator<Item = String>) -> Self {
        let mut hosts: Vec<(String, Arc<HostCounts>)> = Vec::new();
        for pattern in patterns {
            let is_known = hosts.iter().any(|(known, _)| *known == pattern);
            if !is_known && !pattern.is_empty() && hosts.len() < MAX_HOSTS {
                hosts.push((pattern, Arc::default()));
            }
        }
        Self {
            hosts,
            other: Arc::default(),
        }
    }

    /// Returns the counts that requests to a host belong to.
    #[must_use]
    pub fn of_host(&self, host: &str) -> &Arc<HostCounts> {
        let mut hosts = self.hosts.iter();
        let found = hosts.find(|(pattern, _)| is_match(pattern, host));
        found.map_or(&self.other, |(_, counts)| counts)
    }

    /// Returns all counts with the label of their hosts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostCounts)> {
        let named = self.hosts.iter();
        let named = named.map(|(host, counts)| (host.as_str(), &**counts));
        named.chain([(OTHER_HOST, &*self.other)])
    }

    /// Returns the bytes that all hosts have sent.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        let all = self.iter();
        all.map(|(_, counts)| counts.received_bytes.get()).sum()
    }
}

/// Returns whether a pattern of a rule names a host.
fn is_match(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('.') {
        Some(name) => host == name || host.ends_with(pattern),
        None => host == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_label_count_as_other() {
        let names = (0..1000).map(|number| format!("h{number}.example.org"));
        let counts = OriginCounts::new(names);
        for number in 0..1000 {
            let host = counts.of_host(&format!("h{number}.example.org"));
            host.received_bytes.increment();
        }
        assert_eq!(counts.iter().count(), MAX_HOSTS + 1);
        assert_eq!(counts.received_bytes(), 1000);
    }

    #[test]
    fn pattern_with_dot_includes_subdomains() {
        let patterns = [".example.org", "example.net", ".example.org", ""];
        let counts = OriginCounts::new(patterns.map(str::to_owned).into_iter());
        for host in [
            "example.org",
            "a.example.org",
            "badexample.org",
            "example.net",
        ] {
            counts.of_host(host).received_bytes.increment();
        }
        let found: Vec<_> = counts
            .iter()
            .map(|(host, counts)| (host, counts.received_bytes.get()))
            .collect();
        let wanted = [(".example.org", 2), ("example.net", 1), ("other", 1)];
        assert_eq!(found, wanted);
    }

    #[test]
    fn causes_have_distinct_names_and_positions() {
        let labels = <Cause as Label>::ALL;
        for (position, cause) in labels.iter().enumerate() {
            assert_eq!(cause.index(), position);
            let same = labels
                .iter()
                .filter(|other| other.as_str() == cause.as_str());
            assert_eq!(same.count(), 1);
        }
    }
}
