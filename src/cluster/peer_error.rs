//! Errors of requests to the API of a peer. The main type is [`PeerError`].

use std::time::Duration;

use super::peer_state::PeerState;
use crate::origin::OriginError;

/// Error returned when a peer cannot be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// The operator must name a peer of the configuration.
    #[error("{0} is none of cluster.peers of this node")]
    NotListed(String),
    /// The operator must start a peer, or list one.
    #[error("no peer of this node is ready")]
    NoPeer,
    /// The operator must make the peer and this node fit.
    #[error("peer {peer} {}", problem(*state))]
    Unfit { peer: String, state: PeerState },
    /// Retry once the peer answers.
    #[error("peer {0} does not answer")]
    Silent(String),
    #[error("peer {peer} {}{text}", answer(error))]
    Request {
        peer: String,
        error: OriginError,
        /// Text of the answer, behind a colon. May be empty.
        text: String,
    },
    /// The answer has no proof of the secret, or is none of a node.
    #[error("peer {0} has sent an answer without a valid proof of cluster.secret")]
    Invalid(String),
}

impl PeerError {
    /// Returns the wait that the peer has asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Request {
                error: OriginError::Status { retry_after, .. },
                ..
            } => *retry_after,
            _ => None,
        }
    }

    /// Returns whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Silent(_) => true,
            Self::Request { error, .. } => error.is_transient(),
            Self::NotListed(_) | Self::NoPeer | Self::Unfit { .. } | Self::Invalid(_) => false,
        }
    }
}

fn answer(error: &OriginError) -> String {
    match error {
        OriginError::Status { status, .. } => format!("has answered {status}"),
        error => format!("has not answered completely: {error}"),
    }
}

fn problem(state: PeerState) -> &'static str {
    match state {
        PeerState::WrongSecret => "has another cluster.secret",
        PeerState::OtherVersion => "has another version of Millpond, or another cache layout",
        PeerState::WrongClock => "has a clock that differs by more than 30 s",
        PeerState::Itself => "is this node itself",
        PeerState::SameFolder => "has the same cache folder, so nothing needs to be copied",
        PeerState::Unknown | PeerState::Silent => "does not answer",
        PeerState::Draining => "is draining, and takes no targets",
        PeerState::OtherAddress => "states another URL",
        PeerState::Ready | PeerState::Unready => "answers",
    }
}
