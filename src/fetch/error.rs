use std::time::Duration;

use crate::cache::{CacheError, DiskError};
use crate::model::{Cause, ExpectedDigests, Sha256};
use crate::origin::OriginError;

/// What a flight came to, if not to a body. Everybody who followed it gets the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The bytes are not those that were expected; nothing was stored.
    #[error("the bytes are not those expected: {expected} was expected, sha256:{found} came")]
    Mismatch {
        expected: ExpectedDigests,
        found: Sha256,
    },
    /// The body cannot be what its name says; nothing was stored.
    #[error("the origin sent something that is not what the name says")]
    WrongFileType,
    /// What came after a break is not what followers had seen before it. The next fetch may get the
    /// new file whole.
    #[error("the origin's body changed between two attempts")]
    ChangedDuringFetch,
    /// There is no space for it. Whoever wants it can have it passed through.
    #[error("there is no space to store the body")]
    NoSpace,
    /// It could not be kept for another reason. Whoever wants it can have it passed through.
    #[error("the body could not be stored")]
    StoreFailed,
    #[error("the fetch took longer than fetch.budget")]
    DeadlineExceeded,
    #[error("too many fetches are under way")]
    TooManyFetches,
    #[error("the gateway is stopping")]
    Stopping,
}

impl FetchError {
    /// Whether another attempt can help. A page in place of an archive is often gone at the next:
    /// it came from one mirror of many, or asked a browser to wait.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Origin(error) => error.is_transient(),
            Self::WrongFileType => true,
            Self::Mismatch { .. }
            | Self::ChangedDuringFetch
            | Self::NoSpace
            | Self::StoreFailed
            | Self::DeadlineExceeded
            | Self::TooManyFetches
            | Self::Stopping => false,
        }
    }

    /// Whether another source may do better.
    pub(super) fn can_try_next_source(&self) -> bool {
        match self {
            Self::Origin(_)
            | Self::Mismatch { .. }
            | Self::WrongFileType
            | Self::ChangedDuringFetch => true,
            Self::NoSpace
            | Self::StoreFailed
            | Self::DeadlineExceeded
            | Self::TooManyFetches
            | Self::Stopping => false,
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
    pub(super) fn is_negative_cacheable(&self) -> bool {
        match self {
            // The host's circuit remembers the first, and knows when it may be asked again.
            Self::Origin(OriginError::CircuitOpen { .. })
            | Self::ChangedDuringFetch
            | Self::NoSpace
            | Self::StoreFailed
            | Self::TooManyFetches
            | Self::Stopping => false,
            Self::Origin(_)
            | Self::Mismatch { .. }
            | Self::WrongFileType
            | Self::DeadlineExceeded => true,
        }
    }

    /// What an operator may want to know of, where `on_record` is what the target has given before.
    /// What policy refuses and what this process itself puts off are nothing to look after.
    pub(super) fn cause(&self, on_record: Option<Sha256>) -> Option<Cause> {
        Some(match self {
            Self::Origin(OriginError::CircuitOpen { last, .. }) => {
                return Self::Origin((**last).clone()).cause(on_record);
            }
            Self::Origin(OriginError::Denied(_)) | Self::TooManyFetches | Self::Stopping => {
                return None;
            }
            Self::Origin(OriginError::Status {
                status: 404 | 410, ..
            }) if on_record.is_some() => Cause::RemovedUpstream,
            Self::Origin(OriginError::Status {
                status: 404 | 410, ..
            }) => Cause::NotFound,
            Self::Origin(OriginError::Status { .. }) => Cause::UpstreamError,
            Self::Origin(OriginError::Unreachable(_)) => Cause::Unreachable,
            Self::Origin(
                OriginError::InvalidResponse(_)
                | OriginError::InvalidRequest(_)
                | OriginError::TlsFailure(_),
            )
            | Self::ChangedDuringFetch => Cause::InvalidResponse,
            Self::Mismatch { found, .. }
                if on_record.is_some_and(|known_content| known_content != *found) =>
            {
                Cause::ContentChanged
            }
            Self::Mismatch { .. } => Cause::ChecksumMismatch,
            Self::WrongFileType => Cause::WrongFileType,
            Self::NoSpace => Cause::NoSpace,
            Self::StoreFailed => Cause::StoreFailed,
            Self::DeadlineExceeded => Cause::Timeout,
        })
    }
}

impl From<CacheError> for FetchError {
    /// The store's trouble is told to the log here; what is left is that the body cannot be kept.
    fn from(error: CacheError) -> Self {
        tracing::warn!(%error, "a body could not be stored");
        if error.is_no_space() {
            Self::NoSpace
        } else {
            Self::StoreFailed
        }
    }
}

impl From<DiskError> for FetchError {
    fn from(error: DiskError) -> Self {
        CacheError::from(error).into()
    }
}
