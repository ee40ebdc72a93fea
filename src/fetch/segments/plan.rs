//! How a body is split into ranges, and the services that their requests need. The main type is
//! [`SplitPlan`].

use std::time::Duration;

use super::hosts::SegmentHosts;
use crate::fetch::host_limits::HostLimiter;
use crate::limits::Readership;
use crate::origin::{Origin, Validator};
use crate::policy::Admitted;

/// Bounds of the size of a piece, in bytes. A larger one costs memory, a smaller one requests.
const MIN_PIECE_BYTES: u64 = 1 << 20;
const MAX_PIECE_BYTES: u64 = 4 << 20;

/// Number of pieces that each connection gets, if the bounds allow it. With fewer, the last pieces
/// would end at different times.
const PIECES_A_CONNECTION: u64 = 8;

/// How many pieces may be ahead of the bytes that are read, beyond one for each connection.
const PIECES_AHEAD: usize = 2;

/// When a body is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitTrigger {
    AtOnce,
    /// If the first connection brings fewer bytes a second.
    Below(u64),
}

/// Body that may be requested in ranges, and what their requests need.
pub struct SplitPlan<'a> {
    pub origin: &'a Origin,
    pub hosts: &'a SegmentHosts,
    pub limiter: &'a HostLimiter,
    pub readership: &'a Readership,
    /// Longest wait for the permit of a host.
    pub longest_wait: Duration,
    pub admitted: &'a Admitted,
    pub validator: Validator,
    /// Whether the body will be compared with an expected digest.
    pub digest_expected: bool,
    pub complete_bytes: u64,
    /// Maximum number of connections.
    pub segments: usize,
    pub trigger: SplitTrigger,
}

impl SplitPlan<'_> {
    /// Returns the size of the pieces of a body that is split at `position`, in bytes.
    pub fn piece_bytes(&self, position: u64) -> u64 {
        let pieces = self.segments as u64 * PIECES_A_CONNECTION;
        let rest = self.complete_bytes.saturating_sub(position);
        (rest / pieces.max(1)).clamp(MIN_PIECE_BYTES, MAX_PIECE_BYTES)
    }

    /// Returns the maximum number of pieces that are requested and not read.
    pub fn max_pieces(&self) -> usize {
        self.segments + PIECES_AHEAD
    }
}
