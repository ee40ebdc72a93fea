//! An upload in the queue, and its row. The main type is [`PendingUpload`].

use rusqlite::{Connection, params};

use super::database::now;
use super::statements::execute;
use crate::model::{Key, Sha256};

/// A record that must be uploaded together with its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PendingUpload {
    pub key: Key,
    pub sha256: Sha256,
}

/// Adds an upload to the queue, unless it is there. Returns the number of added uploads.
pub(super) fn enqueue(
    connection: &Connection,
    upload: PendingUpload,
) -> Result<usize, rusqlite::Error> {
    execute(
        connection,
        "INSERT OR IGNORE INTO pending VALUES (?1, ?2, 0, NULL, ?3)",
        params![upload.sha256.as_bytes(), upload.key.as_bytes(), now()],
    )
}
