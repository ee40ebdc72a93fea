//! Errors of interception. Each text says what to do, behind a semicolon.

use std::io;
use std::path::PathBuf;

use rustls::AlertDescription;

/// Error returned when the certificate authority cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(
        "cannot read {}: {error}; both files of the certificate authority must belong to the user \
         of the service",
        .file.display()
    )]
    Unreadable { file: PathBuf, error: io::Error },
    #[error(
        "cannot write {}: {error}; run the command as root, or as the user of the service",
        .file.display()
    )]
    Unwritable { file: PathBuf, error: io::Error },
    #[error(
        "there is no certificate authority in {}; make one by `millpond ca init`",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "{} exists; move the old certificate authority away, or name another folder in \
         intercept.ca_dir",
        .0.display()
    )]
    Exists(PathBuf),
    #[error("intercept.hosts is empty; list the hosts to which the authority is limited")]
    NoHosts,
    #[error("{} contains no certificate in PEM; restore both files from a backup", .0.display())]
    NoCertificate(PathBuf),
    #[error(
        "{} contains no private key in PEM that can be used; restore both files from a backup",
        .0.display()
    )]
    NoKey(PathBuf),
    #[error("{} is open to other users (mode {mode:o}); run chmod 600", .file.display())]
    OpenKey { file: PathBuf, mode: u32 },
    #[error(
        "{} does not belong to the key beside it; restore both files from one backup",
        .0.display()
    )]
    OtherKey(PathBuf),
    #[error(
        "{} is no certificate of an authority for servers; make one by `millpond ca init`",
        .0.display()
    )]
    NoAuthority(PathBuf),
    #[error(
        "{} has no critical name constraints that permit named hosts only and exclude all \
         addresses; make a certificate authority by `millpond ca init`",
        .0.display()
    )]
    Unconstrained(PathBuf),
    #[error(
        "{} does not cover {host}, so that clients would refuse the host; other hosts need a new \
         certificate authority: name another folder in intercept.ca_dir, run `millpond ca init`, \
         and let the clients trust it",
        .file.display()
    )]
    Uncovered { file: PathBuf, host: String },
    #[error(
        "{} has expired on {date}; make another certificate authority by `millpond ca init`",
        .file.display()
    )]
    Expired { file: PathBuf, date: String },
    #[error("{} is not valid before {date}; check the clock of this machine", .file.display())]
    NotYetValid { file: PathBuf, date: String },
    #[error("cannot make a certificate: {0}")]
    Mint(#[from] MintError),
}

/// Error returned when no certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("the certificate authority has expired")]
    AuthorityExpired,
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    #[error("the clock of this machine shows no date of a certificate")]
    Clock,
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Error returned when the TLS of a client cannot be ended. The text names the likely cause.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error(
        "the client refused the certificate (TLS alert {0:?}): it probably does not trust the \
         certificate authority of intercept.ca_dir; see docs/guides/intercept.md"
    )]
    Refused(AlertDescription),
    #[error(
        "the client closed the connection during the TLS handshake: it may not trust the \
         certificate authority of intercept.ca_dir; see docs/guides/intercept.md"
    )]
    Closed,
    #[error("the client did not complete the TLS handshake within {0} seconds")]
    TimedOut(u64),
    #[error("the client did not begin with a TLS handshake, which intercept.hosts expects")]
    NoTls,
    #[error("the beginning of the TLS handshake of the client is too long")]
    TooLong,
    #[error("the client does not offer http/1.1, the only protocol inside (ALPN)")]
    NoHttp1,
    #[error("the client offers no version of TLS from TLS 1.2 on")]
    OldVersion,
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error("the TLS handshake with the client failed: {0}")]
    Failed(rustls::Error),
    #[error("the connection of the client failed: {0}")]
    Io(io::Error),
}

impl HandshakeError {
    /// Whether the client has probably refused the certificate.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Closed)
    }
}
