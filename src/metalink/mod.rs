//! Metalink 4 documents (RFC 5854): the sources of one file, its digest, and those of its pieces.
//!
//! This module must not know which sources there are, or how a client uses them. Its main type is
//! [`Metalink`].

mod parse;
mod render;

pub use parse::{MAX_METALINK_BYTES, MetalinkError};

use crate::model::{PieceList, Sha256};

/// Media type of a document (RFC 5854, section 7.1).
pub const MEDIA_TYPE: &str = "application/metalink4+xml";

/// Bound on the sources of a document.
pub const MAX_URLS: usize = 64;

/// Longest name of a file, in bytes, as most file systems have it.
const MAX_NAME_BYTES: usize = 255;

/// Description of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metalink {
    /// Name of the file, without folders.
    pub name: String,
    pub size_bytes: u64,
    pub sha256: Sha256,
    pub pieces: Option<PieceList>,
    /// At most [`MAX_URLS`].
    pub urls: Vec<MetalinkUrl>,
}

/// Source of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetalinkUrl {
    pub url: String,
    /// The source with the lowest number is the best. Sources of one number are equal.
    pub priority: u32,
}

/// Whether a text can be the name of a file in any folder. Clients create a file of this name, so
/// that it must not lead to another folder (RFC 5854, section 4.1.2.1) or be hidden.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | '\u{fffe}' | '\u{ffff}');
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.starts_with(['.', ' '])
        && !name.ends_with(' ')
        && name.chars().all(is_plain)
}
