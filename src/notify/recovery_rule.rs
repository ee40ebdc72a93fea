//! Condition under which an incident counts as recovered.

use crate::model::Cause;

/// Condition that closes an incident as recovered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RecoveryRule {
    /// Any target of the same host was stored.
    SameHost,
    /// The only target of the incident was stored, or any target of the host if there are several.
    /// An error status counts for its own target only, and that of one client's target must not
    /// end because of another client's.
    TargetOrHost,
    /// Each target of the incident was stored.
    SameTargets,
    /// Any target was stored.
    AnyTarget,
    /// A recovery event of the same cause.
    RecoveryEvent,
}

impl RecoveryRule {
    pub fn for_cause(cause: Cause) -> Self {
        match cause {
            Cause::UpstreamError => Self::TargetOrHost,
            Cause::UnknownHost | Cause::Unreachable | Cause::Timeout | Cause::InvalidResponse => {
                Self::SameHost
            }
            Cause::NotFound
            | Cause::RemovedUpstream
            | Cause::WrongFileType
            | Cause::ChecksumMismatch
            | Cause::ClientDigest
            | Cause::ContentChanged
            | Cause::Corruption => Self::SameTargets,
            Cause::NoSpace | Cause::StoreFailed => Self::AnyTarget,
            Cause::Bucket | Cause::Disk => Self::RecoveryEvent,
        }
    }
}
