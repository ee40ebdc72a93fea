//! Opening of the index: its file, or else an index in memory.
//!
//! The main function is [`open`].

use rusqlite::Connection;

use super::database::{connect, connect_memory, is_no_file, remove_files};
use crate::disk::DiskError;
use crate::disk::index_error::is_damage;
use crate::disk::layout::Layout;

/// An index that was opened.
pub struct OpenedIndex {
    pub connection: Connection,
    pub is_new: bool,
    /// Reason why the file cannot be used. `None` if it is open.
    pub file_error: Option<String>,
}

/// Opens the file of the index. Creates a new one if it is missing, damaged or of another version.
/// If the file cannot be used, creates an index in memory.
///
/// # Errors
/// [`DiskError::Index`] if neither can be opened.
pub fn open(layout: &Layout) -> Result<OpenedIndex, DiskError> {
    match open_file(layout) {
        Ok((connection, is_new)) => Ok(OpenedIndex {
            connection,
            is_new,
            file_error: None,
        }),
        Err(error) => {
            tracing::warn!(%error, "index file cannot be used, keeping the index in memory");
            Ok(OpenedIndex {
                connection: connect_memory()?,
                is_new: true,
                file_error: Some(error.to_string()),
            })
        }
    }
}

/// Opens the file of the index. Creates a new one if it is missing, damaged or of another version.
///
/// # Errors
/// [`DiskError`] if the file cannot be used.
pub fn open_file(layout: &Layout) -> Result<(Connection, bool), DiskError> {
    match connect(layout) {
        Ok(opened) => Ok(opened),
        Err(error) if is_damage(&error) || is_no_file(layout) => {
            tracing::warn!(%error, "index is damaged, creating a new one");
            remove_files(layout)?;
            Ok(connect(layout)?)
        }
        Err(error) => Err(error.into()),
    }
}
