//! Meaning of a path below `/mirror/<dialect>/`. The main type is [`Wanted`].

use crate::catalog::{CatalogQuery, FileName};
use crate::model::Digest;

/// Request of a build system: the meaning of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A file, by its name, by a digest, or by both.
    File(CatalogQuery),
    /// A target. The text contains its URL, in one of the forms behind the gateway's own URL.
    Url(String),
    /// A text that says how the mirror is organised.
    Layout(&'static str),
    /// The recipes that refer to a file, which Conan keeps beside it.
    References(CatalogQuery),
    /// The path is not of the dialect.
    Nothing,
}

impl Wanted {
    /// Returns the request for the file of a digest, or for nothing.
    pub(super) fn digest(digest: Option<Digest>) -> Self {
        digest.map_or(Self::Nothing, |digest| {
            Self::File(CatalogQuery::by_digest(digest))
        })
    }

    /// Returns the request for a file by the segment that is its name.
    pub(super) fn name(segment: &str) -> Self {
        FileName::from_segment(segment).map_or(Self::Nothing, |name| {
            Self::File(CatalogQuery::by_name(name))
        })
    }

    /// Returns the request for a file by the segment that is its name, and by its digest.
    pub(super) fn name_and_digest(segment: &str, digest: Option<Digest>) -> Self {
        match (FileName::from_segment(segment), digest) {
            (Some(name), Some(digest)) => Self::File(CatalogQuery {
                name: Some(name),
                ..CatalogQuery::by_digest(digest)
            }),
            _ => Self::Nothing,
        }
    }
}
