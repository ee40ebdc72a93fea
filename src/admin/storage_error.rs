//! Conversion of cache errors into errors for operators.

use super::error::AdminError;
use crate::cache::CacheError;
use crate::gateway::RequestError;

/// Logs an error of the cache, and returns the error for the operator, without details.
pub fn storage_error(error: &CacheError) -> AdminError {
    if error.is_no_space() {
        return AdminError::NoSpace;
    }
    if error.is_too_many_entries() {
        return AdminError::TooManyEntries;
    }
    tracing::warn!(%error, "cache operation for an operator failed");
    RequestError::Unavailable.into()
}
