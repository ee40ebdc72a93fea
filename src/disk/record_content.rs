//! Parses the content of records, from a file or from a line of a log. The main function is
//! [`add`].

use crate::model::{
    Key, Record, RecordError, RecordSet, Sha256, UnreadableReason, UnreadableRecord,
};

/// Parses a record and compares it with its name.
///
/// # Errors
/// [`RecordError`] if it cannot be read, or has another target or digest.
pub fn parse(bytes: &[u8], key: Key, sha256: Sha256) -> Result<Record, RecordError> {
    let record = Record::parse(bytes)?;
    if record.key() != key {
        Err(RecordError::OtherTarget)
    } else if record.sha256 != sha256 {
        Err(RecordError::OtherDigest)
    } else {
        Ok(record)
    }
}

/// Adds a record with this name and content to those of its target. If it cannot be read, its name
/// is known.
pub fn add(bytes: &[u8], (key, sha256): (Key, Sha256), records: &mut RecordSet) {
    let error = match parse(bytes, key, sha256) {
        Ok(record) => return records.readable.push(record),
        Err(error) => error,
    };
    tracing::warn!(%key, %sha256, %error, "record cannot be read");
    let reason = match error {
        RecordError::OtherTarget => UnreadableReason::OtherTarget,
        error if error.is_newer_version() => UnreadableReason::NewerVersion,
        _ => UnreadableReason::Damaged,
    };
    records.unreadable.push(UnreadableRecord { sha256, reason });
}
