//! Errors of the request path.

use std::time::Duration;

use super::url_prefix::PrefixedUrlError;
use crate::cache::HashError;
use crate::cluster::PeerRefusal;
use crate::fetch::FetchError;
use crate::limits::{OverLimit, UpstreamBusy};
use crate::model::{ExpectedDigests, Sha256, WrongFile};
use crate::origin::ProtocolFault;
use crate::passthrough::OriginError;
use crate::policy::{NotAdmitted, PolicyDenied};

/// Maximum number of characters of an unknown method that an error text quotes.
const MAX_QUOTED_METHOD: usize = 40;

/// Error returned when a request for a target fails. Clients see the text, so it contains no local
/// path and no secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// The client must correct the request.
    #[error("{0}")]
    BadRequest(String),
    /// The client must send a shorter request head.
    #[error("{0}")]
    HeadTooLarge(String),
    /// The client must send a shorter target.
    #[error("{0}")]
    TargetTooLong(String),
    /// The client must send no other `Expect` than `100-continue`.
    #[error("this expectation cannot be met; only Expect: 100-continue is supported")]
    ExpectationFailed,
    /// The client must correct the URL.
    #[error(transparent)]
    PrefixedUrl(#[from] PrefixedUrlError),
    /// The method has no known meaning.
    #[error("{0:.MAX_QUOTED_METHOD$} is no registered method of HTTP")]
    UnknownMethod(String),
    #[error("the method {0} is not supported here")]
    MethodNotSupported(String),
    /// Another request to a registry than a download, such as an upload, a login or an audit.
    #[error(
        "this gateway only serves downloads of the registry; for an upload, a login or an audit, \
         state the URL of the registry itself"
    )]
    ReadOnlyRegistry,
    #[error("{0}")]
    NotFound(&'static str),
    /// The content is for the networks in `allow_private` of its registry.
    #[error(
        "the registry gives this to its users only, and the operator of this gateway has not \
         allowed it to your address (allow_private)"
    )]
    PrivateImage,
    /// A container registry limits the requests of this gateway. The client must wait.
    #[error("the registry limits the requests of this gateway; retry later")]
    RegistryLimit(Option<Duration>),
    /// The client must reach the host through a tunnel.
    #[error(
        "the gateway intercepts this host, so that the connection cannot change to another \
         protocol, such as WebSocket; its operator has to take the host out of intercept.hosts"
    )]
    OtherProtocol,
    /// The request has passed through this gateway before. Holds the gateway's name.
    #[error("request loop: the field Via or CDN-Loop already contains {0}")]
    LoopDetected(String),
    /// The client must use another port.
    #[error("{0}")]
    Misdirected(String),
    #[error(transparent)]
    Denied(#[from] PolicyDenied),
    /// The key of the configuration that lists the clients of a page.
    #[error("this page is for the clients in {0} only")]
    UnlistedClient(&'static str),
    /// The client must send a user name and a password.
    #[error("downloads from this gateway need a user name and a password")]
    LoginRequired,
    /// The client must send another user name or password.
    #[error("the user name or the password is wrong")]
    WrongLogin,
    /// The client must send a user name and a password without being asked. A container client
    /// would send those of another registry to a gateway that asks.
    #[error(
        "downloads from this gateway need a user name and a password, which the client must send \
         with each request"
    )]
    UnaskedLoginRequired,
    /// The client has sent wrong logins. It may try again after a second.
    #[error("too many wrong logins from your address; retry later")]
    TooManyWrongLogins,
    /// The operator must give the nodes of a cluster the same secret and the same time.
    #[error(transparent)]
    PeerRefused(#[from] PeerRefusal),
    /// The client must wait.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    #[error(transparent)]
    Origin(OriginError),
    #[error("digest mismatch: expected {expected}, found sha256:{found}")]
    Mismatch {
        expected: ExpectedDigests,
        found: Sha256,
    },
    #[error(transparent)]
    WrongFileType(WrongFile),
    /// The origin's index cannot be rewritten. Holds the reason.
    #[error("{0}")]
    UnreadableIndex(String),
    /// The answer of a container registry or of its token service cannot be used.
    #[error("{0}")]
    RegistryFault(&'static str),
    /// A container registry has not answered in time.
    #[error("the registry does not answer; retry later")]
    SilentRegistry,
    #[error("the fetch took longer than fetch.budget")]
    DeadlineExceeded,
    #[error("the target is not stored, and the request has Cache-Control: only-if-cached")]
    OnlyIfCachedMiss,
    /// The pieces of an object are computed in the background. The client may retry.
    #[error("the pieces of the file are being computed; retry later")]
    PiecesPending,
    /// Too many requests are in progress. The client may retry.
    #[error("too many requests are in progress; retry later")]
    Busy,
    /// The client may retry with another instance.
    #[error("the gateway is stopping; retry later")]
    Stopping,
    /// The cache cannot be used now. The client may retry.
    #[error("the gateway cannot serve this request now; retry later")]
    Unavailable,
}

impl RequestError {
    /// Whether the origin has given no answer, so that a stored response may answer in its place.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Origin(error) => error.is_away(),
            // A version that is too young is not there yet.
            Self::Denied(PolicyDenied::TooYoung(_))
            | Self::WrongFileType(_)
            | Self::RegistryLimit(_)
            | Self::RegistryFault(_)
            | Self::SilentRegistry
            | Self::DeadlineExceeded
            | Self::Busy
            | Self::Stopping
            | Self::Unavailable => true,
            _ => false,
        }
    }
}

impl From<NotAdmitted> for RequestError {
    fn from(error: NotAdmitted) -> Self {
        match error {
            NotAdmitted::Denied(denied) => Self::Denied(denied),
            NotAdmitted::OverLimit(over) => Self::OverLimit(over),
        }
    }
}

impl From<UpstreamBusy> for RequestError {
    fn from(_: UpstreamBusy) -> Self {
        Self::Busy
    }
}

impl From<HashError> for RequestError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Unreadable => Self::Unavailable,
        }
    }
}

impl From<FetchError> for RequestError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Origin(OriginError::Denied(denied)) => Self::Denied(denied),
            FetchError::Origin(error) => Self::Origin(error),
            FetchError::Mismatch { expected, found } => Self::Mismatch { expected, found },
            FetchError::ChangedDuringFetch => Self::Origin(ProtocolFault::BodyChanged.into()),
            FetchError::WrongFileType(fault) => Self::WrongFileType(fault),
            FetchError::Page => Self::WrongFileType(WrongFile::OtherType),
            FetchError::DeadlineExceeded => Self::DeadlineExceeded,
            FetchError::Unconfirmed(_)
            | FetchError::NoSpace
            | FetchError::OverShare
            | FetchError::StoreFailed
            | FetchError::Abandoned => Self::Unavailable,
            FetchError::TooManyFetches => Self::Busy,
            FetchError::Stopping => Self::Stopping,
            FetchError::AsksPeer => Self::PeerRefused(PeerRefusal::Elsewhere),
        }
    }
}
