use crate::fetch::FetchError;
use crate::model::{Expected, Sha256};
use crate::policy::{OverLimit, Refusal};
use crate::relay::OriginError;

use super::RewriteError;

/// Why a client does not get what it asked for. The texts are for people; they name no path and no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    HeadTooLarge(String),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error("{0} is not a method for this")]
    Method(String),
    /// Of the API, where other methods than GET and HEAD may be right.
    #[error("this takes {0}")]
    Methods(&'static str),
    #[error("this is for operators: show the token, as in Authorization: Bearer <token>")]
    Unauthorized,
    #[error("{0}")]
    Unknown(&'static str),
    #[error("an operator has pinned this; unpin it first")]
    Pinned,
    #[error("there is no space to keep it")]
    NoSpace,
    #[error("this request has been here before: {0} is in its Via")]
    Loop(String),
    #[error("{0}")]
    Misdirected(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    #[error(transparent)]
    Origin(OriginError),
    #[error("the bytes are not those expected: {expected} was expected, they are sha256:{found}")]
    Mismatch { expected: Expected, found: Sha256 },
    #[error("the origin sent something that is not what the name says, perhaps a web page")]
    Impostor,
    #[error("the origin took longer than fetch.budget")]
    OverBudget,
    #[error("it is not stored here, and the request says only-if-cached")]
    NotStored,
    #[error("too much is under way; try again")]
    Busy,
    #[error("the gateway is stopping; try again")]
    Stopping,
    #[error("the gateway cannot serve this now; try again")]
    Unavailable,
}

impl From<FetchError> for Problem {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Origin(OriginError::Refused(refusal)) => Self::Refused(refusal),
            FetchError::Origin(error) => Self::Origin(error),
            FetchError::Mismatch { expected, found } => Self::Mismatch { expected, found },
            error @ FetchError::Changed => Self::Origin(OriginError::Wrong(error.to_string())),
            FetchError::Impostor => Self::Impostor,
            FetchError::OverBudget => Self::OverBudget,
            FetchError::NoSpace | FetchError::Unstorable => Self::Unavailable,
            FetchError::Busy => Self::Busy,
            FetchError::Stopping => Self::Stopping,
        }
    }
}
