//! Result for one file of the folder. The main type is [`FileReport`].

use std::path::PathBuf;

use super::error::AdoptError;
use super::skipped::SkipReason;
use crate::model::{Sha256, Target};

/// How the bytes of a file came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredHow {
    Copied,
    /// The object shares the blocks of the file. Later changes of the file do not affect it.
    Cloned,
    /// The object is another name of the file.
    Linked,
    /// The bytes were stored before, and have a new URL or name.
    Recorded,
}

impl StoredHow {
    /// Returns the word of the result.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Cloned => "cloned",
            Self::Linked => "linked",
            Self::Recorded => "recorded",
        }
    }
}

/// Result for one file.
#[derive(Debug)]
pub enum AdoptOutcome {
    Stored(StoredHow),
    /// It was stored before, under all its URLs and names.
    Present,
    /// It would be stored without `--dry-run`.
    WouldStore,
    Skipped(SkipReason),
    Refused(AdoptError),
}

/// Report on one file.
#[derive(Debug)]
pub struct FileReport {
    /// Path below the folder.
    pub path: PathBuf,
    pub size_bytes: u64,
    pub sha256: Option<Sha256>,
    /// URLs under which the file is stored.
    pub targets: Vec<Target>,
    /// Whether one of the targets is that of a file without a URL.
    pub is_by_name: bool,
    /// Reasons why it has no URL, or not all that are known.
    pub notes: Vec<String>,
    pub outcome: AdoptOutcome,
}

impl FileReport {
    /// Returns the report on a file of which nothing is known.
    #[must_use]
    pub fn new(path: PathBuf, outcome: AdoptOutcome) -> Self {
        Self {
            path,
            size_bytes: 0,
            sha256: None,
            targets: Vec::new(),
            is_by_name: false,
            notes: Vec::new(),
            outcome,
        }
    }
}
