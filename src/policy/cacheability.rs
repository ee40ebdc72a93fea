//! Cacheability classes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Cacheability class of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Once fetched and checked, the bytes stay the answer until an operator changes it.
    Immutable,
    /// Stored and reused by RFC 9111: the origin is asked again when the bytes are stale.
    Revalidate,
    /// Streamed to the client, and not stored.
    #[serde(rename = "pass")]
    PassThrough,
}

impl Class {
    /// Returns whether the class is [`Class::Immutable`].
    #[must_use]
    pub fn is_immutable(self) -> bool {
        match self {
            Self::Immutable => true,
            Self::Revalidate | Self::PassThrough => false,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Immutable => "immutable",
            Self::Revalidate => "revalidate",
            Self::PassThrough => "pass",
        })
    }
}
