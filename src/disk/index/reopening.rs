//! The file of the index while the process runs: it may be lost, damaged or locked.
//!
//! The main method is [`Index::replace_if_lost`].

use std::time::Duration;

use super::Index;
use super::database::{identity, remove_files};
use super::opened::{open, open_file};
use crate::disk::DiskError;
use crate::disk::index_error::is_damage;
use crate::disk::layout::Layout;
use crate::model::lock;

/// Time for which another process may hold the lock of the index before it is reported.
const TROUBLE_AFTER: Duration = Duration::from_secs(2);

impl Index {
    /// Returns whether the index is kept in memory, because its file cannot be used.
    pub fn is_in_memory(&self) -> bool {
        lock(&self.file_error).is_some()
    }

    /// Describes what is wrong with the index, if anything. Requests are served without it.
    pub fn trouble(&self) -> Option<String> {
        if let Some(error) = &*lock(&self.file_error) {
            return Some(format!("the file of the index cannot be used ({error})"));
        }
        let since = self.connection.locked_since()?;
        let held_s = since.elapsed().as_secs();
        (since.elapsed() >= TROUBLE_AFTER)
            .then(|| format!("another process has held the lock of the index for {held_s} s"))
    }

    /// Returns whether the index should be opened again, or has changes to write.
    pub fn needs_attention(&self, layout: &Layout) -> bool {
        lock(&self.file_error).is_some()
            || identity(layout) != *lock(&self.identity)
            || self.connection.has_deferred()
            || self.connection.locked_since().is_some()
    }

    /// Opens the index again if its file was deleted, replaced or damaged while this process had
    /// it open, or if it is kept in memory. Returns true if the index must be filled again.
    ///
    /// # Errors
    /// [`DiskError`] if no index can be opened.
    pub fn replace_if_lost(&self, layout: &Layout) -> Result<bool, DiskError> {
        let is_damaged = match self.cached_bytes() {
            Err(DiskError::Index(error)) => is_damage(&error),
            _ => false,
        };
        if lock(&self.file_error).is_some() {
            return Ok(self.leave_memory(layout));
        }
        let is_same_file = identity(layout) == *lock(&self.identity);
        if is_same_file && !is_damaged {
            return Ok(false);
        }
        tracing::warn!("index was lost, creating a new one");
        if is_damaged && is_same_file {
            remove_files(layout)?;
        }
        let opened = open(layout)?;
        self.connection.forget_deferred();
        self.connection.replace(opened.connection);
        *lock(&self.identity) = identity(layout);
        *lock(&self.file_error) = opened.file_error;
        Ok(true)
    }

    /// Connects the file if it can be used again.
    fn leave_memory(&self, layout: &Layout) -> bool {
        match open_file(layout) {
            Ok((connection, _)) => {
                tracing::info!("index file is used again");
                self.connection.forget_deferred();
                self.connection.replace(connection);
                *lock(&self.identity) = identity(layout);
                *lock(&self.file_error) = None;
                true
            }
            Err(error) => {
                tracing::debug!(%error, "index file cannot be used yet");
                *lock(&self.file_error) = Some(error.to_string());
                false
            }
        }
    }
}
