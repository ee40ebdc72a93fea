//! Protocol that a client speaks inside a `CONNECT`, by its first bytes.
//!
//! The main type is [`FirstBytes`].

/// First byte of a TLS handshake record (RFC 8446, section 5.1).
pub const TLS_HANDSHAKE: u8 = 0x16;

/// Fatal TLS alert `access_denied` (RFC 8446, section 6). A TLS client shows it to its user.
pub const TLS_ACCESS_DENIED: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 49];

/// Beginnings of HTTP requests in origin form. Other methods go through a tunnel where one is
/// allowed.
const REQUESTS: [&[u8]; 7] = [
    b"GET /",
    b"HEAD /",
    b"POST /",
    b"PUT /",
    b"PATCH /",
    b"DELETE /",
    b"OPTIONS /",
];

/// Protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBytes {
    Http,
    Tls,
    Other,
    /// More bytes decide.
    Undecided,
}

impl FirstBytes {
    /// Classifies the bytes that have arrived. Nine bytes are always enough.
    pub fn classify(bytes: &[u8]) -> Self {
        match bytes {
            [TLS_HANDSHAKE, ..] => Self::Tls,
            _ if REQUESTS.iter().any(|request| bytes.starts_with(request)) => Self::Http,
            _ if REQUESTS.iter().any(|request| request.starts_with(bytes)) => Self::Undecided,
            _ => Self::Other,
        }
    }
}
