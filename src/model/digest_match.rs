//! Comparison of a body's digests with expected ones, of which some may not be computed yet. The
//! main type is [`DigestMatch`].
//!
//! This file must not know how a digest is computed.

use super::digest::{Digests, ExpectedDigests};

/// Outcome of comparing computed digests with expected ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestMatch {
    /// The bytes have all expected digests.
    Same,
    /// The bytes lack an expected digest, whatever was not computed.
    Other,
    /// An expected digest was not computed, and no other one differs.
    Unknown,
}

impl Digests {
    /// Compares the computed digests with the expected ones.
    #[must_use]
    pub fn compare(&self, expected: &ExpectedDigests) -> DigestMatch {
        let mut found = DigestMatch::Same;
        for digest in expected.iter() {
            match self.has(digest) {
                Some(true) => {}
                Some(false) => return DigestMatch::Other,
                None => found = DigestMatch::Unknown,
            }
        }
        found
    }
}
