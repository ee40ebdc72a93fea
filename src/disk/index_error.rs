//! Kinds of errors of the index.
//!
//! This file must not know what failed.

use rusqlite::{Error, ErrorCode, ffi};

/// Returns the error for an index with other content than this version writes.
pub fn damage(reason: &str) -> Error {
    let code = ffi::Error::new(ffi::SQLITE_CORRUPT);
    Error::SqliteFailure(code, Some(reason.to_owned()))
}

/// Returns the error for an index that can only be read.
pub fn read_only() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY), None)
}

/// Returns whether an error means that the file of the index is damaged. All statements are valid
/// for intact tables.
pub fn is_damage(error: &Error) -> bool {
    let is_wrong_table = match error {
        Error::SqliteFailure(code, _) | Error::SqlInputError { error: code, .. } => {
            code.extended_code == ffi::SQLITE_ERROR
        }
        Error::QueryReturnedNoRows | Error::InvalidColumnType(..) => true,
        _ => false,
    };
    is_wrong_table
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
}

/// Returns whether another process holds the lock of the file.
pub fn is_busy(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Returns whether the file system refuses to read or write the file, which may be intact.
pub fn is_refused(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
        )
    )
}
