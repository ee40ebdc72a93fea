//! Metrics: the one ledger of facts, and the page that Prometheus scrapes.
//!
//! Modules count in typed counters, by labels from closed sets. `/metrics`, `/api/v1/stats` and the
//! summary in the log are made from the same counters, so that they never disagree. This module
//! does not know who counts, and only it knows the format of Prometheus. Its main type is
//! [`Facts`].

mod costs;
mod facts;
mod gauges;
mod histogram;
mod label;
mod page;
mod process;
mod render;
mod render_counts;
mod render_gauges;
mod requests;
mod upstream;

pub use costs::{Cost, CostCounts};
pub use facts::{Facts, TrafficTotals};
pub use gauges::{
    Circuit, Gauges, IndexGauges, PeerTrafficCounts, Pool, PoolGauges, StorageGauges,
};
pub use label::{ByLabel, Label};
pub use process::ProcessGauges;
pub use render::{MetricsFormat, render};
pub use requests::{
    ByteSource, Delivery, EndedRequest, Outcome, RequestCounts, RequestEndpoint, StatusClass,
    TargetClass, TransferEnd,
};
pub use upstream::{
    AttemptResult, BucketCounts, BucketOperation, BucketResult, ExchangeResult, FetchCounts,
    FetchEnd, HostCounts, LookupCounts, LookupResult, OriginCounts, OriginResult, SourceLabel,
};
