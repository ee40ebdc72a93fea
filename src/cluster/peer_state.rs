//! State of a peer, with its name and its log line. The main type is [`PeerState`].

/// State of a peer, as the last poll found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Not asked yet.
    Unknown,
    Ready,
    /// It answers, and states that it is not ready.
    Unready,
    /// It serves what it has, and owns nothing any more.
    Draining,
    /// No answer in time, or none of a node.
    Silent,
    WrongSecret,
    /// Another version of Millpond, or another layout of the cache folder.
    OtherVersion,
    /// Its clock differs too much.
    WrongClock,
    /// It states another URL than the one at which it was found.
    OtherAddress,
    /// The address is that of this node itself.
    Itself,
    /// A process with the same cache folder. One of them fetches a target, by its lease.
    SameFolder,
}

impl PeerState {
    pub const ALL: [Self; 11] = [
        Self::Unknown,
        Self::Ready,
        Self::Unready,
        Self::Draining,
        Self::Silent,
        Self::WrongSecret,
        Self::OtherVersion,
        Self::WrongClock,
        Self::OtherAddress,
        Self::Itself,
        Self::SameFolder,
    ];

    /// Whether the last poll was answered.
    pub(super) fn was_found(self) -> bool {
        !matches!(self, Self::Unknown | Self::Silent)
    }

    /// Whether the peer serves what it has stored.
    #[must_use]
    pub fn serves_stored(self) -> bool {
        matches!(self, Self::Ready | Self::Draining)
    }

    /// Returns the name in metrics and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::WrongSecret => "wrong_secret",
            Self::OtherVersion => "other_version",
            Self::WrongClock => "wrong_clock",
            Self::OtherAddress => "other_address",
            Self::Itself => "itself",
            Self::SameFolder => "same_folder",
        }
    }

    /// Returns the text of the log line for a change to this state.
    pub(super) fn log_text(self) -> &'static str {
        match self {
            Self::Unknown => "peer was not asked yet",
            Self::Ready => "peer is ready",
            Self::Unready => "peer is not ready, serving without this peer",
            Self::Draining => "peer is draining, asking it for stored targets only",
            Self::Silent => "peer does not answer, serving without this peer",
            Self::WrongSecret => "peer has another cluster.secret, serving without this peer",
            Self::OtherVersion => {
                "peer has another version or cache layout, serving without this peer"
            }
            Self::WrongClock => {
                "clocks of peer and node differ by more than 30 s, serving without this peer"
            }
            Self::OtherAddress => {
                "peer of the shared index has another cluster.advertise, serving without this peer"
            }
            Self::Itself => "entry of cluster.peers is this node itself, skipping the entry",
            Self::SameFolder => "peer has the same cache folder, skipping the entry",
        }
    }
}
