//! The number of a mark, and the reasons why a mark is refused. The main type is [`PeerRefusal`].

const NONCE_BYTES: usize = 16;

/// Number that occurs in one mark only.
pub type Nonce = [u8; NONCE_BYTES];

/// Reason why a mark was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefusal {
    #[error("the mark of a peer is not made with the secret of this cluster")]
    Secret,
    #[error("the clock of the peer differs from the clock of this node by more than 30 seconds")]
    Clock,
    #[error("the mark of a peer was used before")]
    Replay,
    #[error("too many requests of peers in a short time; retry later")]
    Busy,
    /// The process was restarted, or the URL leads to several processes.
    #[error("the mark of a peer is for another process")]
    Recipient,
    /// The lists of the nodes differ. The peer asks the origin itself.
    #[error("this node asks another one for the target, and sends no request of a peer on")]
    Elsewhere,
    /// The node serves what it has, and fetches nothing for others.
    #[error("this node is draining, and does not have the target")]
    Draining,
}

impl PeerRefusal {
    pub const ALL: [Self; 7] = [
        Self::Secret,
        Self::Clock,
        Self::Replay,
        Self::Busy,
        Self::Recipient,
        Self::Elsewhere,
        Self::Draining,
    ];

    /// Returns the value of [`REFUSAL_FIELD`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Clock => "clock",
            Self::Replay => "replay",
            Self::Busy => "busy",
            Self::Recipient => "recipient",
            Self::Elsewhere => "elsewhere",
            Self::Draining => "draining",
        }
    }
}
