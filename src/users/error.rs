//! Errors of logins and of the file with the users.

use std::io;

/// Error returned for a request whose login does not permit downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The client must send a user name and a password.
    #[error("the request has no login")]
    Missing,
    /// The client must send another user name or password.
    #[error("the user name or the password is wrong")]
    Wrong,
    /// The client may try again after a second.
    #[error("too many wrong logins")]
    TooManyWrong,
    /// Too many logins wait for their check. The client may retry.
    #[error("too many logins are being checked")]
    Busy,
}

/// Error returned for a file with users that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserFileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("is no regular file")]
    NoFile,
    #[error("is accessible to all users of the machine; use chmod o-rwx")]
    OpenToAll,
    #[error("has more than {0} bytes")]
    TooLong(u64),
    #[error("has no user")]
    Empty,
    #[error("line {0}: must be NAME:HASH, as htpasswd writes it")]
    NoUser(usize),
    #[error("line {0}: the user is listed twice")]
    Twice(usize),
    #[error("line {0}: {1}")]
    Hash(usize, PasswordHashError),
}

/// Error returned for a password hash that cannot be used. The text does not contain the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    #[error("the password is not hashed with bcrypt, SHA-crypt or apr1; use htpasswd -B")]
    Unsupported,
    #[error("the password hash is malformed")]
    Malformed,
    #[error("the password hash takes more than a second to check; use a lower cost")]
    TooSlow,
}
