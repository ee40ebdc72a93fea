//! Digests as base64, such as `sha512-...` of Subresource Integrity.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::{Algorithm, Digest};

/// Returns the strongest digest of an `integrity` value. `None` if none is known, and if several
/// of that strength are allowed.
pub fn integrity_digest(value: &str) -> Option<Digest> {
    for algorithm in [Algorithm::Sha512, Algorithm::Sha256, Algorithm::Sha1] {
        let prefix = format!("{}-", algorithm.as_str());
        let mut found = value
            .split_whitespace()
            .filter_map(|word| word.strip_prefix(&prefix));
        let Some(first) = found.next() else { continue };
        if found.next().is_some() {
            return None;
        }
        let bytes = STANDARD.decode(first.split('?').next()?).ok()?;
        return Digest::parse(algorithm, &hex::encode(bytes)).ok();
    }
    None
}
