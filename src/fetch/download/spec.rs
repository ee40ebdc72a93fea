//! Input of a download.

use crate::fetch::changed_content::KnownContent;
use crate::model::ExpectedDigests;
use crate::policy::Source;

/// Requirements for the body of a download, and its sources.
pub struct DownloadSpec<'a> {
    pub expected: &'a ExpectedDigests,
    /// Whether the expected digest is on record or required by the checksum file. Otherwise only a
    /// client states it.
    pub is_on_record: bool,
    /// In the order in which they are tried.
    pub sources: &'a [Source],
    /// Content that the origin must return, because it returned it before.
    pub known_content: Option<&'a KnownContent>,
}
