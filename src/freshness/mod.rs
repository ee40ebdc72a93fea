//! HTTP caching by RFC 9111: which responses may be stored, how long they are fresh, and when a
//! stale one may answer.
//!
//! Functions of header fields and times only: the module reads no clock, does no I/O and knows no
//! target. It adds `stale-while-revalidate` and `stale-if-error` (RFC 5861) and `CDN-Cache-Control`
//! (RFC 9213). Its main type is [`StoredResponse`].

mod age;
mod directives;
mod observation;
mod reuse;
mod storable;
mod validation;
mod vary;

use std::time::SystemTime;

pub use age::Freshness;
pub use directives::Directives;
pub use observation::{
    Completeness, MAX_OBSERVATION_BYTES, Observation, ObservationError, Redirects,
};
pub use reuse::{RequestLimits, Reuse, ReusePolicy, Staleness};
pub use storable::{NotStorable, WithoutValidator, check_storable};
pub use validation::{
    HeadResponse, HeadUse, conditional_fields, freshen, invalidates, is_about, judge_head,
};
pub use vary::{VaryKey, VaryNames};

use crate::model::Fields;

/// The head of a response, and the times of the exchange that brought it.
#[derive(Debug, Clone, Copy)]
pub struct StoredResponse<'a> {
    pub status: u16,
    pub fields: &'a Fields,
    /// Time at which the request was sent.
    pub requested_at: SystemTime,
    /// Time at which the head arrived.
    pub received_at: SystemTime,
}

/// Creates fields for tests.
#[cfg(test)]
fn test_fields(lines: &[(&str, &str)]) -> Fields {
    let lines = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
    lines.collect()
}
