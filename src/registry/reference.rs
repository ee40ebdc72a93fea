//! Tags and digests that name a manifest. The main type is [`ImageReference`].

use std::fmt;

use super::error::RegistryError;
use crate::model::{Algorithm, Digest};

/// Maximum length of a tag (OCI distribution specification 1.1, "Pulling manifests").
const MAX_TAG_BYTES: usize = 128;

/// Name of a manifest within its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// The manifest may change.
    Tag(ImageTag),
    Digest(Digest),
}

impl ImageReference {
    /// Parses the last segment of a path below `manifests/`.
    ///
    /// # Errors
    /// [`RegistryError::Digest`] or [`RegistryError::Tag`].
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        if text.contains(':') {
            parse_digest(text).map(Self::Digest)
        } else {
            ImageTag::parse(text).map(Self::Tag)
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag.as_str()),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

/// Tag of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTag(String);

impl ImageTag {
    /// Checks a tag.
    ///
    /// # Errors
    /// [`RegistryError::Tag`].
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_tag = text.len() <= MAX_TAG_BYTES
            && text.bytes().next().is_some_and(is_word)
            && text
                .bytes()
                .all(|byte| is_word(byte) || b".-".contains(&byte));
        is_tag
            .then(|| Self(text.to_owned()))
            .ok_or(RegistryError::Tag)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parses a digest in the one form that the specification allows: lower-case hexadecimal, of an
/// algorithm that is not broken.
///
/// # Errors
/// [`RegistryError::Digest`].
pub fn parse_digest(text: &str) -> Result<Digest, RegistryError> {
    let (algorithm, hex) = text.split_once(':').ok_or(RegistryError::Digest)?;
    let algorithm = match algorithm {
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        _ => return Err(RegistryError::Digest),
    };
    let is_lower = hex.bytes().all(|byte| !byte.is_ascii_uppercase());
    Digest::parse(algorithm, hex)
        .ok()
        .filter(|_| is_lower)
        .ok_or(RegistryError::Digest)
}
