/// Longest accepted target, in bytes. Longer ones get a 414 response.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// Error returned when a text is not a valid target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("the target is longer than {MAX_TARGET_BYTES} bytes")]
    TooLong,
    #[error("the target does not begin with http://, https:// or ftp://")]
    Scheme,
    #[error("the target contains a control byte")]
    ControlByte,
    #[error("the target contains a backslash")]
    Backslash,
    #[error("the target contains a dot segment ('.' or '..', plain or encoded)")]
    DotSegment,
    #[error("the target has no valid host")]
    Host,
    #[error("the target's IP address is not in canonical form")]
    OddAddress,
    #[error("the target has no valid port")]
    Port,
    #[error("an http or https target must not contain a user name or password")]
    Userinfo,
}
