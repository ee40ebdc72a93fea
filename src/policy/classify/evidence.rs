//! Reasons why a name fixes its bytes.

use std::fmt;

/// Part of a target that was read as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// The path. The file is under its own URL.
    Path,
    /// The query. The URL is that of a script, which may send a page as well.
    Query,
    /// A commit id or a digest without a file suffix. The URL may be that of a page, too.
    Identifier,
}

impl NameSource {
    /// Returns whether the name says that the body is a file. If it does not, an HTML body is a
    /// page, which is passed through and not stored.
    #[must_use]
    pub fn promises_file(self) -> bool {
        match self {
            Self::Path => true,
            Self::Query | Self::Identifier => false,
        }
    }
}

/// Part of a target that fixes its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A commit id or another digest, in the path or in the query.
    Commit(NameSource),
    /// A version number in the name of the file.
    NameVersion(String),
    /// A version number in the ref of a forge.
    RefVersion(String),
    /// A version or revision number in the query.
    QueryVersion(String),
    /// A date in a folder.
    DatedFolder,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(NameSource::Query) => f.write_str("commit id in the query"),
            Self::Commit(NameSource::Path | NameSource::Identifier) => {
                f.write_str("commit id in the path")
            }
            Self::NameVersion(number) => write!(f, "version number {number} in the name"),
            Self::RefVersion(number) => write!(f, "version number {number} in the ref"),
            Self::QueryVersion(number) => write!(f, "version number {number} in the query"),
            Self::DatedFolder => f.write_str("date in the path"),
        }
    }
}
