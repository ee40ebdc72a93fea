//! Comparison of stored bytes with the digests that a client expects. The main function is
//! [`check_digests`].

use super::error::RequestError;
use crate::cache::{Cache, FileHit};
use crate::model::{Algorithm, Digests, ExpectedDigests};

/// Compares a file with the digests that the client expects, and computes those that are not
/// on record.
///
/// # Errors
/// [`RequestError::Mismatch`], or [`RequestError::Unavailable`] if the file cannot be read.
pub async fn check_digests(
    cache: &Cache,
    expected: &ExpectedDigests,
    hit: &FileHit,
) -> Result<(), RequestError> {
    let mut digests = hit.record.known_digests();
    for digest in expected.iter() {
        let algorithm = digest.algorithm();
        if !is_known(algorithm, &digests) {
            let digest = Box::pin(cache.digest_of(hit, algorithm)).await;
            let digest = digest.map_err(|error| {
                tracing::warn!(%error, "cannot read an object to compute its digest");
                RequestError::Unavailable
            })?;
            digests.others.insert(algorithm, digest.hex());
        }
    }
    compare(expected, &digests)
}

/// Compares the digests of a body with those that the client expects.
///
/// # Errors
/// [`RequestError::Mismatch`].
pub fn compare(expected: &ExpectedDigests, digests: &Digests) -> Result<(), RequestError> {
    match digests.first_mismatch(expected) {
        Some(_) => Err(RequestError::Mismatch {
            expected: expected.clone(),
            found: digests.sha256,
        }),
        None => Ok(()),
    }
}

/// Returns whether a digest is expected that must be computed from the bytes.
pub fn needs_other_digests(expected: &ExpectedDigests, digests: &Digests) -> bool {
    expected
        .iter()
        .any(|digest| !is_known(digest.algorithm(), digests))
}

fn is_known(algorithm: Algorithm, digests: &Digests) -> bool {
    algorithm == Algorithm::Sha256 || digests.others.contains_key(&algorithm)
}
