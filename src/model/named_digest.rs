//! Digests with the name of their algorithm, as people write them. The main type is [`Digest`].

use super::digest::{Algorithm, Digest, DigestError};

/// Error returned for a digest that is not like `sha256:<hex>`.
#[derive(Debug, thiserror::Error)]
pub enum NamedDigestError {
    #[error("must be like sha256:<hex>")]
    Form,
    #[error("the algorithm must be sha256, sha512, sha1 or md5")]
    Algorithm,
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Digest {
    /// Parses a digest like `sha256:<hex>`.
    ///
    /// # Errors
    /// [`NamedDigestError`].
    pub fn parse_named(text: &str) -> Result<Self, NamedDigestError> {
        let (name, hex) = text.split_once(':').ok_or(NamedDigestError::Form)?;
        let algorithm: Algorithm = name
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| NamedDigestError::Algorithm)?;
        Ok(Self::parse(algorithm, hex)?)
    }
}
