//! Errors of the operator service.

use std::fmt;

use crate::gateway::RequestError;
use crate::policy::PolicyDenied;

/// Error returned when an operator's request fails. Clients see the text, so it contains no local
/// path and no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdminError {
    /// The operator must send a token.
    #[error("this needs {0}, as in Authorization: Bearer <token>")]
    Unauthorized(Needed),
    /// The operator must send another token.
    #[error("the token is neither the operator token nor a reader token")]
    WrongToken,
    /// The client has sent wrong tokens. It may try again after a second.
    #[error("too many wrong tokens from your address; retry later")]
    TooManyWrongTokens,
    /// The client must use another name, or the operator must list this one.
    #[error(
        "without a token, the API is only available by address, or by a name in \
         gateway.public_url or gateway.host_names"
    )]
    UnknownHost,
    /// The operator must use one of these methods, as listed in `Allow`.
    #[error("method not allowed; use {0}")]
    MethodNotAllowed(&'static str),
    #[error("{0}")]
    NotFound(&'static str),
    /// The operator must unpin the object first.
    #[error("the object is pinned; unpin it first")]
    Pinned,
    /// The operator must free space on the cache disk, or raise `cache.max_size`.
    #[error("not enough space to store the object")]
    NoSpace,
    /// The operator must remove an imported list first.
    #[error(
        "the imported lists have too many entries; millpond catalog lists shows the lists, and \
         millpond catalog remove removes one"
    )]
    TooManyEntries,
    /// The operator must send the upload again.
    #[error("{0}")]
    InvalidUpload(String),
    /// The operator must import another file, or force the import.
    #[error(
        "the file does not begin as its name promises; --force, or force=true at the API, imports \
         it all the same"
    )]
    WrongFileType,
    /// The operator must remove the login, signature or rule that makes the class `pass`.
    #[error(
        "the class of this target is pass, so that nothing is stored; millpond explain shows why"
    )]
    NotCacheable,
    /// The operator must look at the response of the origin, and at the space of the cache disk.
    #[error(
        "the response was not stored; it is not the file that its name promises, or there is no \
         space"
    )]
    NotStored,
    /// An error that a client's request for a target can have too: a malformed request, a denied
    /// target, other bytes than expected, a failed fetch, or an unavailable cache.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Token that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    OperatorToken,
    ReaderToken,
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OperatorToken => "the operator token",
            Self::ReaderToken => "a reader token or the operator token",
        })
    }
}

impl From<PolicyDenied> for AdminError {
    fn from(denied: PolicyDenied) -> Self {
        Self::Request(denied.into())
    }
}
