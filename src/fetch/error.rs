use std::time::Duration;

use crate::cache::{CacheError, DiskError};
use crate::model::{Cause, Expected, Sha256};
use crate::origin::OriginError;

/// What a flight came to, if not to a body. Everybody who followed it gets the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The bytes are not those that were expected; nothing was stored.
    #[error("the bytes are not those expected: {expected} was expected, sha256:{found} came")]
    Mismatch { expected: Expected, found: Sha256 },
    /// The body cannot be what its name says; nothing was stored.
    #[error("the origin sent something that is not what the name says")]
    Impostor,
    /// What came after a break is not what followers had seen before it. The next fetch may get the new file whole.
    #[error("the origin's body changed between two attempts")]
    Changed,
    /// There is no space for it. Whoever wants it can have it passed through.
    #[error("there is no space to store the body")]
    NoSpace,
    /// It could not be kept for another reason. Whoever wants it can have it passed through.
    #[error("the body could not be stored")]
    Unstorable,
    #[error("the fetch took longer than fetch.budget")]
    OverBudget,
    #[error("too many fetches are under way")]
    Busy,
    #[error("the gateway is stopping")]
    Stopping,
}

impl FetchError {
    /// Whether another attempt can help. A page in place of an archive is often gone at the next: it came from one mirror of
    /// many, or asked a browser to wait.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Origin(error) => error.is_passing(),
            Self::Impostor => true,
            Self::Mismatch { .. }
            | Self::Changed
            | Self::NoSpace
            | Self::Unstorable
            | Self::OverBudget
            | Self::Busy
            | Self::Stopping => false,
        }
    }

    /// Whether another source may do better.
    pub(super) fn is_the_sources(&self) -> bool {
        match self {
            Self::Origin(_) | Self::Mismatch { .. } | Self::Impostor | Self::Changed => true,
            Self::NoSpace | Self::Unstorable | Self::OverBudget | Self::Busy | Self::Stopping => false,
        }
    }

    /// How long the origin wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Origin(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether the next to ask shall be told the same for a while, instead of asking again.
    pub(super) fn is_worth_remembering(&self) -> bool {
        match self {
            // The host's circuit remembers the first, and knows when it may be asked again.
            Self::Origin(OriginError::Resting { .. })
            | Self::Changed
            | Self::NoSpace
            | Self::Unstorable
            | Self::Busy
            | Self::Stopping => false,
            Self::Origin(_) | Self::Mismatch { .. } | Self::Impostor | Self::OverBudget => true,
        }
    }

    /// What an operator may want to know of, where `on_record` is what the target has given before. What policy refuses and
    /// what this process itself puts off are nothing to look after.
    pub(super) fn cause(&self, on_record: Option<Sha256>) -> Option<Cause> {
        Some(match self {
            Self::Origin(OriginError::Resting { last, .. }) => return Self::Origin((**last).clone()).cause(on_record),
            Self::Origin(OriginError::Refused(_)) | Self::Busy | Self::Stopping => return None,
            Self::Origin(OriginError::Status { status: 404 | 410, .. }) if on_record.is_some() => Cause::Gone,
            Self::Origin(OriginError::Status { status: 404 | 410, .. }) => Cause::Absent,
            Self::Origin(OriginError::Status { .. }) => Cause::Status,
            Self::Origin(OriginError::Silent(_)) => Cause::Silent,
            Self::Origin(OriginError::Wrong(_) | OriginError::Untrusted(_)) | Self::Changed => Cause::Wrong,
            Self::Mismatch { found, .. } if on_record.is_some_and(|kept| kept != *found) => Cause::Changed,
            Self::Mismatch { .. } => Cause::Mismatch,
            Self::Impostor => Cause::Impostor,
            Self::NoSpace => Cause::NoSpace,
            Self::Unstorable => Cause::StoreFailed,
            Self::OverBudget => Cause::Slow,
        })
    }
}

impl From<CacheError> for FetchError {
    /// The store's trouble is told to the log here; what is left is that the body cannot be kept.
    fn from(error: CacheError) -> Self {
        tracing::warn!(%error, "a body could not be stored");
        if error.is_no_space() { Self::NoSpace } else { Self::Unstorable }
    }
}

impl From<DiskError> for FetchError {
    fn from(error: DiskError) -> Self {
        CacheError::from(error).into()
    }
}
