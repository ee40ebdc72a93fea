//! Questions to the catalog, and its answers. The main type is [`CatalogQuery`].

use percent_encoding::percent_decode_str;

use crate::model::{ExpectedDigests, Target};

/// Longest file name in bytes. File systems allow no longer one.
const MAX_NAME_BYTES: usize = 255;

/// Name of a file, without folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Decodes a path segment. Returns `None` if it cannot be the name of a file.
    #[must_use]
    pub fn from_segment(segment: &str) -> Option<Self> {
        Self::new(&percent_decode_str(segment).decode_utf8().ok()?)
    }

    /// Returns `None` if a text cannot be the name of a file.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
            && !matches!(name, "." | "..")
            && !name.chars().any(|c| c == '/' || c.is_control());
        is_name.then(|| Self(name.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A file that a client asks for by its name, by digests, or by both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogQuery {
    pub name: Option<FileName>,
    /// Digests that the bytes must have.
    pub digests: ExpectedDigests,
    /// Host and path of the target in one segment, as Yocto's `MIRRORNAME` writes them.
    pub mirror_name: Option<String>,
}

impl CatalogQuery {
    /// Returns the query for a name.
    #[must_use]
    pub fn by_name(name: FileName) -> Self {
        Self {
            name: Some(name),
            ..Self::default()
        }
    }

    /// Returns the query for a digest.
    #[must_use]
    pub fn by_digest(digest: crate::model::Digest) -> Self {
        Self {
            digests: ExpectedDigests::from_iter([digest]),
            ..Self::default()
        }
    }
}

/// How a target is known to have a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownHow {
    /// Its bytes were stored, and they have the digests of the query as far as these are known.
    Stored,
    /// A list says so.
    Listed,
    /// Its bytes were stored under this name, and none of the digests is known. The origin is not
    /// asked, because many files share a name.
    StoredUnderName,
}

/// A target that may have the file of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    pub target: Target,
    /// Digests that its bytes must have to answer the query.
    pub expected: ExpectedDigests,
    pub how: KnownHow,
}
