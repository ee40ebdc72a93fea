//! HTTP versions of messages.
//!
//! The main type is [`HttpVersion`].

/// HTTP version of a message. HTTP/1.0 clients cannot distinguish the end of a body without length
/// from a broken connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    Http10,
    Http11,
}

impl HttpVersion {
    /// Returns the version as the received protocol in `Via` (RFC 9110, section 7.6.3).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}
