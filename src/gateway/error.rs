use crate::fetch::FetchError;
use crate::limits::OverLimit;
use crate::model::{ExpectedDigests, Sha256};
use crate::origin::ProtocolFault;
use crate::passthrough::OriginError;
use crate::policy::PolicyDenied;

use super::PrefixedUrlError;

/// Why a client does not get what it asked for. The texts are for people; they name no path and no
/// secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    HeadTooLarge(String),
    #[error(transparent)]
    PrefixedUrl(#[from] PrefixedUrlError),
    #[error("{0} is not a method for this")]
    MethodNotSupported(String),
    /// Of the API, where other methods than GET and HEAD may be right.
    #[error("this takes {0}")]
    MethodNotAllowed(&'static str),
    #[error("this is for operators: show the token, as in Authorization: Bearer <token>")]
    Unauthorized,
    #[error("{0}")]
    NotFound(&'static str),
    #[error("an operator has pinned this; unpin it first")]
    Pinned,
    #[error("there is no space to keep it")]
    NoSpace,
    #[error("this request has been here before: {0} is in its Via")]
    LoopDetected(String),
    #[error("{0}")]
    Misdirected(String),
    #[error(transparent)]
    Denied(#[from] PolicyDenied),
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    #[error(transparent)]
    Origin(OriginError),
    #[error("the bytes are not those expected: {expected} was expected, they are sha256:{found}")]
    Mismatch {
        expected: ExpectedDigests,
        found: Sha256,
    },
    #[error("the origin sent something that is not what the name says, perhaps a web page")]
    WrongFileType,
    #[error("the origin took longer than fetch.budget")]
    DeadlineExceeded,
    #[error("it is not stored here, and the request says only-if-cached")]
    OnlyIfCachedMiss,
    #[error("too much is under way; try again")]
    Busy,
    #[error("the gateway is stopping; try again")]
    Stopping,
    #[error("the gateway cannot serve this now; try again")]
    Unavailable,
}

impl From<FetchError> for RequestError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Origin(OriginError::Denied(denied)) => Self::Denied(denied),
            FetchError::Origin(error) => Self::Origin(error),
            FetchError::Mismatch { expected, found } => Self::Mismatch { expected, found },
            FetchError::ChangedDuringFetch => Self::Origin(ProtocolFault::BodyChanged.into()),
            FetchError::WrongFileType => Self::WrongFileType,
            FetchError::DeadlineExceeded => Self::DeadlineExceeded,
            FetchError::NoSpace | FetchError::StoreFailed => Self::Unavailable,
            FetchError::TooManyFetches => Self::Busy,
            FetchError::Stopping => Self::Stopping,
        }
    }
}
