//! What a download must yield, and from where.

use super::changed_content::KnownContent;
use crate::model::ExpectedDigests;
use crate::policy::{Admitted, Source};

/// What is to be had, and where.
pub struct DownloadSpec<'a> {
    pub admitted: &'a Admitted,
    pub expected: &'a ExpectedDigests,
    /// The digest that is expected is one of our own records', not a client's word.
    pub is_on_record: bool,
    pub sources: &'a [Source],
    /// What the target's own origin must give, because it gave it before.
    pub known_content: Option<&'a KnownContent>,
}
