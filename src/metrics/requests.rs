//! Facts about the requests of clients. The main type is [`RequestCounts`].

use std::time::Duration;

use super::costs::{Cost, CostCounts};
use super::histogram::{FIRST_BYTE_BUCKETS, Histogram, TRANSFER_BUCKETS};
use super::label::{ByLabel, Label, label_enum};
use crate::model::Counter;

label_enum! {
    /// Endpoint that a request has reached.
    RequestEndpoint {
        Gateway = "gateway",
        Proxy = "proxy",
        /// `CONNECT`.
        Tunnel = "tunnel",
        /// Below `/mirror/`.
        Mirror = "mirror",
        /// Below `/v2/`.
        Registry = "registry",
        Api = "api",
        /// Usage, version, and `robots.txt`.
        Page = "page",
        /// `/healthz` and `/readyz`.
        Health = "health",
        Metrics = "metrics",
    }
}

label_enum! {
    /// Result of a request for its client.
    Outcome {
        /// A stored response that may be used without asking the origin.
        Hit = "hit",
        /// A stored response that is stale, because the origin is away or is asked meanwhile.
        Stale = "stale",
        /// A stored response that the origin has confirmed.
        Revalidated = "revalidated",
        /// The body of a fetch that another request has started.
        Collapsed = "collapsed",
        /// The body of a fetch that this request has started.
        Miss = "miss",
        /// A redirect to the origin.
        Redirect = "redirect",
        /// The response of the origin, which is not stored, or a tunnel.
        Passed = "passed",
        /// A response that Millpond makes: a page, a list, or the response to an operator.
        Own = "own",
        /// The request is malformed or not allowed, or names nothing.
        Refused = "refused",
        /// A limit of the client or of this process was reached.
        Limited = "limited",
        /// The origin, the cache or a check has failed.
        Error = "error",
        /// The client closed its connection before its response began.
        Abandoned = "abandoned",
    }
}

label_enum! {
    /// Cacheability class of the target.
    TargetClass {
        Immutable = "immutable",
        Revalidate = "revalidate",
        Pass = "pass",
        /// The response is of no target, or an error.
        None = "none",
    }
}

label_enum! {
    /// First digit of a status.
    StatusClass {
        Informational = "1xx",
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
    }
}

label_enum! {
    /// Source of the bytes of a response.
    ByteSource {
        Disk = "disk",
        /// A file on the disk that nginx sends. The bytes of its whole response are counted.
        Nginx = "nginx",
        Bucket = "bucket",
        /// A fetch that another request has started.
        SharedFetch = "shared_fetch",
        /// A fetch that this request has started.
        OwnFetch = "own_fetch",
        /// Passed through.
        Origin = "origin",
        Tunnel = "tunnel",
        /// Pages, lists and error texts.
        Own = "own",
    }
}

label_enum! {
    /// End of a transfer to a client.
    TransferEnd {
        Complete = "complete",
        /// Bytes are missing: the client or the source has broken off.
        Aborted = "aborted",
        /// nginx sends the body.
        Offloaded = "offloaded",
        /// A tunnel without traffic was closed.
        Idle = "idle",
    }
}

impl Outcome {
    /// Whether the client got stored bytes, or bytes that were fetched for another request.
    #[must_use]
    pub fn is_hit(self) -> bool {
        matches!(
            self,
            Self::Hit | Self::Stale | Self::Revalidated | Self::Collapsed
        )
    }
}

impl ByteSource {
    /// Whether the bytes cost no transfer from an origin.
    #[must_use]
    pub fn is_hit(self) -> bool {
        match self {
            Self::Disk | Self::Nginx | Self::Bucket | Self::SharedFetch => true,
            Self::OwnFetch | Self::Origin | Self::Tunnel | Self::Own => false,
        }
    }

    /// Whether the bytes are part of the hit ratio: those of targets that could be stored or are
    /// passed through.
    #[must_use]
    pub fn is_of_target(self) -> bool {
        !matches!(self, Self::Tunnel | Self::Own)
    }
}

impl StatusClass {
    /// Returns the class of a status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            0..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

/// Part of a representation that a response has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// A whole file for a GET. It counts as a download.
    Download,
    /// A range, no body, or the response to another method.
    Other,
}

/// Facts about a request whose response has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedRequest {
    pub endpoint: RequestEndpoint,
    pub outcome: Outcome,
    pub class: TargetClass,
    pub status: u16,
    pub delivery: Delivery,
    pub source: ByteSource,
    /// Bytes of the body that were sent.
    pub sent_bytes: u64,
    pub end: TransferEnd,
    /// Time until the first byte of the body was there, or the head of a response without one.
    pub first_byte: Duration,
    pub duration: Duration,
}

impl EndedRequest {
    /// Returns the cost of the request for its client and its host.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let is_upstream = matches!(
            self.source,
            ByteSource::OwnFetch | ByteSource::Origin | ByteSource::Tunnel
        );
        Cost {
            requests: 1,
            sent_bytes: self.sent_bytes,
            upstream_bytes: if is_upstream { self.sent_bytes } else { 0 },
            limited: u64::from(self.outcome == Outcome::Limited),
        }
    }
}

/// Counts of all requests since the start of the process.
#[derive(Debug)]
pub struct RequestCounts {
    pub(super) requests: ByLabel<RequestEndpoint, ByLabel<Outcome>>,
    pub(super) responses: ByLabel<TargetClass, ByLabel<StatusClass>>,
    pub(super) downloads: ByLabel<Outcome>,
    pub(super) sent_bytes: ByLabel<RequestEndpoint, ByLabel<ByteSource>>,
    pub(super) ends: ByLabel<TransferEnd>,
    pub(super) first_byte: ByLabel<Outcome, Histogram>,
    pub(super) duration: ByLabel<RequestEndpoint, Histogram>,
    /// By client and by host.
    pub costs: CostCounts,
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            requests: ByLabel::default(),
            responses: ByLabel::default(),
            downloads: ByLabel::default(),
            sent_bytes: ByLabel::default(),
            ends: ByLabel::default(),
            first_byte: ByLabel::new(|| Histogram::new(FIRST_BYTE_BUCKETS)),
            duration: ByLabel::new(|| Histogram::new(TRANSFER_BUCKETS)),
            costs: CostCounts::default(),
        }
    }
}

impl RequestCounts {
    /// Counts a request whose response has ended.
    pub fn record(&self, request: &EndedRequest) {
        let (endpoint, outcome) = (request.endpoint, request.outcome);
        self.requests.at(endpoint).at(outcome).increment();
        self.duration.at(endpoint).record_duration(request.duration);
        if outcome == Outcome::Abandoned {
            return;
        }
        let status = StatusClass::of(request.status);
        self.responses.at(request.class).at(status).increment();
        self.first_byte
            .at(outcome)
            .record_duration(request.first_byte);
        self.ends.at(request.end).increment();
        let sent = self.sent_bytes.at(endpoint).at(request.source);
        sent.add(request.sent_bytes);
        if request.delivery == Delivery::Download {
            self.downloads.at(outcome).increment();
        }
    }

    /// Sums the cells of all labels for which `is_counted` holds.
    pub(super) fn sum<L: Label>(
        counts: &ByLabel<L, Counter>,
        is_counted: impl Fn(L) -> bool,
    ) -> u64 {
        let counted = counts.iter().filter(|(label, _)| is_counted(*label));
        counted.map(|(_, count)| count.get()).sum()
    }
}
