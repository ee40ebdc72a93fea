//! Companions: signatures, checksums and metadata of another file.
//!
//! A companion changes together with its file, so both have one class.

use super::index_names::find_system;
use super::suffixes::file_suffix;
use crate::model::Target;

/// Suffixes of companions, apart from those of the SHA family and of [`DOUBLE_SUFFIXES`].
const COMPANION_SUFFIXES: [&str; 20] = [
    ".asc",
    ".b2",
    ".b2sum",
    ".b3",
    ".b3sum",
    ".blake2b",
    ".blake2bsum",
    ".blake3",
    ".gpg",
    ".md5",
    ".md5sum",
    ".metadata",
    ".minisig",
    ".rmd160",
    ".rmd160sum",
    ".sig",
    ".sigstore",
    ".sign",
    ".sm3",
    ".sm3sum",
];

/// Suffixes of companions that consist of two.
const DOUBLE_SUFFIXES: [&str; 2] = [".intoto.jsonl", ".sigstore.json"];

/// Suffix of a signature, or of a file of keys. It is a signature behind another suffix only.
const KEY_RING_SUFFIX: &str = ".gpg";

/// Returns the path of the file that a companion belongs to, without all companion suffixes.
///
/// `path` is in lower case. Returns `None` if the path is no companion.
pub fn companion_of(path: &str) -> Option<&str> {
    let mut bare = path;
    while let Some(shorter) = without_companion_suffix(bare) {
        bare = shorter;
    }
    (bare.len() < path.len()).then_some(bare)
}

/// Digest suffixes under which most origins publish checksums.
const CHECKSUM_SUFFIXES: [&str; 8] = [
    ".sha1",
    ".sha1sum",
    ".sha256",
    ".sha256sum",
    ".sha384",
    ".sha512",
    ".sha512sum",
    ".sha",
];

/// Returns the file that a companion belongs to, or `None` if the target is no companion.
#[must_use]
pub fn file_of_companion(target: &Target) -> Option<Target> {
    let path = target.path();
    let bare = companion_of(&path.to_ascii_lowercase())?.len();
    target.join(&path[..bare]).ok()
}

/// Returns the file of a target and its usual companions, apart from the target itself. They change
/// together.
#[must_use]
pub fn file_and_companions(target: &Target) -> Vec<Target> {
    let path = target.path();
    let lower = path.to_ascii_lowercase();
    let bare = companion_of(&lower).map_or(path, |bare| &path[..bare.len()]);
    let suffixes = COMPANION_SUFFIXES.iter().chain(&DOUBLE_SUFFIXES);
    let suffixes = suffixes.chain(&CHECKSUM_SUFFIXES);
    let paths = suffixes.map(|suffix| format!("{bare}{suffix}"));
    std::iter::once(bare.to_owned())
        .chain(paths)
        .filter(|other| other != path)
        .filter_map(|other| target.join(&other).ok())
        .collect()
}

/// Removes one companion suffix. A name that is only a suffix has none.
fn without_companion_suffix(path: &str) -> Option<&str> {
    let (bare, suffix) = path.split_at(path.rfind('.')?);
    let bare = if COMPANION_SUFFIXES.contains(&suffix) || is_sha(suffix) {
        bare
    } else {
        let mut double = DOUBLE_SUFFIXES.iter();
        double.find_map(|suffix| path.strip_suffix(suffix))?
    };
    let (folder, name) = bare.rsplit_once('/').unwrap_or(("", bare));
    let is_companion = suffix != KEY_RING_SUFFIX
        || file_suffix(name).is_some()
        || find_system(folder, name).is_some();
    (!name.is_empty() && is_companion).then_some(bare)
}

/// Returns whether a suffix is that of a digest of the SHA family: `.sha`, `.sha3-256`,
/// `.sha512_256sum`.
fn is_sha(suffix: &str) -> bool {
    let Some(size) = suffix.strip_prefix(".sha") else {
        return false;
    };
    let size = size.strip_suffix("sums").unwrap_or(size);
    let size = size.strip_suffix("sum").unwrap_or(size);
    size.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_are_those_of_their_file() {
        for (path, file) in [
            ("/x.tar.gz.asc", Some("/x.tar.gz")),
            ("/x.tar.gz.sha256.asc", Some("/x.tar.gz")),
            ("/x.tar.gz.sha3-256", Some("/x.tar.gz")),
            ("/x.tar.gz.gpg", Some("/x.tar.gz")),
            ("/dists/sid/release.gpg", Some("/dists/sid/release")),
            ("/keys/release-0x1234.gpg", None),
            ("/x.whl.metadata", Some("/x.whl")),
            ("/x.tar.gz", None),
            ("/x.share", None),
            ("/.asc", None),
            ("/latest/.sig", None),
        ] {
            assert_eq!(companion_of(path), file, "{path}");
        }
    }
}
