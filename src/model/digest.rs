//! Digests of bytes, computed and expected.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// Error returned when a text is not a valid digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("unknown digest algorithm: use sha256, sha512, sha1 or md5")]
    Algorithm,
    #[error("the digest has the wrong number of hexadecimal digits")]
    Hex,
}

/// Digest algorithms that a request may use. They are ordered by strength, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the size of a digest of this algorithm.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
            .ok_or(DigestError::Algorithm)
    }
}

/// Digest with its algorithm.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl Digest {
    /// Parses a hexadecimal digest.
    ///
    /// # Errors
    /// [`DigestError::Hex`] if `hex` does not have the length of the algorithm's digest.
    pub fn parse(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        let bytes = hex::decode(hex).map_err(|_| DigestError::Hex)?;
        if bytes.len() == algorithm.size_bytes() {
            Ok(Self { algorithm, bytes })
        } else {
            Err(DigestError::Hex)
        }
    }

    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the digest in lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(&self.bytes)
    }
}

impl From<Sha256> for Digest {
    fn from(sha256: Sha256) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            bytes: sha256.0.to_vec(),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// SHA-256 that names an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the value of `Repr-Digest` (RFC 9530, section 3).
    #[must_use]
    pub fn repr_digest(&self) -> String {
        format!(
            "sha-256=:{}:",
            base64::engine::general_purpose::STANDARD.encode(self.0)
        )
    }

    /// Returns the SHA-256 in a value of `Repr-Digest`, which may list several algorithms.
    #[must_use]
    pub fn from_repr_digest(value: &str) -> Option<Self> {
        value.split(',').find_map(|digest| {
            let encoded = digest.trim().strip_prefix("sha-256=:")?.strip_suffix(':')?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
            Some(Self(bytes.ok()?.try_into().ok()?))
        })
    }

    /// Returns the strong entity tag of the object (RFC 9110, section 8.8.3).
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{self}\"")
    }
}

impl FromStr for Sha256 {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError::Hex)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(sha256: Sha256) -> Self {
        sha256.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// Writes 32 bytes in lower-case hexadecimal, without an allocation.
pub(super) fn write_hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0; 64];
    hex::encode_to_slice(bytes, &mut digits).map_err(|_| fmt::Error)?;
    f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// Expected digests of a body. All of them must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ExpectedDigests(Vec<Digest>);

impl ExpectedDigests {
    /// Returns the empty list, which every body matches.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds an expected digest. If two digests of one algorithm differ, no body matches.
    pub fn add(&mut self, digest: Digest) {
        if !self.0.contains(&digest) {
            self.0.push(digest);
            self.0.sort();
        }
    }

    /// Returns the expected digests except `digest`.
    #[must_use]
    pub fn without(&self, digest: &Digest) -> Self {
        self.0
            .iter()
            .filter(|other| *other != digest)
            .cloned()
            .collect()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.0.iter()
    }

    /// Returns whether one of the digests is collision-resistant (SHA-256 or SHA-512).
    #[must_use]
    pub fn has_strong_digest(&self) -> bool {
        self.0
            .iter()
            .any(|digest| digest.algorithm >= Algorithm::Sha256)
    }
}

impl FromIterator<Digest> for ExpectedDigests {
    fn from_iter<T: IntoIterator<Item = Digest>>(digests: T) -> Self {
        let mut expected = Self::nothing();
        digests.into_iter().for_each(|digest| expected.add(digest));
        expected
    }
}

impl Extend<Sha256> for ExpectedDigests {
    fn extend<T: IntoIterator<Item = Sha256>>(&mut self, digests: T) {
        digests
            .into_iter()
            .for_each(|sha256| self.add(sha256.into()));
    }
}

impl Extend<Digest> for ExpectedDigests {
    fn extend<T: IntoIterator<Item = Digest>>(&mut self, digests: T) {
        digests.into_iter().for_each(|digest| self.add(digest));
    }
}

impl fmt::Display for ExpectedDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(" "))
    }
}

/// Computed digests of a body: the SHA-256, and any others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    pub sha256: Sha256,
    /// The other digests in hexadecimal.
    pub others: BTreeMap<Algorithm, String>,
}

impl From<Sha256> for Digests {
    fn from(sha256: Sha256) -> Self {
        Self {
            sha256,
            others: BTreeMap::new(),
        }
    }
}

impl Digests {
    /// Returns the first expected digest that does not match.
    ///
    /// A digest whose algorithm was not computed does not match: no digest is skipped silently.
    #[must_use]
    pub fn first_mismatch<'a>(&self, expected: &'a ExpectedDigests) -> Option<&'a Digest> {
        expected
            .iter()
            .find(|digest| self.has(digest) != Some(true))
    }

    /// Whether the bytes have a digest. `None` if its algorithm was not computed.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> Option<bool> {
        match digest.algorithm {
            Algorithm::Sha256 => Some(digest.bytes == self.sha256.0),
            other => self.others.get(&other).map(|hex| *hex == digest.hex()),
        }
    }
}

/// Streaming hasher for SHA-256 and any other algorithms.
#[derive(Clone)]
pub struct Hasher {
    sha256: sha2::Sha256,
    md5: Option<md5::Md5>,
    sha1: Option<sha1::Sha1>,
    sha512: Option<sha2::Sha512>,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// Creates a hasher for SHA-256 and for the algorithms of `expected`.
    #[must_use]
    pub fn new(expected: &ExpectedDigests) -> Self {
        let needs = |algorithm| expected.iter().any(|digest| digest.algorithm == algorithm);
        Self {
            sha256: sha2::Sha256::new(),
            md5: needs(Algorithm::Md5).then(md5::Md5::new),
            sha1: needs(Algorithm::Sha1).then(sha1::Sha1::new),
            sha512: needs(Algorithm::Sha512).then(sha2::Sha512::new),
        }
    }

    /// Creates a hasher for every supported algorithm.
    #[must_use]
    pub fn with_all_algorithms() -> Self {
        Self {
            sha256: sha2::Sha256::new(),
            md5: Some(md5::Md5::new()),
            sha1: Some(sha1::Sha1::new()),
            sha512: Some(sha2::Sha512::new()),
        }
    }

    /// Adds the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// Returns the digests of all bytes that were added.
    #[must_use]
    pub fn finish(self) -> Digests {
        let md5 = self
            .md5
            .map(|md5| (Algorithm::Md5, hex::encode(md5.finalize())));
        let sha1 = self
            .sha1
            .map(|sha1| (Algorithm::Sha1, hex::encode(sha1.finalize())));
        let sha512 = self
            .sha512
            .map(|sha512| (Algorithm::Sha512, hex::encode(sha512.finalize())));
        Digests {
            sha256: Sha256(self.sha256.finalize().into()),
            others: [md5, sha1, sha512].into_iter().flatten().collect(),
        }
    }
}
