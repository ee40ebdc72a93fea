//! The error of a request whose end is unknown, and the bound on its head.
//!
//! The main type is [`FramingError`].

/// The longest request head, including empty lines before it. nginx takes 32 KiB by default
/// (`large_client_header_buffers`). A field name of more than 65535 bytes would make the HTTP
/// library panic.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Bound on the fields of a head. The HTTP library parses one more, for a `Host` that is added to a
/// rewritten head without one.
pub const MAX_FIELDS: usize = 95;

/// Error returned when the end of a request is unknown, so that its connection cannot be used any
/// further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("the request head is longer than {} bytes", MAX_HEAD_BYTES)]
    HeadTooLarge,
    #[error("the request line is longer than {} bytes", MAX_HEAD_BYTES)]
    TargetTooLong,
    #[error("the request head has more than {} fields", MAX_FIELDS)]
    TooManyFields,
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}
