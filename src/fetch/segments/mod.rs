//! Ranges of one body that are fetched at the same time, because some origins limit the rate of a
//! connection.
//!
//! The bytes come out in order, so the rest of a fetch does not know of ranges: staging, hashing
//! and readers see one body. Ranges of different sources are never mixed. `plan`
//! says how a body is split, `hosts` remembers which hosts refuse ranges, `piece` is one range,
//! `ranges` are the connections, and `split_body` joins them with the response to the first
//! request.
//! This module knows no staged file and no reader. The main type is [`SplitBody`].

mod hosts;
mod piece;
mod plan;
mod ranges;
mod split_body;

pub use hosts::SegmentHosts;
pub use plan::{SplitPlan, SplitTrigger};
pub use split_body::SplitBody;
