//! Why a body is not the file that its name promises. The main type is [`WrongFile`].
//!
//! This file must not know how a file type is recognised.

use serde::{Deserialize, Serialize};

use super::FileType;

/// Fault of a body that does not match the name of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrongFile {
    #[error("the origin sent an empty file, and no file of this type is empty")]
    Empty,
    #[error("the origin sent a file of another type than the URL names, perhaps a web page")]
    OtherType,
}

impl WrongFile {
    /// Returns the fault of a body that begins with `head` and matches no name.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        if head.is_empty() {
            Self::Empty
        } else {
            Self::OtherType
        }
    }
}

impl FileType {
    /// Checks the first bytes of a body, as [`FileType::matches`].
    ///
    /// # Errors
    /// [`WrongFile`].
    pub fn check(self, head: &[u8]) -> Result<(), WrongFile> {
        if self.matches(head) {
            Ok(())
        } else {
            Err(WrongFile::of(head))
        }
    }
}
