//! Causes of incidents. The main type is [`Cause`].

/// Cause of an incident, distinguished by what an operator can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The origin returned 404 or 410 for a target that was never stored: most likely a wrong URL.
    NotFound,
    /// The origin no longer has the target. The object was stored once and then evicted.
    RemovedUpstream,
    /// The origin returned another error status.
    UpstreamError,
    /// The host name has no address: most likely a typo in the URL.
    UnknownHost,
    /// The origin is unreachable or closed the connection.
    Unreachable,
    /// The fetch exceeded its deadline.
    Timeout,
    /// The origin's response is invalid: bad HTTP, an untrusted certificate, or a wrong length.
    InvalidResponse,
    /// The body does not have the file type that its name indicates.
    WrongFileType,
    /// The body does not match the digest of a record or of an operator. Nothing was stored.
    ChecksumMismatch,
    /// The body does not match the digest that a client stated: most likely a wrong digest.
    /// Nothing was stored.
    ClientDigest,
    /// The target returned other bytes than before.
    ContentChanged,
    /// There was no space to store the body. It was passed through.
    NoSpace,
    /// Storing the body on the disk or in the index failed. It was passed through.
    StoreFailed,
    /// A stored object is corrupt or cannot be read.
    Corruption,
    /// The bucket is unreachable, rejects requests, or is full. Millpond serves objects from the
    /// disk and fetches the others.
    Bucket,
    /// The cache disk hangs or cannot be written to. Millpond serves objects from the bucket, or
    /// passes requests through.
    Disk,
}

impl Cause {
    /// All causes, in the order of their declaration.
    pub const ALL: [Self; 16] = [
        Self::NotFound,
        Self::RemovedUpstream,
        Self::UpstreamError,
        Self::UnknownHost,
        Self::Unreachable,
        Self::Timeout,
        Self::InvalidResponse,
        Self::WrongFileType,
        Self::ChecksumMismatch,
        Self::ClientDigest,
        Self::ContentChanged,
        Self::NoSpace,
        Self::StoreFailed,
        Self::Corruption,
        Self::Bucket,
        Self::Disk,
    ];

    /// Returns the machine-readable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::RemovedUpstream => "removed_upstream",
            Self::UpstreamError => "upstream_error",
            Self::UnknownHost => "unknown_host",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::InvalidResponse => "invalid_response",
            Self::WrongFileType => "wrong_file_type",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::ClientDigest => "client_digest",
            Self::ContentChanged => "content_changed",
            Self::NoSpace => "no_space",
            Self::StoreFailed => "store_failed",
            Self::Corruption => "corruption",
            Self::Bucket => "bucket",
            Self::Disk => "disk",
        }
    }
}
