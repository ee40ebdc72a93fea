//! Causes of [`super::OriginError`]: one type for each variant that has several causes.

use std::fmt;

use super::head_reader::HeadFault;
use super::tls::explain;
use crate::dial::DialError;
use crate::model::TargetError;

/// Maximum number of characters of a header field that an error text quotes.
const MAX_QUOTED_CHARS: usize = 60;

/// Fault of a connection. Another attempt at the same source may succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionFault {
    #[error(transparent)]
    Dial(DialError),
    /// The HTTP client could not connect. The text is the root cause, without a URL.
    #[error("cannot connect to the origin: {0}")]
    Connect(String),
    #[error("{0}")]
    Timeout(TimeoutPhase),
    #[error("the origin sends slower than fetch.min_speed")]
    TooSlow,
    /// The connection ended before the response was complete. The text is the root cause.
    #[error("the origin closed the connection early: {0}")]
    Closed(String),
    /// The body ended before its stated length.
    #[error("the origin closed the connection before the end of the body")]
    Truncated,
    /// The response to a range request was neither the requested range nor the whole body.
    #[error("the origin did not resume the body correctly")]
    ResumeFailed,
    /// Another file replaced the requested one during the transfer.
    #[error("the file changed at the origin during the fetch")]
    FileChanged,
    /// The ftp server asked Millpond to wait (reply 120).
    #[error("the origin is not ready yet")]
    NotReady,
    /// The ftp server refused a command with this transient reply code (400 to 499).
    #[error("the origin refused an FTP command for now, with reply code {0}")]
    TransientReply(u16),
    /// Other requests used all ftp connections to the server for the whole idle timeout.
    #[error("all connections to the origin are in use")]
    NoFreeConnection,
    /// The peer is draining, and does not have the target.
    #[error("the peer is draining, and does not have the target")]
    PeerDrains,
}

/// Phase of a request in which a timeout expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutPhase {
    Connect,
    /// From the request to the head of the response.
    Response,
    Body,
}

impl fmt::Display for TimeoutPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection to the origin timed out",
            Self::Response => "the origin did not answer in time",
            Self::Body => "the origin stopped sending",
        })
    }
}

/// Fault of a response, or of an ftp reply. The same source would probably repeat it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProtocolFault {
    #[error("the origin's response is not valid HTTP: {0}")]
    NotHttp(String),
    #[error(transparent)]
    Head(HeadFault),
    /// A final response with a 1xx status, such as 101.
    #[error("the origin switched to another protocol")]
    ProtocolSwitch,
    /// 407, from the origin or from the egress proxy.
    #[error("the origin or the egress proxy asks for the credentials of a proxy (407)")]
    ProxyAuthentication,
    /// The value of `Transfer-Encoding`, which is not `chunked` alone.
    #[error("Transfer-Encoding of the origin is not supported: {0:.MAX_QUOTED_CHARS$}")]
    TransferEncoding(String),
    /// The value of `Content-Encoding`. The decoded file is not what the origin sent.
    #[error("the origin sent the file with Content-Encoding {0:.MAX_QUOTED_CHARS$}")]
    ContentEncoding(String),
    /// A node on the way to the origin has seen the request before.
    #[error("the request came back to a proxy that had sent it on: check the egress proxies")]
    RequestLoop,
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
    #[error("the origin redirects to an invalid target: {0}")]
    RedirectTarget(TargetError),
    #[error("the origin sent more bytes than it stated")]
    TooLong,
    #[error("the origin sent a part of the file, and was asked for the whole")]
    UnaskedRange,
    #[error("the origin refused a part of the file, and was asked for the whole")]
    UnaskedRefusal,
    /// A 304 whose validator is not that of the request.
    #[error("the origin confirmed a response that it was not asked about")]
    ForeignNotModified,
    #[error("the body does not match the expected digest")]
    DigestMismatch,
    #[error("the origin's body changed between two attempts")]
    BodyChanged,
    /// A parent cache must state the digest of what it sends.
    #[error("the parent cache sent a body without its SHA-256")]
    NoParentDigest,
    #[error("the answer of the peer does not prove the secret of the cluster")]
    UnprovenPeer,
    #[error("the origin's response is not valid FTP")]
    NotFtp,
    #[error("the origin's FTP reply has no end")]
    EndlessReply,
    /// A permanent ftp reply code (500 to 599).
    #[error("the origin refused an FTP command with reply code {0}")]
    PermanentReply(u16),
    #[error("the origin refused the login")]
    LoginRefused,
    #[error("the origin does not support TLS")]
    NoTls,
    /// The server does not support `REST`.
    #[error("the origin cannot send a file from an offset")]
    NoRestart,
    #[error("the origin states neither the size nor the date of the file")]
    NoMetadata,
    /// The server asked Millpond to connect to a port below 1024.
    #[error("the origin sent data port {0}, which belongs to another service")]
    PrivilegedDataPort(u16),
}

/// Fault in the TLS handshake or in a certificate.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsFault {
    #[error("{}", explain(.0))]
    Http(rustls::Error),
    #[error("the origin closed the connection during the handshake")]
    Cut,
    /// The ftp client passes on only the text of the TLS library.
    #[error("{0}")]
    Ftp(String),
}

/// Fault of the request itself. Millpond did not send it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestFault {
    #[error("the request method is not a valid token")]
    Method,
    #[error("the target is not valid in a request")]
    Target,
    #[error("ftp supports only GET and HEAD")]
    FtpMethod,
    #[error("a header field of the request is not valid")]
    HeaderField,
    #[error("a header field of the rule's credentials is not valid")]
    CredentialsField,
    /// The HTTP client for an egress route could not be created.
    #[error("{0}")]
    Egress(String),
}
