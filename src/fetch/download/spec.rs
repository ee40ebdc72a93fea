//! Input of a download.

use crate::fetch::changed_content::KnownContent;
use crate::model::ExpectedDigests;
use crate::policy::Source;

/// Requirements for the body of a download, and its sources.
pub struct DownloadSpec<'a> {
    /// Digests that the body must have: on record, required by the operator or by the path.
    pub required: &'a ExpectedDigests,
    /// The required digests, and those that the first reader states. Their algorithms are computed
    /// while the body arrives. They can confirm a body, and do not decide whether it is stored.
    pub expected: &'a ExpectedDigests,
    /// Whether the required digest is on record or in the checksum file.
    pub is_on_record: bool,
    /// In the order in which they are tried.
    pub sources: &'a [Source],
    /// Content that the origin must return, because it returned it before.
    pub known_content: Option<&'a KnownContent>,
}
