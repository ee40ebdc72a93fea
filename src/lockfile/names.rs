//! Lists of names with digests: `sources`, checksum files, Gentoo's Manifest, Buildroot's `.hash`,
//! FreeBSD's distinfo and Debian's `.dsc`.

use super::error::LockfileError;
use super::listing::LockListing;
use super::registry::RegistryKind;
use crate::model::{Algorithm, Digest};

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Sha256,
    Algorithm::Sha512,
    Algorithm::Sha1,
    Algorithm::Md5,
];

/// Error returned for a line that is in none of the known forms. Its text begins with the number of
/// the line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: a line is \"DIGEST  NAME\" or \"ALGORITHM (NAME) = DIGEST\"")]
pub struct NamedDigestLineError(usize);

/// Parses names with their digests. Lines with other algorithms, comments and empty lines are
/// skipped.
///
/// # Errors
/// [`NamedDigestLineError`] for the first line in another form.
pub fn named_digests(text: &str) -> Result<Vec<(String, Digest)>, NamedDigestLineError> {
    let mut named = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (algorithm, hex, name) = line_parts(line).ok_or(NamedDigestLineError(at + 1))?;
        let digest = algorithm.and_then(|algorithm| Digest::parse(algorithm, hex).ok());
        named.extend(digest.map(|digest| (name.to_owned(), digest)));
    }
    Ok(named)
}

/// Returns the algorithm, the digest and the name of a line.
fn line_parts(line: &str) -> Option<(Option<Algorithm>, &str, &str)> {
    // SHA512 (name) = digest
    if let Some((algorithm, rest)) = line.split_once(" (")
        && let Some((name, hex)) = rest.rsplit_once(") = ")
    {
        return Some((algorithm_of(algorithm), hex.trim(), name));
    }
    // digest  name
    let (hex, name) = line.split_once(char::is_whitespace)?;
    let name = name.trim_start().trim_start_matches('*');
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sized = ALGORITHMS
        .into_iter()
        .find(|algorithm| algorithm.size_bytes() * 2 == hex.len());
    (is_hex && hex.len() >= 32).then_some((sized, hex, name))
}

fn algorithm_of(word: &str) -> Option<Algorithm> {
    word.trim()
        .to_ascii_lowercase()
        .replace('-', "")
        .parse()
        .ok()
}

/// Gentoo's Manifest: `DIST name size BLAKE2B digest SHA512 digest`.
pub fn read_manifest(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["DIST", name, _, digests @ ..] = &words[..] else {
            continue;
        };
        let pairs = digests.chunks_exact(2);
        let digests = pairs.filter_map(|pair| Digest::parse(algorithm_of(pair[0])?, pair[1]).ok());
        listing.add_below(RegistryKind::Files, name, name, digests)?;
    }
    Ok(())
}

/// Buildroot's `.hash`: `algorithm digest name`.
pub fn read_hash(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [word, ..] if word.starts_with('#') => {}
            ["none", _, name] => {
                listing.note(name, "the list states no digest on purpose");
                listing.add_below(RegistryKind::Files, name, name, None)?;
            }
            [algorithm, hex, name] => {
                let digest = algorithm_of(algorithm);
                let digest = digest.and_then(|algorithm| Digest::parse(algorithm, hex).ok());
                if digest.is_none() {
                    listing.note(name, "the digest is of an unknown algorithm or length");
                }
                listing.add_below(RegistryKind::Files, name, name, digest)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Debian's `.dsc`: the fields `Files` and `Checksums-*`.
pub fn read_dsc(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let mut algorithm = None;
    for line in text.lines() {
        if let Some((field, _)) = line.split_once(':').filter(|_| !line.starts_with(' ')) {
            algorithm = match field {
                "Files" => Some(Algorithm::Md5),
                field => field.strip_prefix("Checksums-").and_then(algorithm_of),
            };
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let ([hex, _, name], Some(algorithm)) = (&words[..], algorithm) else {
            continue;
        };
        let digest = Digest::parse(algorithm, hex).ok();
        listing.add_below(RegistryKind::Files, name, name, digest)?;
    }
    Ok(())
}
