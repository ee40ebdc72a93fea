//! Digests as build systems write them: in hexadecimal, in the base32 of Nix, or in base64.
//!
//! The main function is [`Digest::from_text`].

use base64::Engine as _;

use super::digest::{Algorithm, Digest};

/// Digits of nix-base32, by value.
pub const NIX_BASE32: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Algorithms of digests without a name, by their length in hex digits.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Md5,
    Algorithm::Sha1,
    Algorithm::Sha256,
    Algorithm::Sha512,
];

impl Digest {
    /// Parses a digest in hexadecimal or in nix-base32.
    #[must_use]
    pub fn from_text(algorithm: Algorithm, text: &str) -> Option<Self> {
        let hex = Self::parse(algorithm, text).ok();
        hex.or_else(|| from_nix_base32(algorithm, text))
    }

    /// Parses a digest in hexadecimal whose length names its algorithm.
    #[must_use]
    pub fn from_hex_length(hex: &str) -> Option<Self> {
        ALGORITHMS
            .into_iter()
            .find_map(|algorithm| Self::parse(algorithm, hex).ok())
    }

    /// Parses a digest like `sha256-<base64>` (Subresource Integrity, as npm and Nix write it).
    #[must_use]
    pub fn from_integrity(text: &str) -> Option<Self> {
        let (algorithm, encoded) = text.split_once('-')?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
        Self::parse(algorithm.parse().ok()?, &hex::encode(bytes.ok()?)).ok()
    }
}

/// Parses a digest in nix-base32: five bits for each digit, the last digit first.
fn from_nix_base32(algorithm: Algorithm, text: &str) -> Option<Digest> {
    let size_bytes = algorithm.size_bytes();
    if text.len() != (size_bytes * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = vec![0_u8; size_bytes];
    for (index, digit) in text.bytes().rev().enumerate() {
        let value = NIX_BASE32.iter().position(|known| *known == digit)?;
        let shifted = u16::try_from(value).ok()? << (index * 5 % 8);
        let [low, high] = shifted.to_le_bytes();
        let at = index * 5 / 8;
        bytes[at] |= low;
        match bytes.get_mut(at + 1) {
            Some(next) => *next |= high,
            None if high != 0 => return None,
            None => {}
        }
    }
    Digest::parse(algorithm, &hex::encode(bytes)).ok()
}
