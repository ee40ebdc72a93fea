//! Error of a fetch, and what each error means for retries, caching and alerts.

use std::io;
use std::time::Duration;

use crate::cache::{CacheError, DiskError, HashError};
use crate::model::{Cause, ExpectedDigests, Sha256, WrongFile};
use crate::origin::OriginError;

/// Error of a fetch. All readers of the fetch get the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The body does not have an expected digest. Nothing was stored.
    #[error(
        "the bytes are not those expected: {expected} was expected, sha256:{found} was received"
    )]
    Mismatch {
        expected: ExpectedDigests,
        found: Sha256,
    },
    /// The body does not have the file type that its name indicates. Nothing was stored.
    #[error(transparent)]
    WrongFileType(WrongFile),
    /// The body is an HTML page, and the name does not promise a file of a known type. Nothing was
    /// stored. Requests are passed through.
    #[error("the origin sent an HTML page")]
    Page,
    /// A later attempt returned other bytes than those that readers have seen. The next fetch may
    /// get the new file.
    #[error("the origin's body changed between two attempts")]
    ChangedDuringFetch,
    /// Nothing confirmed the body. Readers have it, nothing was stored, and requests are passed
    /// through.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// The disk has no space for the body. Requests are passed through.
    #[error("there is no space to store the body")]
    NoSpace,
    /// The clients of the body have their share of the space for unfinished bodies. Requests are
    /// passed through.
    #[error("the client has no more space for unfinished bodies")]
    OverShare,
    /// The body was not stored for another reason. Requests are passed through.
    #[error("the body could not be stored")]
    StoreFailed,
    #[error("the fetch took longer than fetch.budget")]
    DeadlineExceeded,
    #[error("too many fetches are under way")]
    TooManyFetches,
    #[error("the gateway is stopping")]
    Stopping,
    /// All readers have left a fetch that only their digests asked for, or that waits beside too
    /// many others without a reader.
    #[error("no client waits for the body any more")]
    Abandoned,
    /// A peer asked for a target that this node asks another peer for. Two nodes must not wait for
    /// each other.
    #[error("this node asks another one for the target")]
    AsksPeer,
}

/// Reason why a complete body is not known to be the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    #[error("the body ended with the connection, and its end was not confirmed")]
    End,
    #[error(
        "the body was resumed and lacks the digest that a client states, and no second response \
         confirmed it"
    )]
    Resumption,
}

impl FetchError {
    /// Logs an error of a staged file, because [`FetchError`] does not contain it.
    pub(super) fn from_read_error(error: &io::Error) -> Self {
        tracing::warn!(%error, "staged file could not be read");
        Self::StoreFailed
    }

    /// Whether another attempt at the same source may succeed.
    ///
    /// A wrong file type is often transient: one of several mirror hosts returned an HTML page, or
    /// the page asked a browser to wait.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Origin(error) => error.is_transient(),
            Self::WrongFileType(_) => true,
            Self::Mismatch { .. }
            | Self::Page
            | Self::ChangedDuringFetch
            | Self::Unconfirmed(_)
            | Self::NoSpace
            | Self::OverShare
            | Self::StoreFailed
            | Self::DeadlineExceeded
            | Self::TooManyFetches
            | Self::Stopping
            | Self::Abandoned
            | Self::AsksPeer => false,
        }
    }

    /// Whether another source may have the body.
    pub(super) fn can_try_next_source(&self) -> bool {
        match self {
            Self::Origin(_)
            | Self::Mismatch { .. }
            | Self::WrongFileType(_)
            | Self::Page
            | Self::ChangedDuringFetch => true,
            Self::Unconfirmed(_)
            | Self::NoSpace
            | Self::OverShare
            | Self::StoreFailed
            | Self::DeadlineExceeded
            | Self::TooManyFetches
            | Self::Stopping
            | Self::Abandoned
            | Self::AsksPeer => false,
        }
    }

    /// Time after which the origin allows the next request.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Origin(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether the fetch has failed only because its body could not be stored. Requests are passed
    /// through then.
    #[must_use]
    pub fn is_only_unstored(&self) -> bool {
        matches!(
            self,
            Self::Unconfirmed(_) | Self::NoSpace | Self::OverShare | Self::StoreFailed
        )
    }

    /// Whether the origin wants another authorization.
    pub(super) fn is_denial(&self) -> bool {
        let Self::Origin(OriginError::Status { status, .. }) = self else {
            return false;
        };
        matches!(status, 401 | 403)
    }

    /// Whether later requests get the same error for a while, without a request to the origin.
    pub(super) fn is_negative_cacheable(&self) -> bool {
        match self {
            // The circuit of the host decides how long `CircuitOpen` is returned.
            Self::Origin(OriginError::CircuitOpen { .. })
            | Self::ChangedDuringFetch
            | Self::Page
            | Self::Unconfirmed(_)
            | Self::NoSpace
            | Self::OverShare
            | Self::StoreFailed
            | Self::TooManyFetches
            | Self::Stopping
            | Self::Abandoned
            | Self::AsksPeer => false,
            Self::Origin(_)
            | Self::Mismatch { .. }
            | Self::WrongFileType(_)
            | Self::DeadlineExceeded => true,
        }
    }

    /// Returns the cause of an incident. `on_record` is the digest that the target had before.
    ///
    /// `None` for a refusal by policy, for a page, for requests that this process put off, and for
    /// a body that readers got but Millpond did not store.
    pub(super) fn cause(&self, on_record: Option<Sha256>) -> Option<Cause> {
        Some(match self {
            Self::Origin(OriginError::CircuitOpen { last, .. }) => {
                return Self::Origin((**last).clone()).cause(on_record);
            }
            Self::Origin(OriginError::Denied(_))
            | Self::Page
            | Self::Unconfirmed(_)
            | Self::OverShare
            | Self::TooManyFetches
            | Self::Stopping
            | Self::Abandoned
            | Self::AsksPeer => return None,
            Self::Origin(OriginError::Status {
                status: 404 | 410, ..
            }) if on_record.is_some() => Cause::RemovedUpstream,
            Self::Origin(OriginError::Status {
                status: 404 | 410, ..
            }) => Cause::NotFound,
            Self::Origin(OriginError::Status { .. }) => Cause::UpstreamError,
            Self::Origin(error @ OriginError::Unreachable(_)) => match on_record {
                // A name that had an address before is no typo.
                None if error.is_unknown_host() => Cause::UnknownHost,
                _ => Cause::Unreachable,
            },
            Self::Origin(
                OriginError::InvalidResponse(_)
                | OriginError::InvalidRequest(_)
                | OriginError::TlsFailure(_),
            )
            | Self::ChangedDuringFetch => Cause::InvalidResponse,
            Self::Mismatch { found, .. } if on_record.is_some_and(|known| known != *found) => {
                Cause::ContentChanged
            }
            Self::Mismatch { .. } => Cause::ChecksumMismatch,
            Self::WrongFileType(_) => Cause::WrongFileType,
            Self::NoSpace => Cause::NoSpace,
            Self::StoreFailed => Cause::StoreFailed,
            Self::DeadlineExceeded => Cause::Timeout,
        })
    }
}

impl From<CacheError> for FetchError {
    /// Logs the error of the cache, because [`FetchError`] does not contain it.
    fn from(error: CacheError) -> Self {
        tracing::warn!(%error, "body was not stored");
        if error.is_no_space() {
            Self::NoSpace
        } else if error.is_over_share() {
            Self::OverShare
        } else {
            Self::StoreFailed
        }
    }
}

impl From<HashError> for FetchError {
    fn from(_: HashError) -> Self {
        Self::StoreFailed
    }
}

impl From<DiskError> for FetchError {
    fn from(error: DiskError) -> Self {
        CacheError::from(error).into()
    }
}
